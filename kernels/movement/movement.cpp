// cat, stack and the views: split, chunk, unbind, slice, movedim.
#include "gpunn/kernels/movement/movement.h"

#include <algorithm>
#include <array>

#include "gpunn/core/op.h"
#include "gpunn/kernels/movement/movement_impl.h"

namespace gpunn {
namespace {

void check_defined(const Tensor& x) { GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one"); }

/// record() for lists whose length is known at run time.
template <class F>
void record_list(std::vector<Tensor>& outputs, const char* name, std::span<const Tensor* const> inputs,
                 F rule) {
  std::vector<Tensor*> out;
  for (Tensor& t : outputs) out.push_back(&t);
  autograd::detail::connect(Ref<Node>::adopt(new autograd::detail::RuleNode<F>(name, std::move(rule))),
                            inputs, out);
}

/// Shape of the result; checks that the inputs fit together.
Shape joined_shape(std::span<const Tensor> tensors, int dim) {
  const Tensor& first = tensors[0];
  Shape shape = first.shape();
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const Tensor& t = tensors[i];
    check_same(first, "the first tensor", t, "every tensor");
    Shape expected = first.shape();
    if (t.dim() == first.dim()) expected[dim] = t.shape()[dim];
    GPUNN_CHECK(t.shape() == expected, "expected tensors of one shape except in dimension ", dim, ", got ",
                first.shape(), " and, at position ", static_cast<std::int64_t>(i), ", ", t.shape());
    shape[dim] = checked_add(shape[dim], t.shape()[dim]);
  }
  return shape;
}

/// Fills y from contiguous inputs, kCatInputs of them in a launch.
void cat_contiguous(const Tensor& y, std::span<const Tensor> tensors, int dim) {
  CatProblem p;
  p.dtype = y.dtype();
  p.y = y.data();
  p.outer = 1;
  for (int i = 0; i < dim; ++i) p.outer *= y.shape()[i];
  p.width = y.numel() / p.outer;
  Storage* const writes[] = {&y.storage()};
  std::array<Storage*, kCatInputs> reads;
  std::int64_t start = 0;
  for (std::size_t next = 0; next < tensors.size();) {
    for (p.count = 0; p.count < kCatInputs && next < tensors.size(); ++next) {
      const Tensor& t = tensors[next];
      const std::int64_t width = t.numel() / p.outer;
      if (width == 0) continue;
      reads[static_cast<std::size_t>(p.count)] = &t.storage();
      p.slots[p.count++] = {t.data(), width, start};
      start += width;
    }
    if (p.count > 0)
      execute(kCat, p, y.context(),
              std::span<Storage* const>(reads.data(), static_cast<std::size_t>(p.count)), writes);
  }
}

/// Strided inputs go to their place in one copy each.
void cat_strided(const Tensor& y, std::span<const Tensor> tensors, int dim) {
  NoGrad guard;
  std::int64_t start = 0;
  for (const Tensor& t : tensors) {
    const std::int64_t extent = t.shape()[dim];
    if (extent > 0) y.narrow(dim, start, extent).copy_(t);
    start += extent;
  }
}

}  // namespace

Tensor cat(std::span<const Tensor> tensors, int which) {
  OpScope scope("cat");
  GPUNN_CHECK(!tensors.empty(), "expected at least one tensor, got none");
  check_defined(tensors[0]);
  GPUNN_CHECK(tensors[0].dim() > 0, "expected tensors of rank >= 1, got a scalar; use stack()");
  const int dim = normalize_dim(which, tensors[0].dim());
  Tensor y = empty_on(tensors[0].context(), joined_shape(tensors, dim), tensors[0].dtype());
  if (y.numel() > 0) {
    if (std::ranges::all_of(tensors, &Tensor::is_contiguous))
      cat_contiguous(y, tensors, dim);
    else
      cat_strided(y, tensors, dim);
  }
  if (grad_enabled() && std::ranges::any_of(tensors, &Tensor::requires_grad)) {
    std::vector<const Tensor*> inputs;
    std::vector<std::int64_t> sizes;
    for (const Tensor& t : tensors) {
      inputs.push_back(&t);
      sizes.push_back(t.shape()[dim]);
    }
    std::vector<Tensor> outputs{y};
    record_list(outputs, "cat", inputs, [sizes = std::move(sizes), dim](const Backward& b) -> Gradients {
      Gradients grads(sizes.size());
      std::int64_t start = 0;
      for (std::size_t i = 0; i < sizes.size(); start += sizes[i++])
        if (b.needs(i)) grads[i] = b.grad().narrow(dim, start, sizes[i]);
      return grads;
    });
  }
  return y;
}

Tensor stack(std::span<const Tensor> tensors, int which) {
  OpScope scope("stack");
  GPUNN_CHECK(!tensors.empty(), "expected at least one tensor, got none");
  check_defined(tensors[0]);
  const int dim = normalize_dim(which, tensors[0].dim() + 1);
  std::vector<Tensor> rows;
  rows.reserve(tensors.size());
  for (const Tensor& t : tensors) {
    check_defined(t);
    GPUNN_CHECK(t.shape() == tensors[0].shape(), "expected tensors of one shape, got ", tensors[0].shape(),
                " and ", t.shape());
    rows.push_back(t.unsqueeze(dim));
  }
  return cat(rows, dim);
}

std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& sizes, int which) {
  OpScope scope("split");
  check_defined(x);
  const int dim = normalize_dim(which, x.dim());
  std::int64_t total = 0;
  for (const std::int64_t size : sizes) {
    GPUNN_CHECK(size >= 0, "expected sizes >= 0, got ", size);
    total = checked_add(total, size);
  }
  GPUNN_CHECK(total == x.shape()[dim], "expected sizes that add up to ", x.shape()[dim], ", got ", total);
  std::vector<Tensor> parts;
  parts.reserve(sizes.size());
  std::int64_t start = 0;
  Shape shape = x.shape();
  for (const std::int64_t size : sizes) {
    shape[dim] = size;
    parts.push_back(detail::raw_view(x, shape, x.strides(), start * x.strides()[dim]));
    start += size;
  }
  if (!autograd::wanted(x)) return parts;
  // One node for all parts: their gradients are joined once instead of being added up in buffers of x's size.
  const Tensor* const input = &x;
  record_list(
      parts, "split", {&input, 1},
      [sizes, dim, full = x.shape(), dtype = x.dtype(), device = x.device()](const Backward& b) -> Gradients {
        std::vector<Tensor> grads;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
          Shape part = full;
          part[dim] = sizes[i];
          grads.push_back(b.grad(i).defined() ? b.grad(i) : zeros(part, {.dtype = dtype, .device = device}));
        }
        return {cat(grads, dim)};
      });
  return parts;
}

std::vector<Tensor> split(const Tensor& x, std::int64_t size, int which) {
  OpScope scope("split");
  check_defined(x);
  const int dim = normalize_dim(which, x.dim());
  const std::int64_t extent = x.shape()[dim];
  GPUNN_CHECK(size > 0 || (size == 0 && extent == 0), "expected a size > 0, got ", size);
  std::vector<std::int64_t> sizes;
  for (std::int64_t start = 0; start < extent; start += sizes.back())
    sizes.push_back(std::min(size, extent - start));
  if (sizes.empty()) sizes.push_back(0);
  return split(x, sizes, dim);
}

std::vector<Tensor> chunk(const Tensor& x, std::int64_t chunks, int which) {
  OpScope scope("chunk");
  check_defined(x);
  GPUNN_CHECK(chunks > 0, "expected chunks > 0, got ", chunks);
  const int dim = normalize_dim(which, x.dim());
  const std::int64_t extent = x.shape()[dim];
  if (extent > 0) return split(x, (extent - 1) / chunks + 1, dim);
  // An empty dimension gives as many empty chunks as were asked for, as in PyTorch.
  constexpr std::int64_t kMost = 1 << 20;
  GPUNN_CHECK(chunks <= kMost, "expected at most ", kMost, " chunks of an empty dimension, got ", chunks);
  return split(x, std::vector<std::int64_t>(static_cast<std::size_t>(chunks), 0), dim);
}

std::vector<Tensor> unbind(const Tensor& x, int which) {
  OpScope scope("unbind");
  check_defined(x);
  const int dim = normalize_dim(which, x.dim());
  if (x.shape()[dim] == 0) return {};
  std::vector<Tensor> parts = split(x, 1, dim);
  for (Tensor& part : parts) part = part.squeeze(dim);
  return parts;
}

namespace {

/// zeros(shape) with dy at every `step`-th place from `start` on: the gradient of slice, whose own gradient
/// is slice again.
Tensor slice_backward(const Tensor& dy, const Shape& shape, int dim, std::int64_t start, std::int64_t step) {
  Tensor dx = empty_on(dy.context(), shape, dy.dtype());
  const std::int64_t end = dy.shape()[dim] > 0 ? start + (dy.shape()[dim] - 1) * step + 1 : start;
  {
    NoGrad guard;
    dx.zero_();
    slice(dx, dim, start, end, step).copy_(dy);
  }
  if (autograd::wanted(dy))
    autograd::record(dx, "slice_backward", {&dy}, [dim, start, end, step](const Backward& b) -> Gradients {
      return {slice(b.grad(), dim, start, end, step)};
    });
  return dx;
}

}  // namespace

Tensor slice(const Tensor& x, int which, std::int64_t start, std::int64_t end, std::int64_t step) {
  OpScope scope("slice");
  check_defined(x);
  const int dim = normalize_dim(which, x.dim());
  GPUNN_CHECK(step >= 1, "expected a step >= 1, got ", step);
  const std::int64_t extent = x.shape()[dim];
  const auto bound = [extent](std::int64_t at) {
    return at < -extent ? 0 : at < 0 ? at + extent : std::min(at, extent);
  };
  const std::int64_t first = bound(start), last = std::max(bound(end), first);
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[dim] = last == first ? 0 : (last - first - 1) / step + 1;
  // The stride of a dimension of one element is never used, and the product could overflow.
  if (shape[dim] > 1) strides[dim] *= step;
  Tensor y = detail::raw_view(x, shape, strides, first * x.strides()[dim]);
  if (autograd::wanted(x))
    autograd::record(y, "slice", {&x}, [from = x.shape(), dim, first, step](const Backward& b) -> Gradients {
      return {slice_backward(b.grad(), from, dim, first, step)};
    });
  return y;
}

Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination) {
  OpScope scope("movedim");
  check_defined(x);
  GPUNN_CHECK(source.rank() == destination.rank(), "expected as many destinations as sources, got ",
              destination, " and ", source);
  Dims order = Dims::filled(x.dim(), -1);
  std::array<bool, kMaxRank> moved{};
  for (int i = 0; i < source.rank(); ++i) {
    const int from = normalize_dim(static_cast<int>(source[i]), x.dim());
    const int to = normalize_dim(static_cast<int>(destination[i]), x.dim());
    GPUNN_CHECK(!moved[static_cast<std::size_t>(from)] && order[to] < 0, "expected each dimension once, got ",
                source, " and ", destination);
    moved[static_cast<std::size_t>(from)] = true;
    order[to] = from;
  }
  int next = 0;
  for (int to = 0; to < x.dim(); ++to) {
    if (order[to] >= 0) continue;
    while (moved[static_cast<std::size_t>(next)]) ++next;
    order[to] = next++;
  }
  return x.permute(order);
}

}  // namespace gpunn
