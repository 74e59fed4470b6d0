// Lists, problems from tensors, and references of the three primitives.
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

void fill_ref(const FillProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T value = detail::convert_value<T>(p.value);
    T* y = static_cast<T*>(p.y);
    detail::walk<1>(p.rank, p.shape, {p.strides}, 0, detail::numel_of(p.rank, p.shape),
                    [&](std::int64_t n, const std::int64_t(&at)[1]) {
                      for (std::int64_t i = 0; i < n; ++i) y[at[0] + i * p.strides[p.rank - 1]] = value;
                    });
  });
}

void copy_ref(const CopyProblem& p, const Exec&) {
  const std::int64_t sx = p.x_strides[p.rank - 1], sy = p.y_strides[p.rank - 1];
  visit_dtype(p.src_dtype, [&]<class From>(From) {
    visit_dtype(p.dtype, [&]<class To>(To) {
      const From* x = static_cast<const From*>(p.x);
      To* y = static_cast<To*>(p.y);
      detail::walk<2>(p.rank, p.shape, {p.x_strides, p.y_strides}, 0, detail::numel_of(p.rank, p.shape),
                      [&](std::int64_t n, const std::int64_t(&at)[2]) {
                        for (std::int64_t i = 0; i < n; ++i)
                          y[at[1] + i * sy] = detail::convert_value<To>(x[at[0] + i * sx]);
                      });
    });
  });
}

void add_ref(const AddProblem& p, const Exec&) {
  visit_floating(p.dtype, [&]<class T>(T) {
    const T* a = static_cast<const T*>(p.a);
    const T* b = static_cast<const T*>(p.b);
    T* y = static_cast<T*>(p.y);
    for (std::int64_t i = 0; i < p.n; ++i)
      y[i] =
          detail::convert_value<T>(detail::convert_value<double>(a[i]) + detail::convert_value<double>(b[i]));
  });
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
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, fill_cuda},
#endif
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, fill_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, fill_ref},
};

constexpr Implementation<CopyProblem> kCopyEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, copy_cuda},
#endif
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, copy_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, copy_ref},
};

constexpr Implementation<AddProblem> kAddEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, add_accepts, nullptr, Determinism::bitwise, add_cuda},
#endif
    {"cpu", DeviceType::cpu, add_accepts, nullptr, Determinism::bitwise, add_cpu},
    {"ref", DeviceType::cpu, add_accepts, nullptr, Determinism::bitwise, add_ref},
};

}  // namespace

constexpr ImplementationList<FillProblem> kFill{"fill", "forward", kFillEntries};
constexpr ImplementationList<CopyProblem> kCopy{"copy", "forward", kCopyEntries};
constexpr ImplementationList<AddProblem> kAdd{"accumulate", "forward", kAddEntries};

}  // namespace gpunn
