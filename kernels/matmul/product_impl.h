#pragma once
// Tensors to matrix problems: what matmul.cpp and linear.cpp share.
#include <cstdint>

#include "gpunn/core/tensor.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn::detail {

/// The last two dimensions of `tensor` are a matrix (transposed: its transpose is meant), those before count
/// matrices.
struct Matrices {
  const Tensor& tensor;
  bool transposed = false;
  std::int64_t rows() const { return tensor.size(transposed ? -1 : -2); }
  std::int64_t cols() const { return tensor.size(transposed ? -2 : -1); }
};

/// What a product is finished with.
struct Epilogue {
  const Tensor* bias = nullptr;  // [N]; null or undefined: none
  Activation activation = Activation::none;
  const Tensor* residual = nullptr;  // of the result's shape; null or undefined: none
  Tensor* pre = nullptr;             // becomes what the activation is applied to, unless null
};

/// a b for a [*, M, K] and b [*, K, N] with checked sizes, the leading dimensions broadcast to `batch`: a new
/// tensor
/// [*batch, M, N]. Records nothing.
Tensor multiply(const Matrices& a, const Matrices& b, const Shape& batch, const Epilogue& epilogue = {});

}  // namespace gpunn::detail
