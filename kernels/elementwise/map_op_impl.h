#pragma once
// From tensors to the problem of a group, for the ops' host code.
#include <algorithm>
#include <array>
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/functions_impl.h"

namespace gpunn::elementwise {

/// Throws InvalidArgument unless the function takes tensors of t's dtype.
template <class Function>
void check_map_dtype(Function function, const Tensor& t) {
  GPUNN_CHECK(t.defined(), "expected a tensor, got an undefined one");
  if (takes(function, t.dtype())) [[likely]]
    return;
  if (takes(function, DType::i32))
    GPUNN_CHECK(false, "expected a tensor of f32, f64, f16, bf16, i32 or i64, got ", t.dtype(),
                "; convert it with .to()");
  check_floating(t, "tensor");
}

/// Strides of `t` seen as `shape`: 0 where it is repeated.
inline void broadcast_to(const Tensor& t, const Shape& shape, std::int64_t* strides) {
  const int missing = shape.rank() - t.dim();
  for (int i = 0; i < shape.rank(); ++i) {
    const bool repeated = i < missing || (t.shape()[i - missing] == 1 && shape[i] != 1);
    strides[i] = repeated ? 0 : t.strides()[i - missing];
  }
}

/// y = f(in...; s, t) without gradients; the inputs broadcast. They have been checked.
template <class Function, std::size_t... I, class... In>
Tensor map_checked(Function function, double s, double t, std::index_sequence<I...>, const In&... in) {
  constexpr int K = kInputs<Function>;
  const Tensor* const inputs[K] = {&in...};
  const Tensor& last = *inputs[K - 1];
  Shape shape = inputs[0]->shape();
  const Layout layout = inputs[0]->layout();
  bool dense = layout != Layout::strided;
  for (int k = 1; k < K; ++k) {
    if (inputs[k]->shape() == shape) {
      dense = dense && inputs[k]->layout() == layout;
    } else {
      dense = false;
      shape = broadcast_shapes(shape, inputs[k]->shape());
    }
  }
  Tensor y = empty_on(last.context(), shape, result_dtype<Function>(last.dtype()),
                      dense ? layout : Layout::contiguous);
  const std::int64_t n = y.numel();
  if (n == 0) return y;
  MapProblem<Function> p;
  p.dtype = last.dtype();
  p.function = function;
  p.y = y.data();
  p.s = s;
  p.t = t;
  for (int k = 0; k < K; ++k) p.in[k] = inputs[k]->data();
  if (dense) [[likely]] {
    p.rank = 1;
    p.shape[0] = n;
    for (int k = 0; k < K; ++k) p.strides[k][0] = 1;
  } else {
    std::copy(shape.begin(), shape.end(), p.shape);
    for (int k = 0; k < K; ++k) broadcast_to(*inputs[k], shape, p.strides[k]);
    p.rank = gpunn::detail::coalesce<K>({shape.rank(), p.shape, {p.strides[I]...}});
  }
  execute(map_list(function), p, {&in...}, {&y});
  return y;
}

/// Checks and runs. The inputs have one dtype and device (a selection's first is bool: see where).
template <class Function>
Tensor map(Function function, const Tensor& a, double s = 0, double t = 0) {
  check_map_dtype(function, a);
  return map_checked(function, s, t, std::index_sequence<0>(), a);
}
template <class Function>
Tensor map(Function function, const Tensor& a, const Tensor& b, double s = 0, double t = 0) {
  check_map_dtype(function, a);
  check_same(a, "a", b, "b");
  return map_checked(function, s, t, std::index_sequence<0, 1>(), a, b);
}
template <class Function>
Tensor map(Function function, const Tensor& a, const Tensor& b, const Tensor& c, double s = 0, double t = 0) {
  check_map_dtype(function, a);
  check_same(a, "a", b, "b");
  check_same(a, "a", c, "c");
  return map_checked(function, s, t, std::index_sequence<0, 1, 2>(), a, b, c);
}

}  // namespace gpunn::elementwise
