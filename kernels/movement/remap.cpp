// pad, flip, roll, repeat, tile and repeat_interleave: one rule per dimension, one kernel for all.
#include <algorithm>
#include <array>

#include "gpunn/core/op.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/movement/movement_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

/// What happens to each dimension, as asked for and as the kernels get it: with unchanged neighbours merged.
class Remap {
 public:
  void add(const RemapAxis& axis) {
    x_shape_.push_back(axis.x);
    y_shape_.push_back(axis.y);
    const bool same = axis.rule == RemapRule::shift && axis.shift == 0 && axis.x == axis.y;
    if (same && axis.x == 1) return;
    if (same && last_same_) {
      axes_[static_cast<std::size_t>(rank_ - 1)].x *= axis.x;
      axes_[static_cast<std::size_t>(rank_ - 1)].y *= axis.y;
      return;
    }
    last_same_ = same;
    axes_[static_cast<std::size_t>(rank_++)] = axis;
  }
  void keep(std::int64_t extent) { add({RemapRule::shift, extent, extent, 0}); }

  const Shape& x_shape() const { return x_shape_; }
  const Shape& y_shape() const { return y_shape_; }
  /// For problems: rank >= 1.
  template <class P>
  void fill(P& p) const {
    p.rank = std::max(rank_, 1);
    p.axes[0] = {RemapRule::shift, 1, 1, 0};
    std::copy_n(axes_.begin(), rank_, p.axes);
  }

 private:
  Shape x_shape_, y_shape_;
  std::array<RemapAxis, kMaxRank> axes_{};
  int rank_ = 0;
  bool last_same_ = false;
};

/// A contiguous input for a kernel; the gradient's rule belongs to the op itself.
Tensor dense(const Tensor& x) {
  NoGrad guard;
  return x.contiguous();
}

Tensor run_forward(const Tensor& strided, const Remap& remap, double value) {
  Tensor y = empty_on(strided.context(), remap.y_shape(), strided.dtype());
  if (y.numel() == 0) return y;
  if (strided.numel() == 0) {
    NoGrad guard;
    y.fill_(value);
    return y;
  }
  const Tensor x = dense(strided);
  RemapProblem p;
  p.dtype = x.dtype();
  p.x = x.data();
  p.y = y.data();
  p.value = value;
  remap.fill(p);
  execute(kRemap, p, {&x}, {&y});
  return y;
}

Tensor remap_backward(const Tensor& dy, const Remap& remap);

Tensor remap_forward(const Tensor& x, const char* name, const Remap& remap, double value) {
  Tensor y = run_forward(x, remap, value);
  if (autograd::wanted(x))
    autograd::record(y, name, {&x},
                     [remap](const Backward& b) -> Gradients { return {remap_backward(b.grad(), remap)}; });
  return y;
}

/// The adjoint; it is linear, and its own gradient is the forward with zeros around.
Tensor remap_backward(const Tensor& strided, const Remap& remap) {
  Tensor dx = empty_on(strided.context(), remap.x_shape(), strided.dtype());
  if (strided.numel() == 0 && dx.numel() > 0) {
    NoGrad guard;
    dx.zero_();
  } else if (dx.numel() > 0) {
    const Tensor dy = dense(strided);
    RemapBackwardProblem p;
    p.dtype = dy.dtype();
    p.dy = dy.data();
    p.dx = dx.data();
    remap.fill(p);
    execute(kRemapBackward, p, {&dy}, {&dx});
  }
  if (autograd::wanted(strided))
    autograd::record(dx, "remap_backward", {&strided}, [remap](const Backward& b) -> Gradients {
      return {remap_forward(b.grad(), "remap", remap, 0)};
    });
  return dx;
}

void check_defined(const Tensor& x) { GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one"); }

RemapAxis padded_axis(PadMode mode, std::int64_t extent, std::int64_t before, std::int64_t behind) {
  constexpr std::int64_t kMost = std::int64_t{1} << 60;  // sums of three stay far from overflow
  const std::int64_t least = mode == PadMode::constant ? -extent : 0;
  const std::int64_t most = mode == PadMode::reflect    ? extent - 1
                            : mode == PadMode::circular ? extent
                                                        : kMost;
  GPUNN_CHECK(before >= least && behind >= least && before <= std::max(most, std::int64_t{0}) &&
                  behind <= std::max(most, std::int64_t{0}),
              "expected widths in [", least, ", ", std::max(most, std::int64_t{0}),
              "] for this mode and an extent of ", extent, ", got ", before, " and ", behind);
  GPUNN_CHECK(mode == PadMode::constant || extent > 0 || (before == 0 && behind == 0),
              "expected a non-empty dimension to copy from, got extent 0");
  GPUNN_CHECK(extent + before + behind >= 0, "expected widths that cut off at most ", extent, ", got ",
              before, " and ", behind);
  constexpr RemapRule kRules[] = {RemapRule::shift, RemapRule::reflect, RemapRule::replicate,
                                  RemapRule::wrap};
  const bool same = before == 0 && behind == 0;
  return {same ? RemapRule::shift : kRules[static_cast<int>(mode)], extent, extent + before + behind, before};
}

}  // namespace

Tensor pad(const Tensor& x, std::span<const std::int64_t> widths, PadMode mode, double value) {
  OpScope scope("pad");
  check_defined(x);
  GPUNN_CHECK(widths.size() % 2 == 0 && widths.size() <= 2 * static_cast<std::size_t>(x.dim()),
              "expected two widths for each of at most ", x.dim(), " dimensions, got ",
              static_cast<std::int64_t>(widths.size()), " widths");
  Remap remap;
  for (int d = 0; d < x.dim(); ++d) {
    const auto at = 2 * static_cast<std::size_t>(x.dim() - 1 - d);
    if (at < widths.size())
      remap.add(padded_axis(mode, x.shape()[d], widths[at], widths[at + 1]));
    else
      remap.keep(x.shape()[d]);
  }
  return remap_forward(x, "pad", remap, value);
}

Tensor flip(const Tensor& x, const Dims& dims) {
  OpScope scope("flip");
  check_defined(x);
  std::array<bool, kMaxRank> flipped{};
  for (const std::int64_t which : dims) {
    bool& on = flipped[static_cast<std::size_t>(normalize_dim(static_cast<int>(which), x.dim()))];
    GPUNN_CHECK(!on, "expected each dimension once, got ", dims);
    on = true;
  }
  Remap remap;
  for (int d = 0; d < x.dim(); ++d) {
    const std::int64_t extent = x.shape()[d];
    if (flipped[static_cast<std::size_t>(d)] && extent > 1)
      remap.add({RemapRule::reverse, extent, extent, 0});
    else
      remap.keep(extent);
  }
  return remap_forward(x, "flip", remap, 0);
}

Tensor roll(const Tensor& x, const Dims& shifts, const Dims& dims) {
  OpScope scope("roll");
  check_defined(x);
  if (dims.empty()) {
    GPUNN_CHECK(shifts.rank() == 1, "expected one shift when no dimension is named, got ", shifts);
    return roll(x.reshape({x.numel()}), shifts, {0}).reshape(x.shape());
  }
  GPUNN_CHECK(shifts.rank() == dims.rank(), "expected a shift per dimension, got ", shifts, " and ", dims);
  std::array<std::int64_t, kMaxRank> total{};
  for (int i = 0; i < dims.rank(); ++i) {
    const int d = normalize_dim(static_cast<int>(dims[i]), x.dim());
    const std::int64_t extent = std::max<std::int64_t>(x.shape()[d], 1);
    std::int64_t& sum = total[static_cast<std::size_t>(d)];
    sum = (sum + shifts[i] % extent + extent) % extent;
  }
  Remap remap;
  for (int d = 0; d < x.dim(); ++d) {
    const std::int64_t extent = x.shape()[d], shift = total[static_cast<std::size_t>(d)];
    if (shift != 0)
      remap.add({RemapRule::wrap, extent, extent, shift});
    else
      remap.keep(extent);
  }
  return remap_forward(x, "roll", remap, 0);
}

Tensor repeat(const Tensor& x, const Dims& repeats) {
  OpScope scope("repeat");
  check_defined(x);
  const int added = repeats.rank() - x.dim();
  GPUNN_CHECK(added >= 0, "expected at least ", x.dim(), " numbers of repeats, got ", repeats);
  Remap remap;
  for (int d = 0; d < repeats.rank(); ++d) {
    const std::int64_t extent = d < added ? 1 : x.shape()[d - added];
    GPUNN_CHECK(repeats[d] >= 0, "expected repeats >= 0, got ", repeats);
    if (repeats[d] == 1)
      remap.keep(extent);
    else
      remap.add({RemapRule::wrap, extent, checked_mul(extent, repeats[d]), 0});
  }
  Tensor y = run_forward(x, remap, 0);
  // The sum over copies is a reduction of its own, whose order and speed do not suffer from many repeats.
  if (autograd::wanted(x))
    autograd::record(y, "repeat", {&x},
                     [repeats, from = remap.x_shape(), shape = x.shape()](const Backward& b) -> Gradients {
                       Tensor g = b.grad();
                       std::int64_t before = 1;
                       for (int d = 0; d < repeats.rank(); before *= from[d++]) {
                         if (repeats[d] == 1) continue;
                         std::int64_t behind = from[d];
                         for (int i = d + 1; i < repeats.rank(); ++i) behind *= from[i] * repeats[i];
                         g = sum(g.reshape({before, repeats[d], behind}), {1});
                       }
                       return {g.reshape(shape)};
                     });
  return y;
}

Tensor tile(const Tensor& x, const Dims& repeats) {
  OpScope scope("tile");
  check_defined(x);
  if (repeats.rank() >= x.dim()) return repeat(x, repeats);
  Dims all = Dims::filled(x.dim() - repeats.rank(), 1);
  for (const std::int64_t r : repeats) all.push_back(r);
  return repeat(x, all);
}

Tensor repeat_interleave(const Tensor& x, std::int64_t repeats, int which) {
  OpScope scope("repeat_interleave");
  check_defined(x);
  GPUNN_CHECK(repeats >= 0, "expected repeats >= 0, got ", repeats);
  const int dim = normalize_dim(which, x.dim());
  Remap remap;
  std::int64_t before = 1, behind = 1;
  for (int d = 0; d < x.dim(); ++d) {
    const std::int64_t extent = x.shape()[d];
    if (d == dim)
      remap.add({RemapRule::interleave, extent, checked_mul(extent, repeats), repeats});
    else
      remap.keep(extent);
    (d <= dim ? before : behind) *= extent;
  }
  Tensor y = run_forward(x, remap, 0);
  if (autograd::wanted(x))
    autograd::record(y, "repeat_interleave", {&x},
                     [before, repeats, behind, shape = x.shape()](const Backward& b) -> Gradients {
                       return {sum(b.grad().reshape({before, repeats, behind}), {1}).reshape(shape)};
                     });
  return y;
}

Tensor repeat_interleave(const Tensor& x, std::int64_t repeats) {
  OpScope scope("repeat_interleave");
  check_defined(x);
  return repeat_interleave(x.reshape({x.numel()}), repeats, 0);
}

}  // namespace gpunn
