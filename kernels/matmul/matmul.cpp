#include "gpunn/kernels/matmul/matmul.h"

#include "gpunn/core/op.h"
#include "gpunn/kernels/matmul/product_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

Shape leading(const Tensor& t) {
  return Shape(std::span<const std::int64_t>(t.shape().data(), static_cast<std::size_t>(t.dim() - 2)));
}

/// a [*, M, K] times b [*, K, N] with the leading dimensions broadcast.
Tensor product(const Tensor& a, const Tensor& b) {
  Tensor c = detail::multiply({a}, {b}, broadcast_shapes(leading(a), leading(b)));
  if (autograd::wanted(a, b))
    autograd::record(c, "matmul", {&a, &b}, [a = Saved(a), b = Saved(b)](const Backward& bw) -> Gradients {
      const Tensor& dy = bw.grad();
      const Tensor x = a(bw), w = b(bw);
      return {bw.needs(0) ? sum_to(product(dy, w.transpose(-1, -2)), x.shape()) : Tensor(),
              bw.needs(1) ? sum_to(product(x.transpose(-1, -2), dy), w.shape()) : Tensor()};
    });
  return c;
}

/// One matrix b serves every matrix of a: their rows make one tall matrix, in the product and in both
/// gradients.
Tensor tall_product(const Tensor& a, const Tensor& b) {
  Shape shape = a.shape();
  shape[a.dim() - 1] = b.size(1);
  return product(a.reshape({a.numel() / a.size(-1), a.size(-1)}), b).reshape(shape);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  OpScope scope("matmul");
  check_floating(a, "a");
  check_same(a, "a", b, "b");
  GPUNN_CHECK(a.dim() >= 1 && b.dim() >= 1, "expected operands of rank >= 1, got ", a.shape(), " and ",
              b.shape());
  const std::int64_t K = a.size(-1), inner = b.dim() == 1 ? b.size(0) : b.size(-2);
  GPUNN_CHECK(K == inner, "expected the last dimension of a and the ",
              b.dim() == 1 ? "first" : "second to last", " of b to be equal, got ", a.shape(), " and ",
              b.shape());
  if (a.dim() == 1 || b.dim() == 1) {
    const Tensor left = a.dim() == 1 ? a.unsqueeze(0) : a, right = b.dim() == 1 ? b.unsqueeze(1) : b;
    Tensor y = matmul(left, right);
    if (b.dim() == 1) y = y.squeeze(-1);
    return a.dim() == 1 ? y.squeeze(b.dim() == 1 ? -1 : -2) : y;
  }
  if (a.dim() > 2 && b.dim() == 2 && a.is_contiguous() && K > 0) return tall_product(a, b);
  return product(a, b);
}

}  // namespace gpunn
