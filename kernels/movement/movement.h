#pragma once
// Joining, cutting, padding and rearranging tensors, with PyTorch's names, argument order and defaults.
//
//   cat, stack            inputs one behind the other along a dimension, old or new
//   split, chunk, unbind  the opposite; views
//   slice, movedim        every `step`-th element; dimensions in another order; views
//   pad                   a border around: a constant, a mirror image, the edge, or the other side
//   flip, roll            order reversed; moved along, what leaves comes in at the other end
//   repeat, tile, repeat_interleave   copies side by side; copies of each element
//
// (reshape, view, flatten, permute, transpose, squeeze, unsqueeze, narrow, select and contiguous are members
// of Tensor; a copy between layouts runs in tiles there.)
//
// dtypes: all of them; elements are moved, never computed with. Inputs may be strided; what is no view is new
// and contiguous. Negative dimensions count from the end.
//
// Backward keeps shapes only. The gradient of cat is views of dy; of split and unbind one cat; of pad, flip
// and roll the sum over the places an element went to, in row-major order of those; of repeat, tile and
// repeat_interleave a sum over the copies. Second derivatives: all of them; every rule is linear and made of
// ops of this page. Determinism: bitwise.
// Errors: InvalidArgument for undefined tensors, dimensions out of range or given twice, shapes, dtypes or
// devices that differ in cat and stack, sizes that do not add up, borders too wide for their mode, and
// results too large to address.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Inputs of one dtype, device and shape, `dim` apart, joined along `dim`. At least one input. Unlike in
/// PyTorch an empty input of rank 1 is no wildcard.
GPUNN_API Tensor cat(std::span<const Tensor> tensors, int dim = 0);
inline Tensor cat(std::initializer_list<Tensor> tensors, int dim = 0) {
  return cat(std::span(tensors.begin(), tensors.size()), dim);
}
/// Inputs of one shape along a new dimension `dim`.
GPUNN_API Tensor stack(std::span<const Tensor> tensors, int dim = 0);
inline Tensor stack(std::initializer_list<Tensor> tensors, int dim = 0) {
  return stack(std::span(tensors.begin(), tensors.size()), dim);
}

/// Views of `size` elements along `dim`, the last one shorter if it must be. `size` > 0 (0 for an empty
/// dimension).
GPUNN_API std::vector<Tensor> split(const Tensor& x, std::int64_t size, int dim = 0);
/// Views of the given sizes, which add up to the extent.
GPUNN_API std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& sizes, int dim = 0);
/// At most `chunks` views of equal size, the last one shorter if it must be.
GPUNN_API std::vector<Tensor> chunk(const Tensor& x, std::int64_t chunks, int dim = 0);
/// A view per index of `dim`, without that dimension.
GPUNN_API std::vector<Tensor> unbind(const Tensor& x, int dim = 0);

/// x[start:end:step] along `dim`, a view. Negative bounds count from the end, bounds outside are clamped.
/// step >= 1.
GPUNN_API Tensor slice(const Tensor& x, int dim, std::int64_t start, std::int64_t end, std::int64_t step = 1);
/// Dimensions `source` at positions `destination`, the others in their order around them; a view.
GPUNN_API Tensor movedim(const Tensor& x, const Dims& source, const Dims& destination);

enum class PadMode : std::uint8_t { constant, reflect, replicate, circular };

/// A border: `widths` lists before and after of the last dimension, then of the one before it, ... A negative
/// width cuts off (constant mode only). reflect needs widths < extent, circular widths <= extent; replicate
/// needs a non-empty dimension. Modes other than constant take any number of dimensions here.
GPUNN_API Tensor pad(const Tensor& x, std::span<const std::int64_t> widths, PadMode mode = PadMode::constant,
                     double value = 0);
inline Tensor pad(const Tensor& x, std::initializer_list<std::int64_t> widths,
                  PadMode mode = PadMode::constant, double value = 0) {
  return pad(x, std::span(widths.begin(), widths.size()), mode, value);
}

/// Order reversed along `dims`. A copy.
GPUNN_API Tensor flip(const Tensor& x, const Dims& dims);
/// Element i goes to i + shift, around the end. Without `dims` one shift, over the flattened tensor.
GPUNN_API Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims = {});
/// `repeats` per dimension, at least as many as x has; more add dimensions in front.
GPUNN_API Tensor repeat(const Tensor& x, const Dims& repeats);
/// Like repeat; fewer `repeats` than dimensions belong to the last ones.
GPUNN_API Tensor tile(const Tensor& x, const Dims& repeats);
/// Each element along `dim` `repeats` times in a row.
GPUNN_API Tensor repeat_interleave(const Tensor& x, std::int64_t repeats, int dim);
/// The same over the flattened tensor.
GPUNN_API Tensor repeat_interleave(const Tensor& x, std::int64_t repeats);

}  // namespace gpunn
