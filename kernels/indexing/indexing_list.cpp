// Implementation lists of indexing, what their problems read and write, and
// what they cost.
#include "gpunn/core/detail/strided.h"
#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/indexing/stable_sort_impl.h"

namespace gpunn {
namespace {

constexpr auto kCpu = DeviceType::cpu;
constexpr auto kBitwise = Determinism::bitwise;
constexpr auto kPortable = Determinism::portable;
#if GPUNN_HAS_CUDA
constexpr auto kCuda = DeviceType::cuda;

const char* cuda_adds_rows(const AddRowsProblem& p) {
  if (const char* reason = device_dtype_reason(p.dtype)) return reason;
  return p.n <= kMostSortedKeys && p.extent < 0xffffffffll ? nullptr
                                                           : "takes up to 2^31 indices of 2^32 rows";
}
#endif

const char* accepts_f32(DType dtype) { return dtype == DType::f32 ? nullptr : "takes f32"; }

constexpr Implementation<IndexCheckProblem> kCheckEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, index_check_cuda_workspace, kPortable, index_check_cuda},
#endif
    {"ref", kCpu, nullptr, nullptr, kPortable, index_check_ref},
};

constexpr Implementation<SelectRowsProblem> kSelectRowsEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, nullptr, kPortable, select_rows_cuda},
#endif
    {"cpu", kCpu, nullptr, nullptr, kPortable, select_rows_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, select_rows_ref},
};

constexpr Implementation<AddRowsProblem> kAddRowsEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, cuda_adds_rows, add_rows_cuda_workspace, kBitwise, add_rows_cuda},
#endif
    {"cpu", kCpu, [](const AddRowsProblem& p) { return accepts_f32(p.dtype); }, add_rows_cpu_workspace,
     kBitwise, add_rows_cpu},
    {"ref", kCpu, nullptr, nullptr, kBitwise, add_rows_ref},
};

constexpr Implementation<GatherProblem> kGatherEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, nullptr, kPortable, gather_cuda},
#endif
    {"cpu", kCpu, nullptr, nullptr, kPortable, gather_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, gather_ref},
};

constexpr Implementation<ScatterProblem> kScatterEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, scatter_cuda_workspace, kPortable, scatter_cuda},
#endif
    {"cpu", kCpu, nullptr, nullptr, kPortable, scatter_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, scatter_ref},
};

constexpr Implementation<ScatterProblem> kScatterAddEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, [](const ScatterProblem& p) { return device_dtype_reason(p.dtype); },
     scatter_add_cuda_workspace, kBitwise, scatter_add_cuda},
#endif
    {"cpu", kCpu, [](const ScatterProblem& p) { return accepts_f32(p.dtype); }, nullptr, kBitwise,
     scatter_add_cpu},
    {"ref", kCpu, nullptr, nullptr, kBitwise, scatter_add_ref},
};

constexpr Implementation<MaskedFillProblem> kMaskedFillEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, nullptr, kPortable, masked_fill_cuda},
#endif
    {"cpu", kCpu, nullptr, nullptr, kPortable, masked_fill_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, masked_fill_ref},
};

constexpr Implementation<MaskPositionsProblem> kMaskPositionsEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, mask_positions_cuda_workspace, kPortable, mask_positions_cuda},
#endif
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cub", kCuda, nullptr, mask_positions_cub_workspace, kBitwise, mask_positions_cub},
#endif
    {"ref", kCpu, nullptr, nullptr, kPortable, mask_positions_ref},
};

constexpr Implementation<OneHotProblem> kOneHotEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, nullptr, nullptr, kPortable, one_hot_cuda},
#endif
    {"cpu", kCpu, nullptr, nullptr, kPortable, one_hot_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, one_hot_ref},
};

/// Where an operand description writes a pointer.
template <class T>
void** pointer_of(T*& p) {
  return reinterpret_cast<void**>(const_cast<std::remove_const_t<T>**>(&p));
}

double bytes(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
}

}  // namespace

constexpr ImplementationList<IndexCheckProblem> kIndexCheck{"gather", "indices", kCheckEntries};
constexpr ImplementationList<SelectRowsProblem> kSelectRows{"embedding", "forward", kSelectRowsEntries};
constexpr ImplementationList<AddRowsProblem> kAddRows{"embedding", "backward", kAddRowsEntries};
constexpr ImplementationList<GatherProblem> kGather{"gather", "forward", kGatherEntries};
constexpr ImplementationList<ScatterProblem> kScatter{"scatter", "forward", kScatterEntries};
constexpr ImplementationList<ScatterProblem> kScatterAdd{"gather", "backward", kScatterAddEntries};
constexpr ImplementationList<MaskedFillProblem> kMaskedFill{"masked_fill", "forward", kMaskedFillEntries};
constexpr ImplementationList<MaskPositionsProblem> kMaskPositions{"masked_select", "positions",
                                                                  kMaskPositionsEntries};
constexpr ImplementationList<OneHotProblem> kOneHot{"one_hot", "forward", kOneHotEntries};

std::int64_t columns_of(const ScatterProblem& p) { return detail::numel_of(p.rank, p.shape); }
std::int64_t elements_of(const GatherProblem& p) { return detail::numel_of(p.rank, p.shape); }
std::int64_t gather_x_elements(const GatherProblem& p) {
  return detail::extent_of(p.rank, p.shape, p.x_strides) + (p.extent - 1) * p.step;
}

std::vector<Operand> operands(IndexCheckProblem& p) {
  return {{"index", pointer_of(p.index), DType::i64, p.n, Role::in},
          {"bad", pointer_of(p.bad), DType::i64, 1, Role::out}};
}

std::vector<Operand> operands(SelectRowsProblem& p) {
  return {{"x", pointer_of(p.x), p.dtype, p.outer * p.extent * p.inner, Role::in},
          {"index", pointer_of(p.index), DType::i64, p.n, Role::in},
          {"y", &p.y, p.dtype, p.outer * p.n * p.inner, Role::out}};
}

std::vector<Operand> operands(AddRowsProblem& p) {
  const std::int64_t y = p.outer * p.extent * p.inner;
  return {{"base", pointer_of(p.base), p.dtype, p.with_base ? y : 0, Role::in},
          {"index", pointer_of(p.index), DType::i64, p.n, Role::in},
          {"src", pointer_of(p.src), p.dtype, p.outer * p.n * p.inner, Role::in},
          {"y", &p.y, p.dtype, y, Role::out}};
}

std::vector<Operand> operands(GatherProblem& p) {
  const std::int64_t n = elements_of(p), x = gather_x_elements(p);
  return {{"x", pointer_of(p.x), p.dtype, x, Role::in},
          {"index", pointer_of(p.index), DType::i64, n, Role::in},
          {"owner", pointer_of(p.owner), DType::i64, p.with_owner ? x : 0, Role::in},
          {"y", &p.y, p.dtype, n, Role::out}};
}

std::vector<Operand> operands(ScatterProblem& p) {
  const std::int64_t n = columns_of(p) * p.n;
  return {{"base", pointer_of(p.base), p.dtype, p.with_base ? p.y_elements : 0, Role::in},
          {"index", pointer_of(p.index), DType::i64, n, Role::in},
          {"src", pointer_of(p.src), p.dtype, p.with_src ? n : 0, Role::in},
          {"y", &p.y, p.dtype, p.y_elements, Role::out}};
}

std::vector<Operand> operands(MaskedFillProblem& p) {
  const std::int64_t n = detail::numel_of(p.rank, p.shape);
  return {{"x", pointer_of(p.x), p.dtype, n, Role::in},
          {"mask", pointer_of(p.mask), DType::boolean, detail::extent_of(p.rank, p.shape, p.mask_strides),
           Role::in},
          {"y", &p.y, p.dtype, n, Role::out}};
}

std::vector<Operand> operands(MaskPositionsProblem& p) {
  return {{"mask", pointer_of(p.mask), DType::boolean, p.n, Role::in},
          {"positions", pointer_of(p.positions), DType::i64, p.n, Role::out},
          {"count", pointer_of(p.count), DType::i64, 1, Role::out}};
}

std::vector<Operand> operands(OneHotProblem& p) {
  return {{"index", pointer_of(p.index), DType::i64, p.n, Role::in},
          {"y", &p.y, p.dtype, p.n * p.classes, Role::out}};
}

Cost cost(const IndexCheckProblem& p) { return {bytes(p.n, DType::i64), 0}; }

Cost cost(const SelectRowsProblem& p) {
  return {bytes(2 * p.outer * p.n * p.inner, p.dtype) + bytes(p.n, DType::i64), 0};
}

Cost cost(const AddRowsProblem& p) {
  const std::int64_t y = p.outer * p.extent * p.inner, terms = p.outer * p.n * p.inner;
  return {bytes(terms + (p.with_base ? 2 : 1) * y, p.dtype) + bytes(p.n, DType::i64),
          static_cast<double>(terms)};
}

Cost cost(const GatherProblem& p) {
  const std::int64_t n = elements_of(p);
  return {bytes(2 * n, p.dtype) + bytes(n, DType::i64), 0};
}

Cost cost(const ScatterProblem& p) {
  const std::int64_t n = columns_of(p) * p.n;
  return {bytes(n + (p.with_base ? 2 : 1) * p.y_elements, p.dtype) + bytes(n, DType::i64),
          static_cast<double>(n)};
}

Cost cost(const MaskedFillProblem& p) {
  const std::int64_t n = detail::numel_of(p.rank, p.shape);
  return {bytes(2 * n, p.dtype) + bytes(detail::extent_of(p.rank, p.shape, p.mask_strides), DType::boolean),
          0};
}

Cost cost(const MaskPositionsProblem& p) { return {bytes(p.n, DType::boolean) + bytes(p.n, DType::i64), 0}; }

Cost cost(const OneHotProblem& p) { return {bytes(p.n * p.classes, p.dtype) + bytes(p.n, DType::i64), 0}; }

}  // namespace gpunn
