// gather, scatter, scatter_add, take_along_dim.
#include <algorithm>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/op.h"
#include "gpunn/kernels/indexing/check_index_impl.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

template <int K>
detail::StridedDims<K> dims_of(int rank, std::int64_t* shape, std::int64_t* (&&strides)[K]) {
  detail::StridedDims<K> d{rank, shape, {}};
  std::copy(strides, strides + K, d.strides);
  return d;
}

/// x along `dim` at a contiguous index; `owner` as in the problem.
Tensor run_gather(const Tensor& x, int dim, const Tensor& index, const Tensor& owner) {
  Tensor y = empty_on(x.context(), index.shape(), x.dtype());
  if (y.numel() == 0) return y;
  GatherProblem p;
  p.dtype = x.dtype();
  p.x = x.data();
  p.index = static_cast<const std::int64_t*>(index.data());
  p.with_owner = owner.defined();
  p.owner = p.with_owner ? static_cast<const std::int64_t*>(owner.data()) : nullptr;
  p.y = y.data();
  p.extent = x.shape()[dim];
  p.step = x.strides()[dim];
  std::int64_t strides[kMaxRank];
  for (int d = 0; d < x.dim(); ++d) {
    p.shape[d] = index.shape()[d];
    strides[d] = index.strides()[d];
    p.x_strides[d] = d == dim ? 0 : x.strides()[d];
  }
  p.rank = detail::coalesce(dims_of<2>(x.dim(), p.shape, {strides, p.x_strides}));
  execute(kGather, p, {&x, &index, &owner}, {&y});
  return y;
}

/// base (undefined: zeros of `shape`) with src at a contiguous index. An
/// undefined src writes each element's own number.
Tensor run_scatter(const ImplementationList<ScatterProblem>& list, const Tensor& base, const Shape& shape,
                   DType dtype, int dim, const Tensor& index, const Tensor& src) {
  Tensor y = empty_on(index.context(), shape, dtype);
  if (y.numel() == 0) return y;
  if (index.numel() == 0) {
    NoGrad guard;
    base.defined() ? y.copy_(base) : y.zero_();
    return y;
  }
  const Tensor from = base.defined() ? detail::dense(base) : Tensor();
  const Tensor values = src.defined() ? detail::dense(src) : Tensor();
  ScatterProblem p;
  p.dtype = dtype;
  p.with_base = from.defined();
  p.with_src = values.defined();
  p.base = p.with_base ? from.data() : nullptr;
  p.src = p.with_src ? values.data() : nullptr;
  p.index = static_cast<const std::int64_t*>(index.data());
  p.y = y.data();
  p.n = index.shape()[dim];
  p.index_step = index.strides()[dim];
  p.extent = shape[dim];
  p.step = y.strides()[dim];
  p.y_elements = y.numel();
  int rank = 0;
  for (int d = 0; d < y.dim(); ++d) {
    if (d == dim) continue;
    p.shape[rank] = index.shape()[d];
    p.index_strides[rank] = index.strides()[d];
    p.y_strides[rank++] = y.strides()[d];
  }
  p.rank = detail::coalesce(dims_of<2>(rank, p.shape, {p.index_strides, p.y_strides}));
  execute(list, p, {&from, &index, &values}, {&y});
  return y;
}

Tensor scatter_add_recorded(const Tensor& x, const Shape& shape, int dim, const Tensor& index,
                            const Tensor& src);

Tensor gather_recorded(const Tensor& x, int dim, const Tensor& index) {
  Tensor y = run_gather(x, dim, index, Tensor());
  if (autograd::wanted(x))
    autograd::record(y, "gather", {&x},
                     [index = Saved(index), shape = x.shape(), dim](const Backward& b) -> Gradients {
                       return {scatter_add_recorded(Tensor(), shape, dim, index(b), b.grad())};
                     });
  return y;
}

Tensor scatter_add_recorded(const Tensor& x, const Shape& shape, int dim, const Tensor& index,
                            const Tensor& src) {
  Tensor y = run_scatter(kScatterAdd, x, shape, src.dtype(), dim, index, src);
  if (autograd::wanted(x, src))
    autograd::record(y, "scatter_add", {&x, &src},
                     [index = Saved(index), dim](const Backward& b) -> Gradients {
                       return {b.needs(0) ? b.grad() : Tensor(),
                               b.needs(1) ? gather_recorded(b.grad(), dim, index(b)) : Tensor()};
                     });
  return y;
}

Tensor scatter_recorded(const Tensor& x, const Shape& shape, int dim, const Tensor& index, const Tensor& src);

/// dy where src's element was the one that stayed, 0 for the others: the
/// gradient of scatter's src.
Tensor gather_won(const Tensor& dy, const Shape& shape, int dim, const Tensor& index) {
  const Tensor owner = run_scatter(kScatter, Tensor(), shape, DType::i64, dim, index, Tensor());
  Tensor y = run_gather(detail::dense(dy), dim, index, owner);
  if (autograd::wanted(dy))
    autograd::record(y, "gather", {&dy}, [index = Saved(index), shape, dim](const Backward& b) -> Gradients {
      return {scatter_recorded(Tensor(), shape, dim, index(b), b.grad())};
    });
  return y;
}

Tensor scatter_recorded(const Tensor& x, const Shape& shape, int dim, const Tensor& index,
                        const Tensor& src) {
  Tensor y = run_scatter(kScatter, x, shape, src.dtype(), dim, index, src);
  if (autograd::wanted(x, src))
    autograd::record(
        y, "scatter", {&x, &src}, [index = Saved(index), shape, dim](const Backward& b) -> Gradients {
          Gradients grads(2);
          if (b.needs(0)) {
            const Tensor none =
                zeros(index(b).shape(), {.dtype = b.grad().dtype(), .device = b.grad().device()});
            grads[0] = scatter_recorded(b.grad(), shape, dim, index(b), none);
          }
          if (b.needs(1)) grads[1] = gather_won(b.grad(), shape, dim, index(b));
          return grads;
        });
  return y;
}

/// The dimension, normalised, after the checks that gather and both scatters
/// share.
int check_shapes(const Tensor& x, int which, const Tensor& index) {
  detail::check_index_tensor(x, index);
  GPUNN_CHECK(x.dim() >= 1 && index.dim() == x.dim(), "expected x and index of one rank >= 1, got ",
              x.shape(), " and ", index.shape());
  const int dim = normalize_dim(which, x.dim());
  for (int d = 0; d < x.dim(); ++d)
    GPUNN_CHECK(d == dim || index.shape()[d] <= x.shape()[d], "expected an index no larger than ", x.shape(),
                " except in dimension ", dim, ", got ", index.shape());
  return dim;
}

/// The part of src that the index uses: a view.
Tensor used_part(const Tensor& src, const Tensor& index) {
  GPUNN_CHECK(src.dim() == index.dim(), "expected src of the index's rank, got ", src.shape(), " and ",
              index.shape());
  Tensor part = src;
  for (int d = 0; d < src.dim(); ++d) {
    GPUNN_CHECK(src.shape()[d] >= index.shape()[d], "expected src at least as large as the index ",
                index.shape(), ", got ", src.shape());
    if (src.shape()[d] > index.shape()[d]) part = part.narrow(d, 0, index.shape()[d]);
  }
  return part;
}

}  // namespace

Tensor gather(const Tensor& x, int which, const Tensor& strided, const IndexOptions& options) {
  OpScope scope("gather");
  const int dim = check_shapes(x, which, strided);
  const Tensor index = strided.contiguous();
  detail::check_index_range(index, x.shape()[dim], options.check_indices);
  return gather_recorded(x, dim, index);
}

Tensor scatter(const Tensor& x, int which, const Tensor& strided, const Tensor& src,
               const IndexOptions& options) {
  OpScope scope("scatter");
  check_same(x, "x", src, "src");
  const int dim = check_shapes(x, which, strided);
  const Tensor part = used_part(src, strided), index = strided.contiguous();
  detail::check_index_range(index, x.shape()[dim], options.check_indices);
  return scatter_recorded(x, x.shape(), dim, index, part);
}

Tensor scatter_add(const Tensor& x, int which, const Tensor& strided, const Tensor& src,
                   const IndexOptions& options) {
  OpScope scope("scatter_add");
  check_floating(x, "x");
  check_same(x, "x", src, "src");
  const int dim = check_shapes(x, which, strided);
  const Tensor part = used_part(src, strided), index = strided.contiguous();
  detail::check_index_range(index, x.shape()[dim], options.check_indices);
  return scatter_add_recorded(x, x.shape(), dim, index, part);
}

Tensor take_along_dim(const Tensor& x, const Tensor& index, int which, const IndexOptions& options) {
  OpScope scope("take_along_dim");
  detail::check_index_tensor(x, index);
  GPUNN_CHECK(x.dim() >= 1 && index.dim() == x.dim(), "expected x and index of one rank >= 1, got ",
              x.shape(), " and ", index.shape());
  const int dim = normalize_dim(which, x.dim());
  Shape x_shape = x.shape(), index_shape = index.shape();
  x_shape[dim] = index_shape[dim] = 1;
  x_shape = index_shape = broadcast_shapes(x_shape, index_shape);
  x_shape[dim] = x.shape()[dim];
  index_shape[dim] = index.shape()[dim];
  return gather(expand(x, x_shape), dim, expand(index, index_shape), options);
}

}  // namespace gpunn
