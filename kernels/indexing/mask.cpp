// masked_fill, masked_select, one_hot.
#include <algorithm>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/op.h"
#include "gpunn/kernels/indexing/check_index_impl.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

void check_mask(const Tensor& x, const Tensor& mask) {
  GPUNN_CHECK(x.defined() && mask.defined(), "expected a tensor and a mask, got an undefined one");
  GPUNN_CHECK(mask.dtype() == DType::boolean, "expected a mask of bool, got ", mask.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(&mask.context() == &x.context(), "expected the mask on ", x.device(), ", got ", mask.device(),
              "; move it with .to()");
}

Tensor masked_fill_recorded(const Tensor& x, const Tensor& mask, double value) {
  Tensor y = empty_on(x.context(), x.shape(), x.dtype());
  if (y.numel() > 0) {
    const Tensor from = detail::dense(x);
    MaskedFillProblem p;
    p.dtype = x.dtype();
    p.x = from.data();
    p.mask = static_cast<const bool*>(mask.data());
    p.y = y.data();
    p.value = value;
    std::int64_t strides[kMaxRank];
    std::copy(y.shape().begin(), y.shape().end(), p.shape);
    std::copy(y.strides().begin(), y.strides().end(), strides);
    std::copy(mask.strides().begin(), mask.strides().end(), p.mask_strides);
    p.rank = detail::coalesce(detail::StridedDims<2>{y.dim(), p.shape, {strides, p.mask_strides}});
    execute(kMaskedFill, p, {&from, &mask}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, "masked_fill", {&x}, [mask = Saved(mask)](const Backward& b) -> Gradients {
      return {masked_fill_recorded(b.grad(), mask(b), 0)};
    });
  return y;
}

}  // namespace

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  OpScope scope("masked_fill");
  check_mask(x, mask);
  GPUNN_CHECK(mask.dim() <= x.dim(), "expected a mask that broadcasts to ", x.shape(), ", got ",
              mask.shape());
  return masked_fill_recorded(x, expand(mask, x.shape()), value);
}

// The true positions are found once; what follows, gradients included, is
// index_select.
Tensor masked_select(const Tensor& x, const Tensor& mask) {
  OpScope scope("masked_select");
  check_mask(x, mask);
  const Shape shape = broadcast_shapes(x.shape(), mask.shape());
  const std::int64_t n = shape.numel();
  const Tensor flat = expand(x, shape).reshape({n});
  Tensor positions = empty_on(x.context(), {n}, DType::i64);
  std::int64_t found = 0;
  if (n > 0) {
    const Tensor dense = expand(mask, shape).contiguous();
    const Tensor count = empty_on(x.context(), {1}, DType::i64);
    MaskPositionsProblem p{DType::f32, static_cast<const bool*>(dense.data()),
                           static_cast<std::int64_t*>(positions.data()),
                           static_cast<std::int64_t*>(count.data()), n};
    execute(kMaskPositions, p, {&dense}, {&positions, &count});
    found = count.to_vector<std::int64_t>()[0];
  }
  return index_select(flat, 0, positions.narrow(0, 0, found), {.check_indices = false});
}

Tensor one_hot(const Tensor& strided, std::int64_t num_classes, DType dtype, const IndexOptions& options) {
  OpScope scope("one_hot");
  detail::check_index_tensor(strided, strided);
  GPUNN_CHECK(num_classes == -1 || num_classes >= 1, "expected num_classes >= 1, or -1, got ", num_classes);
  GPUNN_CHECK(strided.dim() < kMaxRank, "expected an index of rank < ", kMaxRank, ", got shape ",
              strided.shape());
  const Tensor index = strided.contiguous();
  bool check = options.check_indices;
  if (num_classes == -1) {
    GPUNN_CHECK(index.numel() > 0, "expected num_classes for an empty index, got -1");
    const auto largest = max(index).to_vector<std::int64_t>()[0];
    num_classes = checked_add(std::max<std::int64_t>(largest, 0), 1);
    check = true;  // the call has waited already; a negative index is still to
                   // be found
  }
  detail::check_index_range(index, num_classes, check);
  Shape shape = index.shape();
  shape.push_back(num_classes);
  Tensor y = empty_on(index.context(), shape, dtype);
  if (y.numel() > 0) {
    OneHotProblem p{dtype, static_cast<const std::int64_t*>(index.data()), y.data(), index.numel(),
                    num_classes};
    execute(kOneHot, p, {&index}, {&y});
  }
  return y;
}

}  // namespace gpunn
