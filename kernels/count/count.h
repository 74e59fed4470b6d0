#pragma once
// Counting: distinct elements, elements per value, elements per interval, and the search in a sorted row that
// says which interval is whose.
//
//   unique              the distinct elements in rising order        unique_consecutive  one of each run
//   bincount            y[b] = how many x are b (or the sum of their weights)
//   histc, histogram    the same of the intervals between edges; the last interval holds both its ends
//   searchsorted        how many elements of a sorted row are less (right: not greater) than each value
//   bucketize           searchsorted with the arguments in the other order
//
// dtypes: unique takes f32, f16, bf16, i32, i64, u8, bool; bincount i32, i64, u8; histc and histogram f32,
// f16, bf16; searchsorted all of these but bool; f64 on the CPU everywhere but in bincount. Any strides (x is
// made contiguous first). Indices, bins and counts are i64. A histogram is f32 (f64 of f64), counted in
// integers and rounded once; halves could not hold its counts. Weights are floating: f32 and f64 sums have
// their dtype, sums of halves are f32.
//
// Special values: every NaN is distinct from every other, and comes last; -0 equals +0, and of equal elements
// the first in x is shown. Histograms skip NaN (PyTorch 1.13 counts it in the first bin) and what lies
// outside. searchsorted puts a NaN behind everything. The edges of a uniform histogram are low + i (high -
// low) / bins, computed in double and rounded to f32: an element is compared with edges, never divided into a
// bin, so that all devices agree. Empty tensors give empty or zero results, except where a slice would have
// no elements.
//
// None of them is differentiable, bincount's and histogram's weights included (PyTorch has no gradient of
// them either). The calls whose result's size depends on values (unique, bincount) or whose range does
// (histc, histogram without a range) wait for the device.
//
// Determinism: bitwise. Counts are added by integer atomics, whose order does not matter; weights are sorted
// by bin, stably, and each bin's are added in an order that depends on their number only.
//
// Errors: InvalidArgument for undefined tensors, dtypes other than these (convert with .to()), ranks, shapes
// and devices that do not fit, dimensions out of range, slices without elements, bins < 1, minlength < 0,
// negative elements of bincount, ranges that are not finite or run backwards. OutOfMemory when bincount's
// largest element asks for more bins than memory holds.

#include <cstdint>
#include <optional>
#include <utility>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// `values` in the dtype of x. `inverse` i64: which of them each element (or slice) is; `counts` i64: how
/// often each occurs. Undefined unless asked for.
struct UniqueResult {
  Tensor values;
  Tensor inverse;
  Tensor counts;
};

/// Without `dim` the elements of x: values [U], inverse like x. With `dim` the slices of x along it, which
/// are compared element by element: values like x with U slices, inverse [extent of dim]. The result is
/// always sorted; `sorted` is here for PyTorch's signature.
GPUNN_API UniqueResult unique(const Tensor& x, bool sorted = true, bool return_inverse = false,
                              bool return_counts = false, std::optional<int> dim = {});
/// Nothing is sorted: of neighbours that are equal, the first is kept.
GPUNN_API UniqueResult unique_consecutive(const Tensor& x, bool return_inverse = false,
                                          bool return_counts = false, std::optional<int> dim = {});

/// x [n] of whole numbers >= 0; `weights` [n] or undefined. The result has max(minlength, 1 + largest x)
/// elements: counts in i64, or sums of weights.
GPUNN_API Tensor bincount(const Tensor& x, const Tensor& weights = {}, std::int64_t minlength = 0);

/// [bins] counts of the elements of x in equal intervals of [min, max]. min = max: the range of the data.
GPUNN_API Tensor histc(const Tensor& x, std::int64_t bins = 100, double min = 0, double max = 0);

struct HistogramOptions {
  std::optional<std::pair<double, double>> range{};  // of the equal intervals; absent: that of the data
  Tensor weights{};                                  // like x: added up instead of counting
  bool density = false;                              // the histogram's integral is 1
};
/// `hist` [bins] and `bin_edges` [bins + 1], both f32 (f64 of f64); given edges are returned as they are.
struct HistogramResult {
  Tensor hist;
  Tensor bin_edges;
};
/// `bins` equal intervals.
GPUNN_API HistogramResult histogram(const Tensor& x, std::int64_t bins, const HistogramOptions& options = {});
/// The intervals between rising `bin_edges` [bins + 1], of x's dtype; without a range.
GPUNN_API HistogramResult histogram(const Tensor& x, const Tensor& bin_edges,
                                    const HistogramOptions& options = {});

/// Positions in [0, L] that keep `sorted_sequence` sorted: before (right: behind) elements equal to the
/// value. sorted_sequence [L] for values of any shape, or [..., L] for values [..., N]. Whether the rows rise
/// is not checked.
GPUNN_API Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& values, bool right = false);
/// boundaries [L].
GPUNN_API Tensor bucketize(const Tensor& x, const Tensor& boundaries, bool right = false);

}  // namespace gpunn
