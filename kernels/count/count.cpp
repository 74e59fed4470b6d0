// Argument checks of the counts per value and per interval, and of the searches.
#include "gpunn/kernels/count/count.h"

#include <algorithm>
#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/kernels/count/count_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {

/// The dtype in which histograms and sums of weights come out.
DType sum_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

/// y[b] = sum of weights[i] over bin[i] = b; what is in no bin has bin -1. All contiguous and not empty.
Tensor weighted_bins(const Tensor& bin, const Tensor& weights, std::int64_t bins) {
  Tensor y = empty_on(weights.context(), {bins}, weights.dtype());
  AddRowsProblem p{};
  p.dtype = weights.dtype();
  p.index = static_cast<const std::int64_t*>(bin.data());
  p.src = weights.data();
  p.y = y.data();
  p.outer = p.inner = 1, p.extent = bins, p.n = bin.numel(), p.skip = -1;
  execute(kAddRows, p, {&bin, &weights}, {&y});
  return y;
}

/// Counts, or the bin of each element.
Tensor bin(const Tensor& x, const Tensor& edges, std::int64_t bins, bool uniform, bool find) {
  Tensor y = empty_on(x.context(), {find ? x.numel() : bins}, DType::i64);
  BinProblem p{};
  p.dtype = x.dtype();
  p.finds = find;
  p.with_edges = edges.defined();
  p.uniform = uniform;
  p.x = x.data();
  p.edges = p.with_edges ? edges.data() : nullptr;
  p.y = static_cast<std::int64_t*>(y.data());
  p.n = x.numel(), p.bins = bins;
  if (y.numel() > 0) execute(find ? kBinFind : kBinCount, p, {&x, &edges}, {&y});
  return y;
}

std::int64_t whole(const Tensor& scalar) { return scalar.to(DType::i64).to_vector<std::int64_t>()[0]; }

void check_histogram(const Tensor& x, std::int64_t bins) {
  check_floating(x, "tensor");
  GPUNN_CHECK(bins >= 1, "expected bins >= 1, got ", bins);
}

struct Range {
  double low, high;
};

Range range_of(const Tensor& x) { return {min(x).item(), max(x).item()}; }

/// An empty range is widened by `margin` to both sides.
Range checked_range(Range range, double margin) {
  GPUNN_CHECK(std::isfinite(range.low) && std::isfinite(range.high), "expected a finite range, got [",
              range.low, ", ", range.high, "]");
  GPUNN_CHECK(range.low <= range.high, "expected a range that rises, got [", range.low, ", ", range.high,
              "]");
  return range.low < range.high ? range : Range{range.low - margin, range.high + margin};
}

/// low + i (high - low) / bins, on x's device. The upper half is reckoned from the other end, so that the
/// last edge is `high` itself.
Tensor uniform_edges(const Tensor& x, std::int64_t bins, Range range) {
  Tensor edges = empty_on(Runtime::current().cpu(), {checked_add(bins, 1)}, sum_dtype(x.dtype()));
  const double step = range.high / static_cast<double>(bins) - range.low / static_cast<double>(bins);
  visit_floating(edges.dtype(), [&]<class T>(T) {
    if constexpr (sizeof(T) >= sizeof(float)) {
      T* e = static_cast<T*>(edges.data());
      for (std::int64_t i = 0; i <= bins; ++i)
        e[i] = static_cast<T>(2 * i <= bins ? range.low + static_cast<double>(i) * step
                                            : range.high - static_cast<double>(bins - i) * step);
    }
  });
  return edges.to(x.device());
}

/// `edges` in edge_dtype() of x; `uniform` says that uniform_edges() made them.
Tensor histogram_between(const Tensor& strided, const Tensor& edges, bool uniform, const Tensor& weights) {
  const Tensor x = strided.contiguous();
  const std::int64_t bins = edges.numel() - 1;
  if (!weights.defined()) return bin(x, edges, bins, uniform, false).to(edges.dtype());
  if (x.numel() == 0) return zeros({bins}, {.dtype = edges.dtype(), .device = x.device()});
  return weighted_bins(bin(x, edges, bins, uniform, true), weights.to(edges.dtype()).contiguous(), bins);
}

void check_weights(const Tensor& x, const Tensor& weights) {
  if (!weights.defined()) return;
  check_same(x, "tensor", weights, "weights");
  GPUNN_CHECK(weights.shape() == x.shape(), "expected weights of shape ", x.shape(), ", got ",
              weights.shape());
}

/// Divides by the sum and by the intervals' widths.
Tensor density_of(const Tensor& hist, const Tensor& edges) {
  const std::int64_t bins = hist.numel();
  const Tensor widths = sub(edges.narrow(0, 1, bins), edges.narrow(0, 0, bins));
  return div(div(hist, sum(hist)), widths);
}

}  // namespace

Tensor bincount(const Tensor& strided, const Tensor& weights, std::int64_t minlength) {
  OpScope scope("bincount");
  GPUNN_CHECK(strided.defined(), "expected a tensor, got an undefined one");
  const DType dtype = strided.dtype();
  GPUNN_CHECK(dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8,
              "expected a tensor of i32, i64 or u8, got ", dtype, "; convert it with .to()");
  GPUNN_CHECK(strided.dim() == 1, "expected a tensor of rank 1, got shape ", strided.shape());
  GPUNN_CHECK(minlength >= 0, "expected minlength >= 0, got ", minlength);
  if (weights.defined()) {
    check_floating(weights, "weights");
    GPUNN_CHECK(weights.shape() == strided.shape(), "expected weights of shape ", strided.shape(), ", got ",
                weights.shape());
    GPUNN_CHECK(&weights.context() == &strided.context(), "expected weights on ", strided.device(), ", got ",
                weights.device(), "; move them with .to()");
  }
  NoGrad guard;
  const Tensor x = strided.contiguous();
  std::int64_t bins = minlength;
  if (x.numel() > 0) {
    const Tensor wide = dtype == DType::u8 ? x.to(DType::i32) : x;
    const std::int64_t least = whole(min(wide));
    GPUNN_CHECK(least >= 0, "expected elements >= 0, got ", least);
    bins = std::max(bins, checked_add(whole(max(wide)), 1));
  }
  if (!weights.defined()) return bin(x, {}, bins, false, false);
  const DType result = sum_dtype(weights.dtype());
  if (x.numel() == 0) return zeros({bins}, {.dtype = result, .device = x.device()});
  return weighted_bins(x.to(DType::i64), weights.to(result).contiguous(), bins);
}

Tensor histc(const Tensor& x, std::int64_t bins, double min, double max) {
  OpScope scope("histc");
  check_histogram(x, bins);
  NoGrad guard;
  Range range{min, max};
  if (min == max && x.numel() > 0) range = range_of(x);
  const Tensor edges = uniform_edges(x, bins, checked_range(range, 1));
  return histogram_between(x, edges, true, {});
}

HistogramResult histogram(const Tensor& x, std::int64_t bins, const HistogramOptions& options) {
  OpScope scope("histogram");
  check_histogram(x, bins);
  check_weights(x, options.weights);
  NoGrad guard;
  Range range{0, 1};
  if (options.range)
    range = {options.range->first, options.range->second};
  else if (x.numel() > 0)
    range = range_of(x);
  const Tensor edges = uniform_edges(x, bins, checked_range(range, 0.5));
  const Tensor hist = histogram_between(x, edges, true, options.weights);
  return {options.density ? density_of(hist, edges) : hist, edges};
}

HistogramResult histogram(const Tensor& x, const Tensor& bin_edges, const HistogramOptions& options) {
  OpScope scope("histogram");
  check_floating(x, "tensor");
  GPUNN_CHECK(bin_edges.defined(), "expected bin_edges, got an undefined tensor");
  check_same(x, "tensor", bin_edges, "bin_edges");
  GPUNN_CHECK(bin_edges.dim() == 1 && bin_edges.numel() >= 2, "expected bin_edges of shape [bins + 1], got ",
              bin_edges.shape());
  GPUNN_CHECK(!options.range, "expected no range beside bin_edges");
  check_weights(x, options.weights);
  NoGrad guard;
  const Tensor edges = bin_edges.to(sum_dtype(x.dtype())).contiguous();
  const Tensor hist = histogram_between(x, edges, false, options.weights);
  return {options.density ? density_of(hist, edges) : hist, bin_edges};
}

namespace {

Tensor search(const Tensor& strided_sequence, const Tensor& strided_values, bool right) {
  const Tensor sequence = strided_sequence.contiguous(), values = strided_values.contiguous();
  Tensor y = empty_on(values.context(), values.shape(), DType::i64);
  if (y.numel() == 0) return y;
  SearchProblem p{};
  p.dtype = values.dtype();
  p.right = right;
  p.one_sequence = sequence.dim() == 1;
  p.sequence = sequence.data();
  p.values = values.data();
  p.y = static_cast<std::int64_t*>(y.data());
  p.length = sequence.size(-1);
  p.n = p.one_sequence ? values.numel() : values.size(-1);
  p.rows = values.numel() / p.n;
  execute(kSearch, p, {&sequence, &values}, {&y});
  return y;
}

void check_search(const Tensor& sequence, const Tensor& values, const char* name_sequence,
                  const char* name_values) {
  GPUNN_CHECK(sequence.defined() && values.defined(), "expected two tensors, got an undefined one");
  check_same(sequence, name_sequence, values, name_values);
  GPUNN_CHECK(sequence.dtype() != DType::boolean, "expected numbers, got bool");
}

}  // namespace

Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& values, bool right) {
  OpScope scope("searchsorted");
  check_search(sorted_sequence, values, "sorted_sequence", "values");
  bool fits =
      sorted_sequence.dim() == 1 || (sorted_sequence.dim() > 1 && sorted_sequence.dim() == values.dim());
  for (int d = 0; fits && sorted_sequence.dim() > 1 && d < values.dim() - 1; ++d)
    fits = sorted_sequence.size(d) == values.size(d);
  GPUNN_CHECK(fits, "expected a sorted_sequence [L], or [..., L] for values [..., N], got ",
              sorted_sequence.shape(), " and ", values.shape());
  return search(sorted_sequence, values, right);
}

Tensor bucketize(const Tensor& x, const Tensor& boundaries, bool right) {
  OpScope scope("bucketize");
  check_search(boundaries, x, "boundaries", "tensor");
  GPUNN_CHECK(boundaries.dim() == 1, "expected boundaries of rank 1, got shape ", boundaries.shape());
  return search(boundaries, x, right);
}

}  // namespace gpunn
