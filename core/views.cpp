// Views: other shapes and strides over the same storage. Each rule is a view again, so any derivative order
// works.
#include <algorithm>
#include <optional>

#include "gpunn/core/autograd.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

namespace detail {

namespace {
Layout layout_of(const Shape& shape, const Strides& strides) {
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != step) return shape.numel() == 0 ? Layout::contiguous : Layout::strided;
    step *= std::max<std::int64_t>(shape[i], 1);
  }
  return Layout::contiguous;
}
}  // namespace

Tensor raw_view(const Tensor& base, const Shape& shape, const Strides& strides, std::int64_t offset) {
  const TensorImpl& from = base.impl();
  auto impl = Ref<TensorImpl>::adopt(new TensorImpl);
  impl->storage = from.storage;
  impl->shape = shape;
  impl->strides = strides;
  impl->offset = from.offset + offset;
  impl->dtype = from.dtype;
  impl->layout = layout_of(shape, strides);
  // Only what came from a channels-last tensor may be one: a picture of one channel fits both orders.
  if (from.layout == Layout::channels_last && shape.rank() == 4 && strides == channels_last_strides(shape))
    impl->layout = Layout::channels_last;
  return Tensor(std::move(impl));
}

}  // namespace detail

namespace {

/// Fills in a single -1 and checks the number of elements.
Shape resolve(const Shape& wanted, std::int64_t numel) {
  Shape shape = wanted;
  int unknown = -1;
  std::int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    GPUNN_CHECK(shape[i] >= -1 && (shape[i] != -1 || unknown < 0),
                "expected extents >= 0 and at most one -1, got ", wanted);
    if (shape[i] == -1)
      unknown = i;
    else
      known = checked_mul(known, shape[i]);
  }
  if (unknown >= 0) {
    GPUNN_CHECK(known > 0 && numel % known == 0, "expected a shape for ", numel, " elements, got ", wanted);
    shape[unknown] = numel / known;
  } else {
    GPUNN_CHECK(known == numel, "expected a shape for ", numel, " elements, got ", wanted);
  }
  return shape;
}

/// Strides that give `shape` over the elements of (old_shape, old_strides) without moving any, if there are
/// such. Old dimensions are joined into runs that lie evenly in memory; each run must split exactly into new
/// dimensions.
std::optional<Strides> view_strides(const Shape& old_shape, const Strides& old_strides, const Shape& shape) {
  Strides strides = contiguous_strides(shape);
  if (shape.numel() == 0) return strides;
  int next = shape.rank() - 1;
  for (int i = old_shape.rank() - 1; i >= 0;) {
    std::int64_t step = old_strides[i], run = old_shape[i];
    int j = i - 1;
    while (j >= 0 && (old_shape[j] == 1 || old_strides[j] == step * run)) run *= old_shape[j--];
    i = j;
    std::int64_t left = run;
    while (next >= 0 && (left > 1 || shape[next] == 1)) {
      if (left % shape[next] != 0) return std::nullopt;
      strides[next] = step;
      step *= shape[next];
      left /= shape[next--];
    }
    if (left > 1) return std::nullopt;
  }
  return strides;
}

Tensor recorded_view(const Tensor& x, const char* name, const Shape& shape, const Strides& strides) {
  Tensor y = detail::raw_view(x, shape, strides, 0);
  if (autograd::wanted(x))
    autograd::record(y, name, {&x},
                     [from = x.shape()](const Backward& b) -> Gradients { return {b.grad().reshape(from)}; });
  return y;
}

/// zeros(shape) with dy at [start, …) of `dim`: the gradient of narrow, whose own gradient is narrow again.
Tensor narrow_backward(const Tensor& dy, const Shape& shape, int dim, std::int64_t start) {
  Tensor dx = empty_on(dy.context(), shape, dy.dtype());
  {
    NoGrad guard;
    dx.zero_();
    dx.narrow(dim, start, dy.size(dim)).copy_(dy);
  }
  if (autograd::wanted(dy))
    autograd::record(dx, "narrow_backward", {&dy},
                     [dim, start, length = dy.size(dim)](const Backward& b) -> Gradients {
                       return {b.grad().narrow(dim, start, length)};
                     });
  return dx;
}

}  // namespace

Tensor Tensor::view(const Shape& wanted) const {
  OpScope scope("view");
  const Shape resolved = resolve(wanted, numel());
  const auto strides = view_strides(shape(), this->strides(), resolved);
  GPUNN_CHECK(strides.has_value(), "a view of shape ", resolved, " over shape ", shape(), " with strides ",
              this->strides(), " needs a copy; use reshape()");
  return recorded_view(*this, "view", resolved, *strides);
}

Tensor Tensor::reshape(const Shape& wanted) const {
  OpScope scope("reshape");
  const Shape resolved = resolve(wanted, numel());
  if (resolved == shape()) return *this;
  if (const auto strides = view_strides(shape(), this->strides(), resolved))
    return recorded_view(*this, "reshape", resolved, *strides);
  return recorded_view(clone(), "reshape", resolved, contiguous_strides(resolved));
}

Tensor Tensor::flatten(int start_dim, int end_dim) const {
  OpScope scope("flatten");
  if (dim() == 0) return reshape({1});
  const int first = normalize_dim(start_dim, dim()), last = normalize_dim(end_dim, dim());
  GPUNN_CHECK(first <= last, "expected start_dim <= end_dim, got ", start_dim, " and ", end_dim);
  Shape out;
  for (int i = 0; i < first; ++i) out.push_back(size(i));
  std::int64_t joined = 1;
  for (int i = first; i <= last; ++i) joined *= size(i);
  out.push_back(joined);
  for (int i = last + 1; i < dim(); ++i) out.push_back(size(i));
  return reshape(out);
}

Tensor Tensor::permute(const Dims& order) const {
  OpScope scope("permute");
  GPUNN_CHECK(order.rank() == dim(), "expected an order of ", dim(), " dimensions, got ", order);
  Shape new_shape;
  Strides new_strides;
  Dims inverse = Dims::filled(dim(), -1);
  for (int i = 0; i < dim(); ++i) {
    const int from = normalize_dim(static_cast<int>(order[i]), dim());
    GPUNN_CHECK(inverse[from] < 0, "expected each dimension once, got ", order);
    inverse[from] = i;
    new_shape.push_back(shape()[from]);
    new_strides.push_back(strides()[from]);
  }
  Tensor y = detail::raw_view(*this, new_shape, new_strides, 0);
  if (autograd::wanted(*this))
    autograd::record(y, "permute", {this},
                     [inverse](const Backward& b) -> Gradients { return {b.grad().permute(inverse)}; });
  return y;
}

Tensor Tensor::transpose(int a, int b) const {
  const int first = normalize_dim(a, dim()), second = normalize_dim(b, dim());
  Dims order;
  for (int i = 0; i < dim(); ++i) order.push_back(i);
  std::swap(order[first], order[second]);
  return permute(order);
}

Tensor Tensor::t() const {
  OpScope scope("t");
  GPUNN_CHECK(dim() == 2, "expected a matrix, got shape ", shape());
  return permute({1, 0});
}

Tensor Tensor::squeeze(int which) const {
  OpScope scope("squeeze");
  const int d = normalize_dim(which, dim());
  if (shape()[d] != 1) return *this;
  Shape s;
  Strides st;
  for (int i = 0; i < dim(); ++i) {
    if (i == d) continue;
    s.push_back(shape()[i]);
    st.push_back(strides()[i]);
  }
  return recorded_view(*this, "squeeze", s, st);
}

Tensor Tensor::unsqueeze(int which) const {
  OpScope scope("unsqueeze");
  const int d = normalize_dim(which, dim() + 1);
  Shape s;
  Strides st;
  for (int i = 0; i <= dim(); ++i) {
    if (i == d) {
      s.push_back(1);
      st.push_back(i < dim() ? shape()[i] * strides()[i] : 1);
    }
    if (i == dim()) break;
    s.push_back(shape()[i]);
    st.push_back(strides()[i]);
  }
  return recorded_view(*this, "unsqueeze", s, st);
}

Tensor Tensor::narrow(int which, std::int64_t start, std::int64_t length) const {
  OpScope scope("narrow");
  const int d = normalize_dim(which, dim());
  GPUNN_CHECK(start >= 0 && length >= 0 && start <= shape()[d] - length, "expected a range within [0, ",
              shape()[d], "), got start ", start, " and length ", length);
  Shape s = shape();
  s[d] = length;
  Tensor y = detail::raw_view(*this, s, strides(), start * strides()[d]);
  if (autograd::wanted(*this))
    autograd::record(y, "narrow", {this}, [from = shape(), d, start](const Backward& b) -> Gradients {
      return {narrow_backward(b.grad(), from, d, start)};
    });
  return y;
}

Tensor Tensor::select(int which, std::int64_t index) const {
  OpScope scope("select");
  const int d = normalize_dim(which, dim());
  const std::int64_t i = index < 0 ? index + shape()[d] : index;
  GPUNN_CHECK(i >= 0 && i < shape()[d], "expected an index in [", -shape()[d], ", ", shape()[d], "), got ",
              index);
  return narrow(d, i, 1).squeeze(d);
}

}  // namespace gpunn
