// Operands, costs and implementation lists of counting.
#include "gpunn/kernels/count/count_impl.h"

namespace gpunn {

namespace {

double bytes(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
}

/// Steps of a search among n.
double steps(std::int64_t n) {
  double steps = 1;
  for (std::int64_t left = 1; left < n; left *= 2) ++steps;
  return steps;
}

/// The reference also takes f64 that stand for integers: a test's truth.
const char* bins_in(const BinProblem& p) {
  if (p.with_edges) return is_floating(p.dtype) ? nullptr : "takes floating dtypes";
  const bool whole = p.dtype == DType::i32 || p.dtype == DType::i64 || p.dtype == DType::u8;
  return whole || p.dtype == DType::f64 ? nullptr : "takes i32, i64 and u8 without edges";
}
const char* edges_in(const BinProblem& p) { return p.with_edges ? bins_in(p) : "takes edges"; }

const char* searches_in(const SearchProblem& p) {
  return p.dtype != DType::boolean ? nullptr : "takes every dtype but bool";
}

#if GPUNN_HAS_CUDA
const char* without_f64(DType dtype) { return dtype == DType::f64 ? "f64 runs on the CPU only" : nullptr; }

const char* cuda_counts(const BinProblem& p) {
  const char* reason = without_f64(p.dtype);
  return reason ? reason : bins_in(p);
}
const char* cuda_finds(const BinProblem& p) {
  const char* reason = without_f64(p.dtype);
  return reason ? reason : edges_in(p);
}
const char* cuda_searches(const SearchProblem& p) {
  const char* reason = without_f64(p.dtype);
  return reason ? reason : searches_in(p);
}
const char* cuda_orders(const RowOrderProblem& p) {
  if (p.rows >= 0xffffffffll) return "takes less than 2^32 - 1 rows";
  return without_f64(p.dtype);
}
#endif

constexpr auto kPortable = Determinism::portable;

constexpr Implementation<BinProblem> kCountEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_counts, nullptr, kPortable, bin_count_cuda},
#endif
    {"cpu", DeviceType::cpu, bins_in, bin_count_cpu_workspace, kPortable, bin_count_cpu},
    {"ref", DeviceType::cpu, bins_in, nullptr, kPortable, bin_count_ref},
};

constexpr Implementation<BinProblem> kFindEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_finds, nullptr, kPortable, bin_find_cuda},
#endif
    {"ref", DeviceType::cpu, edges_in, nullptr, kPortable, bin_find_ref},
};

constexpr Implementation<SearchProblem> kSearchEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_searches, nullptr, kPortable, search_cuda},
#endif
    {"cpu", DeviceType::cpu, searches_in, nullptr, kPortable, search_cpu},
    {"ref", DeviceType::cpu, searches_in, nullptr, kPortable, search_ref},
};

constexpr Implementation<RowOrderProblem> kRowOrderEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_orders, row_order_cuda_workspace, kPortable, row_order_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, kPortable, row_order_ref},
};

template <class T>
void** pointer_of(T*& p) {
  return reinterpret_cast<void**>(const_cast<std::remove_const_t<T>**>(&p));
}

}  // namespace

constexpr ImplementationList<BinProblem> kBinCount{"bincount", "forward", kCountEntries};
constexpr ImplementationList<BinProblem> kBinFind{"histogram", "bins", kFindEntries};
constexpr ImplementationList<SearchProblem> kSearch{"searchsorted", "forward", kSearchEntries};
constexpr ImplementationList<RowOrderProblem> kRowOrder{"unique", "order", kRowOrderEntries};

std::vector<Operand> operands(BinProblem& p) {
  return {{"x", pointer_of(p.x), p.dtype, p.n, Role::in},
          {"edges", pointer_of(p.edges), edge_dtype(p), p.with_edges ? p.bins + 1 : 0, Role::in},
          {"y", pointer_of(p.y), DType::i64, p.finds ? p.n : p.bins, Role::out}};
}

std::vector<Operand> operands(SearchProblem& p) {
  return {{"sequence", pointer_of(p.sequence), p.dtype, (p.one_sequence ? 1 : p.rows) * p.length, Role::in},
          {"values", pointer_of(p.values), p.dtype, p.rows * p.n, Role::in},
          {"y", pointer_of(p.y), DType::i64, p.rows * p.n, Role::out}};
}

std::vector<Operand> operands(RowOrderProblem& p) {
  return {{"x", pointer_of(p.x), p.dtype, p.rows * p.width, Role::in},
          {"order", pointer_of(p.order), DType::i64, p.rows, Role::out}};
}

Cost cost(const BinProblem& p) {
  const double compared = p.with_edges ? (p.uniform ? 2 : steps(p.bins)) : 1;
  return {bytes(p.n, p.dtype) + bytes(p.with_edges ? p.bins + 1 : 0, edge_dtype(p)) +
              bytes(p.finds ? p.n : p.bins, DType::i64),
          static_cast<double>(p.n) * compared};
}

Cost cost(const SearchProblem& p) {
  const std::int64_t n = p.rows * p.n;
  return {bytes((p.one_sequence ? 1 : p.rows) * p.length + n, p.dtype) + bytes(n, DType::i64),
          static_cast<double>(n) * steps(p.length)};
}

Cost cost(const RowOrderProblem& p) {
  return {bytes(p.rows * p.width, p.dtype) + bytes(p.rows, DType::i64),
          static_cast<double>(p.rows) * steps(p.rows)};
}

}  // namespace gpunn
