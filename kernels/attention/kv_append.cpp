// Rows of keys or values into a cache, contiguous or in pages.
#include <cstring>

#include "gpunn/core/op.h"
#include "gpunn/kernels/attention/attention.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"
#include "gpunn/kernels/attention/kv_append_impl.h"

namespace gpunn {
namespace {

const Implementation<KvAppendProblem> kEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::portable, kv_append_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, kv_append_ref},
};

void check_rows(const Tensor& cache, const Tensor& x) {
  GPUNN_CHECK(cache.defined() && x.defined(), "expected a cache and x, got an undefined tensor");
  check_same(cache, "the cache", x, "x");
  GPUNN_CHECK(cache.dim() == 4 && x.dim() == 4, "expected a cache and x of rank 4, got ", cache.shape(),
              " and ", x.shape());
  GPUNN_CHECK(x.size(2) == cache.size(2) && x.size(3) == cache.size(3), "expected x [B, T, ", cache.size(2),
              ", ", cache.size(3), "] like the cache ", cache.shape(), ", got ", x.shape());
  GPUNN_CHECK(cache.size(3) <= 1 || cache.strides()[3] == 1,
              "expected a cache whose rows are contiguous, got strides ", to_string(cache.strides()));
  autograd::check_in_place(cache, "kv_append_");
}

KvAppendProblem problem_of(const Tensor& cache, const Tensor& x, const Tensor& starts) {
  KvAppendProblem p{};
  p.dtype = x.dtype();
  p.x = x.data(), p.cache = cache.data(), p.starts = static_cast<const std::int64_t*>(starts.data());
  p.B = x.size(0), p.T = x.size(1), p.H = x.size(2), p.D = x.size(3);
  p.x_batch = x.strides()[0], p.x_time = x.strides()[1], p.x_head = x.strides()[2];
  p.cache_batch = cache.strides()[0], p.cache_time = cache.strides()[1], p.cache_head = cache.strides()[2];
  p.x_elements = detail::extent_of(x), p.cache_elements = detail::extent_of(cache);
  return p;
}

/// Rows with a last stride of 1.
Tensor rows_in_place(const Tensor& x) {
  const Tensor plain = x.detach();
  return plain.size(3) <= 1 || plain.strides()[3] == 1 ? plain : plain.contiguous();
}

}  // namespace

const ImplementationList<KvAppendProblem> kKvAppend{"kv_append", "forward", kEntries};

std::vector<Operand> operands(KvAppendProblem& p) {
  return {
      {"x", const_cast<void**>(&p.x), p.dtype, p.x_elements, Role::in},
      {"starts", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.starts)), DType::i64, p.B, Role::in},
      {"pages", reinterpret_cast<void**>(const_cast<std::int32_t**>(&p.pages)), DType::i32,
       p.pages ? p.B * p.table_width : 0, Role::in},
      {"cache", &p.cache, p.dtype, p.cache_elements, Role::inout}};
}

Cost cost(const KvAppendProblem& p) {
  return {2 * static_cast<double>(p.B * p.T * p.H * p.D) * static_cast<double>(size_of(p.dtype)), 0};
}

void kv_append_ref(const KvAppendProblem& p, const Exec&) {
  const auto size = static_cast<std::int64_t>(size_of(p.dtype));
  const char* const x = static_cast<const char*>(p.x);
  char* const cache = static_cast<char*>(p.cache);
  for (std::int64_t b = 0; b < p.B; ++b)
    for (std::int64_t t = 0; t < p.T; ++t)
      for (std::int64_t h = 0; h < p.H; ++h) {
        const std::int64_t to = kv_append_place(p, b, t, h);
        if (to < 0) continue;
        const std::int64_t from = b * p.x_batch + t * p.x_time + h * p.x_head;
        std::memcpy(cache + to * size, x + from * size, static_cast<std::size_t>(p.D * size));
      }
}

void kv_append_(Tensor& cache, const Tensor& x_in, const Tensor& starts_in, bool check_starts) {
  OpScope scope("kv_append_");
  check_rows(cache, x_in);
  GPUNN_CHECK(x_in.size(0) == cache.size(0), "expected x of ", cache.size(0),
              " sequences like the cache, got ", x_in.size(0));
  const Tensor starts = detail::checked_integers(x_in, starts_in, "starts", DType::i64, {x_in.size(0)});
  const std::int64_t T = x_in.size(1), capacity = cache.size(1);
  if (check_starts || cache.context().is_cpu())
    detail::check_range(starts, "starts", 0, capacity - T, "the cache's room less the rows of x");
  if (x_in.numel() == 0) return;
  const Tensor x = rows_in_place(x_in);
  KvAppendProblem p = problem_of(cache, x, starts);
  p.capacity = capacity;
  execute(kKvAppend, p, {&x, &starts}, {&cache});
}

void kv_append_paged_(Tensor& pages, const Tensor& x_in, const Tensor& starts_in, const Tensor& table_in,
                      bool check_starts) {
  OpScope scope("kv_append_paged_");
  check_rows(pages, x_in);
  const std::int64_t B = x_in.size(0), T = x_in.size(1), page_size = pages.size(1);
  const Tensor starts = detail::checked_integers(x_in, starts_in, "starts", DType::i64, {B});
  const Tensor table = detail::checked_page_table(x_in, table_in, B);
  GPUNN_CHECK(page_size >= 1 && pages.size(0) >= 1, "expected pages [pages, page size, H, D], got ",
              pages.shape());
  const std::int64_t capacity = checked_mul(table.size(1), page_size);
  if (check_starts || pages.context().is_cpu()) {
    detail::check_range(starts, "starts", 0, capacity - T, "the pages' room less the rows of x");
    detail::check_pages(table, starts, T, page_size, pages.size(0));
  }
  if (x_in.numel() == 0) return;
  const Tensor x = rows_in_place(x_in);
  KvAppendProblem p = problem_of(pages, x, starts);
  p.pages = static_cast<const std::int32_t*>(table.data());
  p.capacity = capacity, p.page_size = page_size, p.table_width = table.size(1), p.pool = pages.size(0);
  execute(kKvAppend, p, {&x, &starts, &table}, {&pages});
}

}  // namespace gpunn
