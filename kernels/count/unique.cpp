// Distinct elements: sorted, each compared with the one before; where they differ, a run begins. What follows
// is made of other ops: positions of true elements, running sums, index_select, scatter.
#include "gpunn/core/op.h"
#include "gpunn/kernels/count/count.h"
#include "gpunn/kernels/count/count_impl.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/scan/scan.h"
#include "gpunn/kernels/sort/sort.h"

namespace gpunn {

namespace {

constexpr IndexOptions kUnchecked{.check_indices = false};

/// Is each of x [n] or [n, width] but the first unlike the one before? [n - 1]
Tensor changes_of(const Tensor& x) {
  const std::int64_t n = x.size(0);
  const Tensor differs = ne(x.narrow(0, 1, n - 1), x.narrow(0, 0, n - 1));
  return x.dim() == 1 ? differs : any(differs, {1});
}

/// The changes with an answer for the first: [n].
Tensor with_first(const Tensor& changes, bool first) {
  return cat({full({1}, first, {.dtype = DType::boolean, .device = changes.device()}), changes}, 0);
}

/// Where runs of equal rows begin. Waits for the device.
Tensor run_starts(const Tensor& changes) {
  const Tensor heads = with_first(changes, true);
  const Tensor positions = empty_on(heads.context(), {heads.numel()}, DType::i64);
  const Tensor count = empty_on(heads.context(), {1}, DType::i64);
  MaskPositionsProblem p{DType::f32, static_cast<const bool*>(heads.data()),
                         static_cast<std::int64_t*>(positions.data()),
                         static_cast<std::int64_t*>(count.data()), heads.numel()};
  execute(kMaskPositions, p, {&heads}, {&positions, &count});
  return positions.narrow(0, 0, count.to_vector<std::int64_t>()[0]);
}

/// `x` [n] or [n, width], in an order in which equal ones are neighbours; `order` [n]: where each stood
/// before, undefined: there.
UniqueResult runs_of(const Tensor& x, const Tensor& order, bool return_inverse, bool return_counts) {
  const Tensor changes = changes_of(x), starts = run_starts(changes);
  const std::int64_t runs = starts.numel();
  UniqueResult result{index_select(x, 0, starts, kUnchecked), {}, {}};
  if (return_inverse) {
    const Tensor run = cumsum(with_first(changes, false), 0);
    result.inverse = order.defined() ? scatter(run, 0, order, run, kUnchecked) : run;
  }
  if (return_counts) {
    const Tensor end = full({1}, static_cast<double>(x.size(0)), {.dtype = DType::i64, .device = x.device()});
    result.counts = sub(cat({starts.narrow(0, 1, runs - 1), end}, 0), starts);
  }
  return result;
}

Tensor row_order(const Tensor& x) {
  Tensor order = empty_on(x.context(), {x.size(0)}, DType::i64);
  RowOrderProblem p{x.dtype(), x.data(), static_cast<std::int64_t*>(order.data()), x.size(0), x.size(1)};
  execute(kRowOrder, p, {&x}, {&order});
  return order;
}

/// Nothing is distinct among nothing.
UniqueResult of_nothing(const Tensor& x, const Shape& values, const Shape& inverse, bool return_inverse,
                        bool return_counts) {
  const auto indices = [&](bool wanted, const Shape& shape) {
    return wanted ? empty_on(x.context(), shape, DType::i64) : Tensor();
  };
  return {empty_on(x.context(), values, x.dtype()), indices(return_inverse, inverse),
          indices(return_counts, {0})};
}

UniqueResult of_elements(const Tensor& x, bool sorts, bool return_inverse, bool return_counts) {
  const std::int64_t n = x.numel();
  if (n == 0) return of_nothing(x, {0}, x.shape(), return_inverse, return_counts);
  Tensor flat = x.reshape({n}).contiguous(), order;
  if (sorts) {
    const SortResult ordered = sort(flat);
    flat = ordered.values;
    order = ordered.indices;
  }
  UniqueResult result = runs_of(flat, order, return_inverse, return_counts);
  if (return_inverse) result.inverse = result.inverse.reshape(x.shape());
  return result;
}

UniqueResult of_slices(const Tensor& x, int any_dim, bool sorts, bool return_inverse, bool return_counts) {
  GPUNN_CHECK(x.dim() > 0, "expected a tensor with dimensions, got a scalar");
  const int dim = normalize_dim(any_dim, x.dim());
  const std::int64_t n = x.shape()[dim];
  for (int d = 0; d < x.dim(); ++d)
    GPUNN_CHECK(d == dim || x.shape()[d] > 0, "expected slices with elements along dimension ", dim,
                ", got shape ", x.shape());
  if (n == 0) return of_nothing(x, x.shape(), {0}, return_inverse, return_counts);
  const Tensor moved = movedim(x, {dim}, {0});
  Tensor slices = moved.reshape({n, x.numel() / n}).contiguous(), order;
  if (sorts) {
    order = row_order(slices);
    slices = index_select(slices, 0, order, kUnchecked);
  }
  UniqueResult result = runs_of(slices, order, return_inverse, return_counts);
  Shape shape = moved.shape();
  shape[0] = result.values.size(0);
  result.values = movedim(result.values.reshape(shape), {0}, {dim}).contiguous();
  return result;
}

UniqueResult distinct(const Tensor& x, bool sorts, bool return_inverse, bool return_counts,
                      std::optional<int> dim) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  NoGrad guard;
  return dim ? of_slices(x, *dim, sorts, return_inverse, return_counts)
             : of_elements(x, sorts, return_inverse, return_counts);
}

}  // namespace

UniqueResult unique(const Tensor& x, bool, bool return_inverse, bool return_counts, std::optional<int> dim) {
  OpScope scope("unique");
  return distinct(x, true, return_inverse, return_counts, dim);
}

UniqueResult unique_consecutive(const Tensor& x, bool return_inverse, bool return_counts,
                                std::optional<int> dim) {
  OpScope scope("unique_consecutive");
  return distinct(x, false, return_inverse, return_counts, dim);
}

}  // namespace gpunn
