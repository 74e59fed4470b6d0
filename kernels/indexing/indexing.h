#pragma once
// Reading and writing by index or by mask, with PyTorch's names and argument
// order.
//
//   gather         y[i][j] = x[index[i][j]][j]            (along dim 0;
//   likewise along any other) scatter        y = x, then y[index[i][j]][j] =
//   src[i][j]; of repeated indices the last one wins scatter_add    y = x, then
//   y[index[i][j]][j] += src[i][j] take_along_dim gather whose index broadcasts
//   index_select   whole slices:  y[j] = x[index[j]]
//   index_add      y = x, then y[index[j]] += src[j]
//   embedding      rows of a table:  y[...] = weight[index[...]]
//   masked_fill    y = mask ? value : x
//   masked_select  the elements under a true mask, in order, one-dimensional
//   one_hot        y[..., c] = (index[...] == c)
//
// Shapes: gather, scatter and scatter_add take an index of x's rank, at most as
// large as x except along dim, and a src at least as large as the index;
// index_select and index_add a one-dimensional index; masks broadcast with x
// (masked_fill: to x). dtypes: any for what only moves; sums take f32, f16,
// bf16 (added in f32) and f64 on the CPU; indices are i64, masks bool. Inputs
// may be strided; results are contiguous.
//
// Backward keeps the index or mask: gather and index_select send dy back by
// scatter_add and index_add, and those are undone by gather and index_select;
// scatter's src gets a gradient where its element won, x where nothing was
// written; a masked element gets none. embedding's row `padding_idx` gets no
// gradient. Second derivatives: all of them; every rule is linear and has its
// counterpart here.
//
// Determinism: bitwise. Repeated indices are added in an order that depends on
// how often they occur only: indices are sorted (stably) or one thread walks
// them; there are no floating-point atomics.
//
// Indices must lie in [0, extent); negative ones are not counted from the end.
// On the CPU that is always checked; on a GPU a small kernel looks for the
// first bad one and the call waits for its answer. A caller who knows the
// indices to be good turns the waiting off with `check_indices = false`; an
// unchecked bad index then reads NaN (0 for integers) and writes nothing.
// Errors: InvalidArgument for undefined tensors, ranks, shapes, dtypes and
// devices that do not fit, dimensions out of range, and for a bad index (naming
// its position and value).

#include <cstdint>
#include <optional>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

struct IndexOptions {
  bool check_indices = true;  // on a GPU; see above
};

GPUNN_API Tensor gather(const Tensor& x, int dim, const Tensor& index, const IndexOptions& options = {});
GPUNN_API Tensor scatter(const Tensor& x, int dim, const Tensor& index, const Tensor& src,
                         const IndexOptions& options = {});
GPUNN_API Tensor scatter_add(const Tensor& x, int dim, const Tensor& index, const Tensor& src,
                             const IndexOptions& options = {});
/// gather along `dim`, x and index broadcasting in the other dimensions.
GPUNN_API Tensor take_along_dim(const Tensor& x, const Tensor& index, int dim,
                                const IndexOptions& options = {});

GPUNN_API Tensor index_select(const Tensor& x, int dim, const Tensor& index,
                              const IndexOptions& options = {});
/// src has x's shape with index's extent along `dim`.
GPUNN_API Tensor index_add(const Tensor& x, int dim, const Tensor& index, const Tensor& src,
                           const IndexOptions& options = {});

struct EmbeddingOptions {
  std::optional<std::int64_t> padding_idx{};  // this row gets no gradient; negative: from the end
  bool check_indices = true;                  // on a GPU; see above
};
/// Rows of `weight` [V, D] by `index` [*]: [*, D].
GPUNN_API Tensor embedding(const Tensor& weight, const Tensor& index, const EmbeddingOptions& options = {});

GPUNN_API Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);
/// Waits for the device: the size of the result is the number of true elements.
GPUNN_API Tensor masked_select(const Tensor& x, const Tensor& mask);
/// Classes 0 .. num_classes - 1 of `index` [*] as [*, num_classes]. -1: one
/// more than the largest index, for which the call waits. PyTorch's result is
/// i64; any other dtype may be asked for.
GPUNN_API Tensor one_hot(const Tensor& index, std::int64_t num_classes = -1, DType dtype = DType::i64,
                         const IndexOptions& options = {});

}  // namespace gpunn
