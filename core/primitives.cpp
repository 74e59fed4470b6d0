// Lists of the three primitives, and their problems from tensors.
#include "gpunn/core/primitives_impl.h"

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

namespace {

double size(DType t) { return static_cast<double>(size_of(t)); }

template <int K>
detail::StridedDims<K> dims_of(int rank, std::int64_t* shape, std::int64_t* (&&strides)[K]) {
  detail::StridedDims<K> d{rank, shape, {}};
  std::copy(strides, strides + K, d.strides);
  return d;
}

}  // namespace

std::vector<Operand> operands(FillProblem& p) {
  return {{"y", &p.y, p.dtype, detail::extent_of(p.rank, p.shape, p.strides), Role::out}};
}

std::vector<Operand> operands(CopyProblem& p) {
  return {
      {"x", const_cast<void**>(&p.x), p.src_dtype, detail::extent_of(p.rank, p.shape, p.x_strides), Role::in},
      {"y", &p.y, p.dtype, detail::extent_of(p.rank, p.shape, p.y_strides), Role::out}};
}

std::vector<Operand> operands(AddProblem& p) {
  return {{"a", const_cast<void**>(&p.a), p.dtype, p.n, Role::in},
          {"b", const_cast<void**>(&p.b), p.dtype, p.n, Role::in},
          {"y", &p.y, p.dtype, p.n, Role::out}};
}

Cost cost(const FillProblem& p) {
  return {static_cast<double>(detail::numel_of(p.rank, p.shape)) * size(p.dtype), 0};
}

Cost cost(const CopyProblem& p) {
  return {static_cast<double>(detail::numel_of(p.rank, p.shape)) * (size(p.src_dtype) + size(p.dtype)), 0};
}

Cost cost(const AddProblem& p) {
  const auto n = static_cast<double>(p.n);
  return {3 * n * size(p.dtype), n};
}

namespace detail {

FillProblem fill_problem(const Tensor& t, double value) {
  FillProblem p;
  p.dtype = t.dtype();
  p.y = t.data();
  p.value = value;
  std::copy(t.shape().begin(), t.shape().end(), p.shape);
  std::copy(t.strides().begin(), t.strides().end(), p.strides);
  sort_by_stride(dims_of<1>(t.dim(), p.shape, {p.strides}));
  p.rank = coalesce(dims_of<1>(t.dim(), p.shape, {p.strides}));
  return p;
}

// The order of elements is free: y's smallest stride goes last, where runs are.
CopyProblem copy_problem(const Tensor& x, const Tensor& y) {
  CopyProblem p;
  p.src_dtype = x.dtype();
  p.dtype = y.dtype();
  p.x = x.data();
  p.y = y.data();
  std::copy(y.shape().begin(), y.shape().end(), p.shape);
  std::copy(x.strides().begin(), x.strides().end(), p.x_strides);
  std::copy(y.strides().begin(), y.strides().end(), p.y_strides);
  sort_by_stride(dims_of<2>(y.dim(), p.shape, {p.y_strides, p.x_strides}));
  p.rank = coalesce(dims_of<2>(y.dim(), p.shape, {p.y_strides, p.x_strides}));
  return p;
}

}  // namespace detail

namespace {

// Gradients are all that core adds.
const char* add_accepts(const AddProblem& p) {
  return is_floating(p.dtype) ? nullptr : "floating dtypes only";
}

constexpr Implementation<FillProblem> kFillEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::portable, fill_cuda},
#endif
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::portable, fill_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, fill_ref},
};

constexpr Implementation<CopyProblem> kCopyEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::portable, copy_cuda},
#endif
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::portable, copy_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, copy_ref},
};

constexpr Implementation<AddProblem> kAddEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, add_accepts, nullptr, Determinism::portable, add_cuda},
#endif
    {"cpu", DeviceType::cpu, add_accepts, nullptr, Determinism::portable, add_cpu},
    {"ref", DeviceType::cpu, add_accepts, nullptr, Determinism::portable, add_ref},
};

}  // namespace

constexpr ImplementationList<FillProblem> kFill{"fill", "forward", kFillEntries};
constexpr ImplementationList<CopyProblem> kCopy{"copy", "forward", kCopyEntries};
constexpr ImplementationList<AddProblem> kAdd{"accumulate", "forward", kAddEntries};

}  // namespace gpunn
