// Broadcasting as a view, and its gradient.
#include "gpunn/core/op.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

Tensor expand(const Tensor& x, const Shape& shape) {
  OpScope scope("expand");
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  const int added = shape.rank() - x.dim();
  GPUNN_CHECK(added >= 0, "expected a shape of rank >= ", x.dim(), ", got ", shape);
  Shape wanted = shape;
  Strides strides = Strides::filled(shape.rank(), 0);
  for (int i = added; i < shape.rank(); ++i) {
    const std::int64_t extent = x.shape()[i - added];
    if (wanted[i] == -1) wanted[i] = extent;
    GPUNN_CHECK(extent == wanted[i] || extent == 1, "expected a shape that ", x.shape(),
                " broadcasts to, got ", shape);
    if (extent == wanted[i]) strides[i] = x.strides()[i - added];
  }
  checked_bytes(wanted, x.dtype());
  if (wanted == x.shape()) return x;
  Tensor y = detail::raw_view(x, wanted, strides, 0);
  if (autograd::wanted(x))
    autograd::record(y, "expand", {&x},
                     [from = x.shape()](const Backward& b) -> Gradients { return {sum_to(b.grad(), from)}; });
  return y;
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.defined() && x.shape() == shape) return x;
  OpScope scope("sum_to");
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  const int added = x.dim() - shape.rank();
  bool fits = added >= 0;
  Dims dims;
  for (int i = 0; i < x.dim() && fits; ++i) {
    const std::int64_t target = i < added ? 1 : shape[i - added];
    fits = target == x.shape()[i] || target == 1;
    if (i < added || target != x.shape()[i]) dims.push_back(i);
  }
  GPUNN_CHECK(fits, "expected a shape that broadcasts to ", x.shape(), ", got ", shape);
  return sum(x, dims, true).reshape(shape);
}

}  // namespace gpunn
