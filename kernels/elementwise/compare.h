#pragma once
// Comparisons, logic and selection, element by element, under PyTorch's names.
//
//   eq ne lt le gt ge, logical_and logical_or logical_xor logical_not, isnan isinf isfinite    give bool
//   where(condition, a, b)    a where the condition holds, else b
//
// Shapes, dtypes: operands broadcast; the result is a new tensor, ordered as in elementwise.h, of boolean for
// all but where. Two tensors need one dtype and one device; every dtype is taken (f64 on the CPU only). A
// scalar takes the tensor's dtype; for integers and bool it must be one of their values. NaN is unequal to
// everything and unordered, and true in logic. where takes a bool condition, and a and b of one dtype: f32,
// f16, bf16, i32, i64, f64 (on the CPU); a bool tensor becomes a mask of numbers by .to().
//
// Backward keeps: where its condition; an element's gradient goes to the operand that was chosen. The others
// have no gradient. Second derivatives: all of them. Determinism: bitwise. Errors: InvalidArgument for
// undefined tensors, shapes that do not broadcast, differing dtype or device, a condition that is not bool,
// other dtypes.
#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

GPUNN_API Tensor eq(const Tensor& a, const Tensor& b);
GPUNN_API Tensor ne(const Tensor& a, const Tensor& b);
GPUNN_API Tensor lt(const Tensor& a, const Tensor& b);
GPUNN_API Tensor le(const Tensor& a, const Tensor& b);
GPUNN_API Tensor gt(const Tensor& a, const Tensor& b);
GPUNN_API Tensor ge(const Tensor& a, const Tensor& b);
GPUNN_API Tensor eq(const Tensor& a, double b);
GPUNN_API Tensor ne(const Tensor& a, double b);
GPUNN_API Tensor lt(const Tensor& a, double b);
GPUNN_API Tensor le(const Tensor& a, double b);
GPUNN_API Tensor gt(const Tensor& a, double b);
GPUNN_API Tensor ge(const Tensor& a, double b);

GPUNN_API Tensor logical_and(const Tensor& a, const Tensor& b);
GPUNN_API Tensor logical_or(const Tensor& a, const Tensor& b);
GPUNN_API Tensor logical_xor(const Tensor& a, const Tensor& b);
GPUNN_API Tensor logical_not(const Tensor& x);
GPUNN_API Tensor isnan(const Tensor& x);
GPUNN_API Tensor isinf(const Tensor& x);
GPUNN_API Tensor isfinite(const Tensor& x);

GPUNN_API Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
GPUNN_API Tensor where(const Tensor& condition, const Tensor& a, double b);
GPUNN_API Tensor where(const Tensor& condition, double a, const Tensor& b);

}  // namespace gpunn
