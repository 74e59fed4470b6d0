#include <algorithm>
#include <cmath>
#include <vector>

#include "gpunn/core/philox.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/norm/add_norm_impl.h"

namespace gpunn {
namespace {

/// Element i (of N * pixels) of channel c.
std::int64_t offset_in(const ChannelSizes& s, std::int64_t c, std::int64_t i) {
  const std::int64_t n = i / s.pixels, pixel = i % s.pixels;
  return s.channels_last ? i * s.C + c : (n * s.C + c) * s.pixels + pixel;
}

struct Moments {
  double mean, var;  // var biased
};

/// Of at(0), ..., at(count - 1), in two passes.
template <class F>
Moments moments_of(std::int64_t count, F at) {
  const auto n = static_cast<double>(count);
  double mean = 0, squares = 0;
  for (std::int64_t i = 0; i < count; ++i) mean += at(i) / n;
  for (std::int64_t i = 0; i < count; ++i) squares += (at(i) - mean) * (at(i) - mean);
  return {mean, squares / n};
}

/// A weight, or what stands for one that is not there.
double weight_or(const void* weight, bool there, DType dtype, std::int64_t i, double otherwise) {
  return there ? load_ref(weight, dtype, i) : otherwise;
}

/// Channel of column c of row r.
std::int64_t channel_of(const NormRows& s, std::int64_t r, std::int64_t c) {
  return r % s.groups * (s.cols / s.pixels) + c / s.pixels;
}

/// Both norms' gradients; dx of element i goes to write(i, dx), after dw and db, and after dy was read.
template <class F>
void row_gradients(const RowNormBackwardProblem& p, F write) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const NormRows& s = p.sizes;
  const RefIn x(p.x, p.dtype), dy(p.dy, p.dtype), mean(p.mean, acc), rstd(p.rstd, acc);
  const auto normal = [&](std::int64_t r, std::int64_t c) {
    return (x[r * s.cols + c] - (p.rms ? 0 : mean[r])) * rstd[r];
  };
  std::vector<double> dw(static_cast<std::size_t>(s.channels()), 0.0), db = dw;
  for (std::int64_t r = 0; r < s.rows; ++r)
    for (std::int64_t c = 0; c < s.cols; ++c) {
      const auto k = static_cast<std::size_t>(channel_of(s, r, c));
      dw[k] += dy[r * s.cols + c] * normal(r, c);
      db[k] += dy[r * s.cols + c];
    }
  for (std::int64_t k = 0; k < s.channels(); ++k) {
    if (p.want_dw) RefOut(p.dw, wide).set(k, dw[static_cast<std::size_t>(k)]);
    if (p.want_db) RefOut(p.db, wide).set(k, db[static_cast<std::size_t>(k)]);
  }
  for (std::int64_t r = 0; r < s.rows; ++r) {
    const auto gradient = [&](std::int64_t c) {
      return dy[r * s.cols + c] * weight_or(p.weight, p.has_weight, wide, channel_of(s, r, c), 1);
    };
    double sum = 0, product = 0;
    for (std::int64_t c = 0; c < s.cols; ++c) {
      sum += gradient(c) / static_cast<double>(s.cols);
      product += gradient(c) * normal(r, c) / static_cast<double>(s.cols);
    }
    for (std::int64_t c = 0; c < s.cols; ++c)
      write(r * s.cols + c, rstd[r] * (gradient(c) - (p.rms ? 0 : sum) - normal(r, c) * product));
  }
}

/// v times the mask's factor of element i; all but f64 are multiplied as floats.
double dropped(const DropoutMask& mask, DType dtype, std::int64_t i, double v) {
  const bool stays =
      philox_at(mask.seed, mask.offset + static_cast<std::uint64_t>(i) / 4).v[i % 4] <= mask.greatest_kept;
  if (dtype == DType::f64) return v * (stays ? mask.scale : 0.0);
  return static_cast<double>(static_cast<float>(v) * (stays ? static_cast<float>(mask.scale) : 0.0f));
}

}  // namespace

void batch_norm_fwd_ref(const BatchNormProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const ChannelSizes& s = p.sizes;
  const RefIn x(p.x, p.dtype), residual(p.residual, p.dtype);
  const RefOut y(p.y, p.dtype), running_mean(p.running_mean, wide), running_var(p.running_var, wide);
  const std::int64_t count = s.per_channel();
  for (std::int64_t c = 0; c < s.C; ++c) {
    Moments m{};
    if (p.training)
      m = moments_of(count, [&](std::int64_t i) { return x[offset_in(s, c, i)]; });
    else
      m = {running_mean[c], running_var[c]};
    const double rstd = 1 / std::sqrt(m.var + p.eps);
    const double w = weight_or(p.weight, p.has_weight, wide, c, 1),
                 b = weight_or(p.bias, p.has_bias, wide, c, 0);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = offset_in(s, c, i);
      double v = (x[at] - m.mean) * rstd * w + b;
      if (p.has_residual) v += residual[at];
      y.set(at, p.relu && v < 0 ? 0 : v);  // NaN stays
    }
    if (p.training && p.has_running) {
      const auto n = static_cast<double>(count);
      running_mean.set(c, (1 - p.momentum) * running_mean[c] + p.momentum * m.mean);
      running_var.set(c, (1 - p.momentum) * running_var[c] + p.momentum * m.var * n / (n - 1));
    }
    if (!p.save) continue;
    RefOut(p.mean, acc).set(c, m.mean);
    RefOut(p.rstd, acc).set(c, rstd);
  }
}

void batch_norm_bwd_ref(const BatchNormBackwardProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const ChannelSizes& s = p.sizes;
  const RefIn x(p.x, p.dtype), y(p.y, p.dtype), dy(p.dy, p.dtype), mean(p.mean, acc), rstd(p.rstd, acc);
  const RefOut dx(p.dx, p.dtype), dz(p.dz, p.dtype);
  const auto count = static_cast<double>(s.per_channel());
  for (std::int64_t c = 0; c < s.C; ++c) {
    const auto gradient = [&](std::int64_t at) { return p.relu && y[at] <= 0 ? 0 : dy[at]; };
    const auto normal = [&](std::int64_t at) { return (x[at] - mean[c]) * rstd[c]; };
    double sum = 0, product = 0;
    for (std::int64_t i = 0; i < s.per_channel(); ++i) {
      const std::int64_t at = offset_in(s, c, i);
      sum += gradient(at);
      product += gradient(at) * normal(at);
    }
    if (p.want_dw) {
      RefOut(p.dw, wide).set(c, product);
      RefOut(p.db, wide).set(c, sum);
    }
    if (!p.training) sum = product = 0;
    const double w = weight_or(p.weight, p.has_weight, wide, c, 1);
    for (std::int64_t i = 0; i < s.per_channel(); ++i) {
      const std::int64_t at = offset_in(s, c, i);
      const double g = gradient(at);
      if (p.want_dz) dz.set(at, g);
      dx.set(at, w * rstd[c] * (g - sum / count - normal(at) * product / count));
    }
  }
}

void row_norm_fwd_ref(const RowNormProblem& p, const Exec&) {
  const DType acc = accumulator_of(p.dtype), wide = weight_dtype(p);
  const NormRows& s = p.sizes;
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  for (std::int64_t r = 0; r < s.rows; ++r) {
    const std::int64_t begin = r * s.cols;
    Moments m{};
    if (p.rms) {
      for (std::int64_t c = 0; c < s.cols; ++c)
        m.var += x[begin + c] * x[begin + c] / static_cast<double>(s.cols);
    } else {
      m = moments_of(s.cols, [&](std::int64_t c) { return x[begin + c]; });
    }
    const double rstd = 1 / std::sqrt(m.var + p.eps);
    for (std::int64_t c = 0; c < s.cols; ++c) {
      const std::int64_t k = channel_of(s, r, c);
      const double w = weight_or(p.weight, p.has_weight, wide, k, 1);
      y.set(begin + c, (x[begin + c] - m.mean) * rstd * w + weight_or(p.bias, p.has_bias, wide, k, 0));
    }
    if (!p.save) continue;
    if (!p.rms) RefOut(p.mean, acc).set(r, m.mean);
    RefOut(p.rstd, acc).set(r, rstd);
  }
}

void row_norm_bwd_ref(const RowNormBackwardProblem& p, const Exec&) {
  const RefOut dx(p.dx, p.dtype);
  row_gradients(p, [&](std::int64_t i, double v) { dx.set(i, v); });
}

void add_norm_fwd_ref(const AddNormProblem& p, const Exec& exec) {
  const RefIn x(p.x, p.dtype), residual(p.residual, p.dtype);
  const RefOut sum(p.sum, p.dtype);
  for (std::int64_t i = 0; i < p.sizes.elements(); ++i)
    sum.set(i, residual[i] + (p.drop ? dropped(p.mask, p.dtype, i, x[i]) : x[i]));
  RowNormProblem norm = p;
  norm.x = p.sum;
  row_norm_fwd_ref(norm, exec);
}

void add_norm_bwd_ref(const AddNormBackwardProblem& p, const Exec&) {
  const RefIn dsum(p.dsum, p.dtype);
  const RefOut dx(p.dx, p.dtype), dbranch(p.dbranch, p.dtype);
  row_gradients(p, [&](std::int64_t i, double v) {
    if (p.has_dsum) v += dsum[i];
    dx.set(i, v);
    if (p.want_dbranch) dbranch.set(i, dropped(p.mask, p.dtype, i, v));
  });
}

}  // namespace gpunn
