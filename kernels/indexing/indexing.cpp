// Checks of indices, and the ops on whole rows: index_select, index_add,
// embedding.
#include "gpunn/kernels/indexing/indexing.h"

#include "gpunn/core/op.h"
#include "gpunn/kernels/indexing/check_index_impl.h"
#include "gpunn/kernels/indexing/indexing_impl.h"

namespace gpunn {
namespace detail {

void check_index_tensor(const Tensor& x, const Tensor& index) {
  GPUNN_CHECK(x.defined() && index.defined(), "expected a tensor and an index, got an undefined one");
  GPUNN_CHECK(index.dtype() == DType::i64, "expected an index of i64, got ", index.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(&index.context() == &x.context(), "expected the index on ", x.device(), ", got ",
              index.device(), "; move it with .to()");
}

void check_index_range(const Tensor& index, std::int64_t extent, bool on_device) {
  if (index.numel() == 0) return;
  std::int64_t at = -1;
  IndexCheckProblem p{DType::f32, nullptr, nullptr, index.numel(), extent};
  if (index.context().is_cpu()) {
    p.index = index.host<std::int64_t>();
    p.bad = &at;
    index_check_ref(p, {});
  } else if (on_device) {
    const Tensor found = empty_on(index.context(), {1}, DType::i64);
    p.index = static_cast<const std::int64_t*>(index.data());
    p.bad = static_cast<std::int64_t*>(found.data());
    execute(kIndexCheck, p, {&index}, {&found});
    at = found.to_vector<std::int64_t>()[0];
  }
  if (at < 0) [[likely]]
    return;
  const std::int64_t value = index.reshape({index.numel()}).narrow(0, at, 1).to_vector<std::int64_t>()[0];
  GPUNN_CHECK(false, "expected indices in [0, ", extent, "), got ", value, " at position ", at);
}

Tensor dense(const Tensor& x) {
  NoGrad guard;
  return x.contiguous();
}

}  // namespace detail

namespace {

/// What both directions keep: x seen as [outer, extent, inner], and the index
/// that gives zeros.
struct Rows {
  Shape x_shape;
  int dim;
  std::int64_t skip;

  std::int64_t outer() const {
    std::int64_t n = 1;
    for (int d = 0; d < dim; ++d) n *= x_shape[d];
    return n;
  }
  std::int64_t inner() const {
    std::int64_t n = 1;
    for (int d = dim + 1; d < x_shape.rank(); ++d) n *= x_shape[d];
    return n;
  }
  Shape y_shape(std::int64_t n) const {
    Shape shape = x_shape;
    shape[dim] = n;
    return shape;
  }
};

Tensor add_rows(const Tensor& base, const Tensor& index, const Tensor& src, const Rows& rows);

/// x[index] along rows.dim. `index` is contiguous; with `skip_reads`, rows.skip
/// reads zeros.
Tensor select_rows(const Tensor& x, const Tensor& index, const Rows& rows, bool skip_reads,
                   const char* name) {
  Tensor y = empty_on(x.context(), rows.y_shape(index.numel()), x.dtype());
  if (y.numel() > 0) {
    const Tensor from = detail::dense(x);
    SelectRowsProblem p{x.dtype(),    from.data(),   static_cast<const std::int64_t*>(index.data()),
                        y.data(),     rows.outer(),  rows.x_shape[rows.dim],
                        rows.inner(), index.numel(), skip_reads ? rows.skip : -1};
    execute(kSelectRows, p, {&from, &index}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, name, {&x}, [index = Saved(index), rows](const Backward& b) -> Gradients {
      return {add_rows(Tensor(), index(b), b.grad(), rows)};
    });
  return y;
}

/// base (none: zeros) plus src by row.
Tensor add_rows(const Tensor& base, const Tensor& index, const Tensor& src, const Rows& rows) {
  Tensor y = empty_on(src.context(), rows.x_shape, src.dtype());
  if (y.numel() > 0) {
    const Tensor from = base.defined() ? detail::dense(base) : Tensor();
    if (src.numel() == 0) {
      NoGrad guard;
      base.defined() ? y.copy_(base) : y.zero_();
    } else {
      const Tensor terms = detail::dense(src);
      AddRowsProblem p{src.dtype(),
                       base.defined() ? from.data() : nullptr,
                       static_cast<const std::int64_t*>(index.data()),
                       terms.data(),
                       y.data(),
                       rows.outer(),
                       rows.x_shape[rows.dim],
                       rows.inner(),
                       index.numel(),
                       rows.skip,
                       base.defined()};
      execute(kAddRows, p, {&from, &index, &terms}, {&y});
    }
  }
  if (autograd::wanted(base, src))
    autograd::record(
        y, "index_add", {&base, &src}, [index = Saved(index), rows](const Backward& b) -> Gradients {
          return {b.needs(0) ? b.grad() : Tensor(),
                  b.needs(1) ? select_rows(b.grad(), index(b), rows, true, "index_select") : Tensor()};
        });
  return y;
}

/// The dimension, normalised, after all checks that index_select and index_add
/// share; the range comes last.
int check_rows(const Tensor& x, int which, const Tensor& index) {
  detail::check_index_tensor(x, index);
  GPUNN_CHECK(index.dim() == 1, "expected a one-dimensional index, got shape ", index.shape());
  return normalize_dim(which, x.dim());
}

}  // namespace

Tensor index_select(const Tensor& x, int which, const Tensor& strided, const IndexOptions& options) {
  OpScope scope("index_select");
  const int dim = check_rows(x, which, strided);
  const Tensor index = strided.contiguous();
  detail::check_index_range(index, x.shape()[dim], options.check_indices);
  return select_rows(x, index, {x.shape(), dim, -1}, false, "index_select");
}

Tensor index_add(const Tensor& x, int which, const Tensor& strided, const Tensor& src,
                 const IndexOptions& options) {
  OpScope scope("index_add");
  check_floating(x, "x");
  check_same(x, "x", src, "src");
  const int dim = check_rows(x, which, strided);
  const Rows rows{x.shape(), dim, -1};
  GPUNN_CHECK(src.shape() == rows.y_shape(strided.numel()), "expected src ", rows.y_shape(strided.numel()),
              ", got ", src.shape());
  const Tensor index = strided.contiguous();
  detail::check_index_range(index, x.shape()[dim], options.check_indices);
  return add_rows(x, index, src, rows);
}

Tensor embedding(const Tensor& weight, const Tensor& strided, const EmbeddingOptions& options) {
  OpScope scope("embedding");
  check_floating(weight, "weight");
  GPUNN_CHECK(weight.dim() == 2, "expected weight [V, D], got ", weight.shape());
  detail::check_index_tensor(weight, strided);
  const std::int64_t entries = weight.size(0);
  std::int64_t skip = -1;
  if (options.padding_idx) {
    skip = *options.padding_idx;
    GPUNN_CHECK(skip >= -entries && skip < entries, "expected padding_idx in [", -entries, ", ", entries,
                "), got ", skip);
    if (skip < 0) skip += entries;
  }
  GPUNN_CHECK(strided.dim() < kMaxRank, "expected an index of rank < ", kMaxRank, ", got shape ",
              strided.shape());
  const Tensor index = strided.contiguous();
  detail::check_index_range(index, entries, options.check_indices);
  const Tensor y = select_rows(weight, index, {weight.shape(), 0, skip}, false, "embedding");
  Shape shape = index.shape();
  shape.push_back(weight.size(1));
  return y.reshape(shape);
}

}  // namespace gpunn
