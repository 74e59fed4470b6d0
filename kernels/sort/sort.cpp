// Argument checks, implementation lists and gradients of sorting.
#include "gpunn/kernels/sort/sort.h"

#include <numeric>
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

std::vector<Operand> operands(SortProblem& p) {
  const std::int64_t n = p.outer * p.length * p.inner, kept = p.outer * p.keep * p.inner;
  return {{"x", const_cast<void**>(&p.x), p.dtype, n, Role::in},
          {"y", &p.y, p.dtype, kept, Role::out},
          {"indices", reinterpret_cast<void**>(&p.indices), DType::i64, kept, Role::out}};
}

std::vector<Operand> operands(PickProblem& p) {
  const std::int64_t n = p.outer * p.length * p.inner, kept = p.outer * p.keep * p.inner;
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.scatter ? kept : n, Role::in},
          {"indices", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.indices)), DType::i64, kept,
           Role::in},
          {"y", &p.y, p.dtype, p.scatter ? n : kept, Role::out}};
}

Cost cost(const SortProblem& p) {
  const auto n = static_cast<double>(p.outer * p.length * p.inner);
  const auto kept = static_cast<double>(p.outer * p.keep * p.inner),
             size = static_cast<double>(size_of(p.dtype));
  double passes = 0;  // comparisons of an element: log2 of the row
  for (std::int64_t length = 1; length < p.length; length *= 2) ++passes;
  return {n * size + kept * (size + 8), n * passes};
}

Cost cost(const PickProblem& p) {
  const auto n = static_cast<double>(p.outer * p.length * p.inner);
  const auto kept = static_cast<double>(p.outer * p.keep * p.inner),
             size = static_cast<double>(size_of(p.dtype));
  return {kept * (size + 8) + (p.scatter ? n : kept) * size, kept};
}

namespace {

constexpr std::int64_t kMaxLength = (std::int64_t{1} << 32) - 1;

const char* cpu_accepts(const SortProblem& p) {
  if (p.length > kMaxLength) return "takes rows of less than 2^32 elements";
  return p.dtype == DType::f64 ? "f64 runs in the reference only" : nullptr;
}

#if GPUNN_HAS_CUDA
const char* cuda_accepts(const SortProblem& p) {
  if (p.length > kMaxLength) return "takes rows of less than 2^32 elements";
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : nullptr;
}
#if !GPUNN_EMULATED
/// Rows so long that our merges, one pass per doubling, move more bytes than the vendor's four or eight
/// passes (NOTES.md), and no more of them than it pays to sort one after another.
const char* cub_accepts(const SortProblem& p) {
  if (const char* reason = cuda_accepts(p)) return reason;
  constexpr std::int64_t kLong = 1 << 14;
  if (p.length < kLong) return "takes rows of 16384 elements or more";
  if (p.outer * p.inner > p.length / kLong) return "takes one row per 16384 elements of a row";
  return p.keep > p.length / 8 ? nullptr : "sorts whole rows: takes more than an eighth of them";
}
/// 32 bits count the elements of all rows.
const char* cub_segmented_accepts(const SortProblem& p) {
  if (const char* reason = cuda_accepts(p)) return reason;
  const bool fits = p.length == 0 || p.outer * p.inner <= std::numeric_limits<int>::max() / p.length;
  return fits ? nullptr : "takes less than 2^31 elements";
}
#endif
const char* pick_cuda_accepts(const PickProblem& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : nullptr;
}
#endif

constexpr Implementation<SortProblem> kSortEntries[] = {
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cub", DeviceType::cuda, cub_accepts, sort_cub_workspace, Determinism::bitwise, sort_cub},
#endif
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, sort_cuda_workspace, Determinism::portable, sort_cuda},
#endif
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cub_segmented", DeviceType::cuda, cub_segmented_accepts, sort_segments_cub_workspace,
     Determinism::bitwise, sort_segments_cub},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, nullptr, Determinism::portable, sort_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, sort_ref},
};

constexpr Implementation<PickProblem> kPickEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, pick_cuda_accepts, nullptr, Determinism::portable, pick_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, pick_ref},
};

}  // namespace

void describe(const SortProblem& p, TuningKey& key) {
  key.add("outer", p.outer).add("length", p.length).add("inner", p.inner).add("keep", p.keep);
  key.add("descending", p.descending).add_alignment({p.x, p.y, p.indices});
}

namespace {

/// A shape around the dimension that is sorted; a scalar is a row of one.
struct Cut {
  int dim = 0;
  std::int64_t outer = 1, length = 1, inner = 1;
};

Cut cut_at(const Tensor& x, int dim) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  Cut cut;
  if (x.dim() == 0 && (dim == 0 || dim == -1)) return cut;
  cut.dim = normalize_dim(dim, x.dim());
  for (int i = 0; i < x.dim(); ++i)
    (i < cut.dim ? cut.outer : i > cut.dim ? cut.inner : cut.length) *= x.shape()[i];
  return cut;
}

/// x with `extent` elements along the sorted dimension.
Shape resized(const Shape& shape, const Cut& cut, std::int64_t extent) {
  Shape result = shape;
  if (shape.rank() > 0) result[cut.dim] = extent;
  return result;
}

/// Gather or scatter by indices, each the other's gradient. `length`: of the longer side's rows.
Tensor pick(const Tensor& strided, const Tensor& indices, const Cut& cut, std::int64_t keep, bool scatter) {
  const Tensor x = strided.contiguous();
  Tensor y = empty_on(x.context(), resized(x.shape(), cut, scatter ? cut.length : keep), x.dtype());
  if (y.numel() > 0) {
    PickProblem p;
    p.dtype = x.dtype();
    p.scatter = scatter;
    p.x = x.data();
    p.indices = static_cast<const std::int64_t*>(indices.data());
    p.y = y.data();
    p.outer = cut.outer, p.length = cut.length, p.inner = cut.inner, p.keep = keep;
    execute(scatter ? kSortScatter : kSortGather, p, {&x, &indices}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, "sort", {&x},
                     [indices = Saved(indices), cut, keep, scatter](const Backward& b) -> Gradients {
                       return {pick(b.grad(), indices(b), cut, keep, !scatter)};
                     });
  return y;
}

SortResult ordered(const char* name, const Tensor& strided, const Cut& cut, std::int64_t keep,
                   bool descending) {
  const Tensor x = strided.contiguous();
  const Shape shape = resized(x.shape(), cut, keep);
  SortResult out{empty_on(x.context(), shape, x.dtype()), empty_on(x.context(), shape, DType::i64)};
  if (shape.numel() > 0) {
    SortProblem p;
    p.dtype = x.dtype();
    p.descending = descending;
    p.x = x.data();
    p.y = out.values.data();
    p.indices = static_cast<std::int64_t*>(out.indices.data());
    p.outer = cut.outer, p.length = cut.length, p.inner = cut.inner, p.keep = keep;
    execute(Tuned(kSort, p, x.context(), describe).list(), p, {&x}, {&out.values, &out.indices});
  }
  if (autograd::wanted(x))
    autograd::record(out.values, name, {&x},
                     [indices = Saved(out.indices), cut, keep](const Backward& b) -> Gradients {
                       return {pick(b.grad(), indices(b), cut, keep, true)};
                     });
  return out;
}

}  // namespace

constexpr ImplementationList<SortProblem> kSort{"sort", "forward", kSortEntries};
constexpr ImplementationList<PickProblem> kSortScatter{"sort", "backward", kPickEntries};
constexpr ImplementationList<PickProblem> kSortGather{"sort", "second", kPickEntries};

SortResult sort(const Tensor& x, int dim, bool descending) {
  OpScope scope("sort");
  const Cut cut = cut_at(x, dim);
  return ordered("sort", x, cut, cut.length, descending);
}

Tensor argsort(const Tensor& x, int dim, bool descending) {
  OpScope scope("argsort");
  const Cut cut = cut_at(x, dim);
  NoGrad guard;
  return ordered("argsort", x, cut, cut.length, descending).indices;
}

SortResult topk(const Tensor& x, std::int64_t k, int dim, bool largest, bool) {
  OpScope scope("topk");
  const Cut cut = cut_at(x, dim);
  GPUNN_CHECK(k >= 0 && k <= cut.length, "expected k in [0, ", cut.length, "] for shape ", x.shape(),
              ", got ", k);
  // A scalar has no dimension that could be empty.
  GPUNN_CHECK(k == 1 || x.dim() > 0, "expected k = 1 for a scalar, got ", k);
  return ordered("topk", x, cut, k, largest);
}

Tensor randperm(std::int64_t n, TensorOptions options) {
  OpScope scope("randperm");
  GPUNN_CHECK(n >= 0, "expected n >= 0, got ", n);
  GPUNN_CHECK(
      options.dtype == DType::i64 || (options.dtype == DType::i32 && n <= std::numeric_limits<int>::max()),
      "expected dtype i64, or i32 where n fits, got ", options.dtype);
  GPUNN_CHECK(!options.requires_grad, "expected no gradient for integers");
  Runtime& runtime = Runtime::current();
  Tensor host = empty_on(runtime.cpu(), {n}, DType::i64);
  const std::uint64_t first = runtime.generator().reserve(static_cast<std::uint64_t>(n + 1) / 2);
  const std::uint64_t seed = runtime.generator().seed();
  auto* order = static_cast<std::int64_t*>(host.data());
  std::iota(order, order + n, std::int64_t{0});
  // Fisher and Yates; 64 bits modulo at most n favour some places by n / 2^64 at most.
  for (std::int64_t i = n - 1; i > 0; --i) {
    const Philox4 r = philox_at(seed, first + static_cast<std::uint64_t>(i) / 2);
    const int half = static_cast<int>(i % 2) * 2;
    const std::uint64_t bits = std::uint64_t{r.v[half]} << 32 | r.v[half + 1];
    std::swap(order[i], order[bits % static_cast<std::uint64_t>(i + 1)]);
  }
  return host.to(options.dtype).to(options.device ? *options.device : default_device());
}

}  // namespace gpunn
