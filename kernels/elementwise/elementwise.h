#pragma once
// Element-wise arithmetic and functions, with NumPy/PyTorch broadcasting.
//
//   add a+b   sub a-b   mul a*b   div a/b   neg -x   exp e^x   log ln x   relu max(x,0)
//   sigmoid 1/(1+e^-x)   tanh (e^x-e^-x)/(e^x+e^-x)
//
// Shapes: two tensors broadcast (broadcast_shapes); one tensor keeps its shape. The result is a new tensor,
// contiguous, or channels-last where all operands are and have one shape. dtypes: f32, f16, bf16 (computed in
// float), f64 (on the CPU); add, sub, mul, neg also i32 and i64, which wrap around. Two tensors need one
// dtype and device; a scalar takes the tensor's dtype (it is rounded to float for the halves). Special values
// as PyTorch: relu(NaN) is NaN, relu'(0) is 0, log of a negative number is NaN.
//
// Backward keeps: mul and div their inputs (div its output too), exp, relu, sigmoid, tanh their output, log
// its input; the rest nothing. A broadcast operand's gradient is summed to its shape in a fixed order. Second
// derivatives: all of them. Determinism: bitwise on one machine type, for any number of threads. f32 on the
// CPU: exp, log, tanh and sigmoid are within 4 ulp over the whole range, subnormal numbers included. Errors:
// InvalidArgument for undefined tensors, shapes that do not broadcast, differing dtype or device, other
// dtypes.

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

GPUNN_API Tensor add(const Tensor& a, const Tensor& b);
GPUNN_API Tensor sub(const Tensor& a, const Tensor& b);
GPUNN_API Tensor mul(const Tensor& a, const Tensor& b);
GPUNN_API Tensor div(const Tensor& a, const Tensor& b);

/// With a scalar no second tensor is made. For integer tensors the scalar must be a whole number of their
/// range.
GPUNN_API Tensor add(const Tensor& a, double b);
GPUNN_API Tensor sub(const Tensor& a, double b);
GPUNN_API Tensor mul(const Tensor& a, double b);
GPUNN_API Tensor div(const Tensor& a, double b);
GPUNN_API Tensor sub(double a, const Tensor& b);
GPUNN_API Tensor div(double a, const Tensor& b);
inline Tensor add(double a, const Tensor& b) { return add(b, a); }
inline Tensor mul(double a, const Tensor& b) { return mul(b, a); }

GPUNN_API Tensor neg(const Tensor& x);
GPUNN_API Tensor exp(const Tensor& x);
GPUNN_API Tensor log(const Tensor& x);
GPUNN_API Tensor relu(const Tensor& x);
GPUNN_API Tensor sigmoid(const Tensor& x);
GPUNN_API Tensor tanh(const Tensor& x);

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& a, double b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, double b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, double b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, double b) { return div(a, b); }
inline Tensor operator+(double a, const Tensor& b) { return add(b, a); }
inline Tensor operator-(double a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(double a, const Tensor& b) { return mul(b, a); }
inline Tensor operator/(double a, const Tensor& b) { return div(a, b); }
inline Tensor operator-(const Tensor& x) { return neg(x); }

}  // namespace gpunn
