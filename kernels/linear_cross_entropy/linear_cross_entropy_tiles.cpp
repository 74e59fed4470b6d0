// The walk over all tiles of logits: products into and out of a tile, and what happens to it in between.
#include <algorithm>
#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_tiles_impl.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kTileBytes = std::int64_t{64} << 20;
// Early: fewer rows of all classes than `least` cost more in reading weights than making logits twice does.
constexpr std::int64_t kLeastRowsCpu = 128, kLeastRowsGpu = 512;
// Early on a CPU, beside kTileBytes: 512 rows are as fast as all, and smaller tiles than 8 MiB gain nothing.
constexpr std::int64_t kRowsCpu = 512, kCacheBytes = std::int64_t{8} << 20;
// Late on a CPU: what lies between the products stays in a cache.
constexpr std::int64_t kLateRowsCpu = 1024, kLateBytesCpu = std::int64_t{4} << 20;
constexpr std::int64_t kHalfRoundings = 8;  // of a gradient in a half type, by as many tiles
constexpr std::int64_t kAligned = 16;       // elements to which the rows of a tile are aligned

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t aligned(std::int64_t n) { return ceil_div(n, kAligned) * kAligned; }

/// An operand: rows of a matrix whose elements are adjacent, or the transpose of one.
struct Factor {
  const Tensor& matrix;
  bool transposed = false;
};

/// c (+)= a b + bias. Nothing is allocated but what the product asks for.
void product(const Tensor& c, const Factor& a, const Factor& b, const Tensor& bias, bool accumulate) {
  MatmulProblem p{};
  p.dtype = c.dtype();
  p.a = a.matrix.data(), p.lda = a.matrix.strides()[0], p.trans_a = a.transposed;
  p.b = b.matrix.data(), p.ldb = b.matrix.strides()[0], p.trans_b = b.transposed;
  p.c = c.data(), p.ldc = c.strides()[0];
  p.M = c.size(0), p.N = c.size(1), p.K = a.matrix.size(a.transposed ? 0 : 1), p.batch = 1;
  p.has_bias = bias.defined();
  p.bias = p.has_bias ? bias.data() : nullptr;
  p.accumulate = accumulate;
  p.tf32 = p.dtype == DType::f32 && allow_tf32();
  execute(Tuned(kMatmul, p, c.context(), describe).list(), p, {&a.matrix, &b.matrix, &bias}, {&c});
}

struct Range {
  std::int64_t first, count;
};

const std::int64_t* labels_of(const LossInputs& in, const Range& rows) {
  return static_cast<const std::int64_t*>(in.target.data()) + rows.first;
}
/// The part of acc [N] or [N, width] that belongs to `rows`.
Tensor of_rows(const Tensor& t, const Range& rows) { return t.narrow(0, rows.first, rows.count); }

/// The buffer that holds one tile after the other, and what is done to the one it holds.
class Tile {
 public:
  Tile(const LossInputs& in, const LossTiling& tiling)
      : in_(in), buffer_(empty_on(in.x.context(), {tiling.rows * aligned(tiling.cols)}, in.x.dtype())) {}

  /// The logits of `rows` and `cols`.
  void make(const Range& rows, const Range& cols) {
    rows_ = rows, cols_ = cols;
    const std::int64_t ld = aligned(cols.count);
    tile_ = buffer_.narrow(0, 0, rows.count * ld).view({rows.count, ld}).narrow(1, 0, cols.count);
    product(tile_, {of_rows(in_.x, rows)}, {of_rows(in_.w, cols), true},
            in_.bias.defined() ? of_rows(in_.bias, cols) : Tensor(), false);
  }

  void statistics(const Tensor& stats) const {
    const Tensor part = of_rows(stats, rows_);
    LogitStatsProblem p{tile_.dtype(), tile_.data(),     labels_of(in_, rows_), part.data(),
                        shape(),       in_.ignore_index, in_.smoothing > 0};
    execute(kLogitStats, p, {&tile_, &in_.target}, {&part});
  }

  /// Logits to gradients. Undefined dloss: 1.
  void differentiate(const LossValue& value, const Tensor& dloss) const {
    const bool by_row = in_.reduction == Reduction::none;
    const Tensor stats = of_rows(value.stats, rows_);
    const Tensor arrived = dloss.defined() && by_row ? of_rows(dloss, rows_) : dloss;
    LogitGradProblem p{tile_.dtype(),
                       tile_.data(),
                       labels_of(in_, rows_),
                       stats.data(),
                       value.count.defined() ? value.count.data() : nullptr,
                       arrived.defined() ? arrived.data() : nullptr,
                       shape(),
                       in_.classes(),
                       in_.ignore_index,
                       in_.smoothing,
                       value.count.defined(),
                       arrived.defined(),
                       by_row};
    execute(kLogitGrad, p, {&stats, &in_.target, &value.count, &arrived}, {&tile_});
  }

  /// Adds the tile's part to the gradients; the first tile of a row or column of tiles begins them.
  void contribute(const LossGrads& grads, const Tensor& ones) const {
    if (grads.x.defined())
      product(of_rows(grads.x, rows_), {tile_}, {of_rows(in_.w, cols_)}, {}, cols_.first > 0);
    if (grads.w.defined())
      product(of_rows(grads.w, cols_), {tile_, true}, {of_rows(in_.x, rows_)}, {}, rows_.first > 0);
    if (grads.bias.defined())
      product(grads.bias.view({1, in_.classes()}).narrow(1, cols_.first, cols_.count),
              {ones.narrow(1, 0, rows_.count)}, {tile_}, {}, rows_.first > 0);
  }

 private:
  LogitTile shape() const { return {rows_.count, cols_.count, tile_.strides()[0], cols_.first}; }

  const LossInputs& in_;
  Tensor buffer_, tile_;
  Range rows_{}, cols_{};
};

/// f(tile) with the logits of each tile, all classes of some rows before the next rows.
template <class F>
void for_each_tile(const LossInputs& in, const LossTiling& tiling, F f) {
  Tile tile(in, tiling);
  for (std::int64_t n = 0; n < in.rows(); n += tiling.rows)
    for (std::int64_t c = 0; c < in.classes(); c += tiling.cols) {
      tile.make({n, std::min(tiling.rows, in.rows() - n)}, {c, std::min(tiling.cols, in.classes() - c)});
      f(tile);
    }
}

/// Room for the gradients; zeros where no tile will write.
LossGrads new_gradients(const LossInputs& in, const WantedGrads& wanted) {
  DeviceContext& context = in.x.context();
  LossGrads g;
  if (wanted.x) g.x = empty_on(context, in.x.shape(), in.x.dtype());
  if (wanted.w) g.w = empty_on(context, in.w.shape(), in.w.dtype());
  if (wanted.bias) g.bias = empty_on(context, in.bias.shape(), in.bias.dtype());
  if (in.rows() > 0) return g;
  if (wanted.w) g.w.zero_();
  if (wanted.bias) g.bias.zero_();
  return g;
}

/// [1, rows] of ones, which sum the columns of a tile; undefined when no bias wants that.
Tensor ones_for(const LossInputs& in, const LossTiling& tiling, const LossGrads& grads) {
  if (!grads.bias.defined()) return {};
  Tensor ones = empty_on(in.x.context(), {1, tiling.rows}, in.x.dtype());
  ones.fill_(1);
  return ones;
}

void reduce_loss(const LossInputs& in, const LossValue& value, bool count_only) {
  RowLossProblem p{value.stats.dtype(),
                   count_only ? nullptr : value.stats.data(),
                   labels_of(in, {}),
                   count_only ? nullptr : value.loss.data(),
                   value.count.defined() ? value.count.data() : nullptr,
                   in.rows(),
                   in.classes(),
                   in.ignore_index,
                   in.smoothing,
                   in.reduction,
                   count_only};
  if (count_only)
    execute(kRowLoss, p, {&in.target}, {&value.count});
  else
    execute(kRowLoss, p, {&value.stats, &in.target}, {&value.loss, &value.count});
}

}  // namespace

LossTiling loss_tiling(std::int64_t rows, std::int64_t classes, DType dtype, bool gpu, bool reduced) {
  const auto bytes = static_cast<std::int64_t>(size_of(dtype));
  const bool exact = dtype == DType::f32 || dtype == DType::f64;
  const std::int64_t fit = kTileBytes / bytes / aligned(classes);  // rows of all classes
  const std::int64_t least = std::min(rows, gpu ? kLeastRowsGpu : kLeastRowsCpu);
  const std::int64_t needed = std::max({std::int64_t{1}, least, exact ? 0 : ceil_div(rows, kHalfRoundings)});
  rows = std::max<std::int64_t>(rows, 1);
  // In f16 not: a loss scale arrives with dloss, and a gradient that vanished without it stays zero.
  if (reduced && dtype != DType::f16 && fit >= needed) {
    const std::int64_t wish =
        gpu ? fit : std::max({kRowsCpu, kCacheBytes / bytes / aligned(classes), needed});
    return {std::min({rows, fit, wish}), classes, true};
  }
  const auto cols_of = [&](std::int64_t tile_rows, std::int64_t room) {
    return std::min(classes, std::max(room / bytes / tile_rows / kAligned * kAligned, kAligned));
  };
  if (!gpu && exact) {
    const std::int64_t tile_rows = std::min(rows, kLateRowsCpu);
    return {tile_rows, cols_of(tile_rows, kLateBytesCpu), false};
  }
  // As many tiles along the rows as along the classes: each adds to the gradients of its side.
  const double tiles = static_cast<double>(rows) * static_cast<double>(classes) * static_cast<double>(bytes) /
                       static_cast<double>(kTileBytes);
  const auto side = static_cast<std::int64_t>(std::ceil(std::sqrt(std::max(tiles, 1.0))));
  const std::int64_t tile_rows = std::min(rows, aligned(ceil_div(rows, side)));
  return {tile_rows, cols_of(tile_rows, kTileBytes), false};
}

LossValue loss_forward(const LossInputs& in, const LossTiling& tiling, const WantedGrads& wanted) {
  DeviceContext& context = in.x.context();
  const DType acc = accumulator_of(in.x.dtype());
  LossValue value;
  value.loss = empty_on(context, in.reduction == Reduction::none ? Shape{in.rows()} : Shape{}, acc);
  value.stats = empty_on(context, {in.rows(), 4}, acc);
  if (in.reduction == Reduction::mean) value.count = empty_on(context, {}, acc);
  const bool early = tiling.early && wanted.any();
  Tensor ones;
  if (early) {
    value.grads = new_gradients(in, wanted);
    ones = ones_for(in, tiling, value.grads);
    if (value.count.defined()) reduce_loss(in, value, true);
  }
  for_each_tile(in, tiling, [&](const Tile& tile) {
    tile.statistics(value.stats);
    if (!early) return;
    tile.differentiate(value, {});
    tile.contribute(value.grads, ones);
  });
  if (value.loss.numel() > 0) reduce_loss(in, value, false);
  return value;
}

LossGrads loss_backward(const LossInputs& in, const LossTiling& tiling, const LossValue& value,
                        const Tensor& dloss, const WantedGrads& wanted) {
  const LossGrads grads = new_gradients(in, wanted);
  const Tensor ones = ones_for(in, tiling, grads);
  for_each_tile(in, tiling, [&](const Tile& tile) {
    tile.differentiate(value, dloss);
    tile.contribute(grads, ones);
  });
  return grads;
}

void scale_gradients(const LossGrads& grads, const Tensor& dloss) {
  for (const Tensor* g : {&grads.x, &grads.w, &grads.bias}) {
    if (!g->defined() || g->numel() == 0) continue;
    ScaleGradProblem p{g->dtype(), g->data(), dloss.data(), g->numel()};
    execute(kScaleGrad, p, {&dloss}, {g});
  }
}

}  // namespace gpunn::detail
