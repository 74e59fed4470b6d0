#pragma once
// Where a token stands: added to its embedding as a vector, or as slopes for attention.
#include <cstdint>
#include <memory>
#include <span>

#include "gpunn/core/api.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Base of tables that are added to x: [T, B, D], [B, T, D] with batch_first, or [T, D].
class GPUNN_API Positions : public Module {
 public:
  /// x plus rows 0 to T - 1.
  Tensor forward(const Tensor& x) override { return forward(x, 0); }
  /// x plus rows `start` to start + T - 1. Throws InvalidArgument for another D or rank, and when the rows
  /// pass the table.
  Tensor forward(const Tensor& x, std::int64_t start);
  /// Rows of positions i64 [*] with indices of their own: [*, D].
  Tensor at(const Tensor& positions) const;
  using Module::operator();
  Tensor operator()(const Tensor& x, std::int64_t start);

  std::int64_t max_len() const noexcept { return max_len_; }
  std::int64_t d_model() const noexcept { return D_; }

 protected:
  Positions(std::int64_t d_model, std::int64_t max_len, bool batch_first);
  virtual const Tensor& table() const noexcept = 0;  // [max_len, D]

 private:
  std::int64_t D_, max_len_;
  bool batch_first_;
};

/// PE(pos, 2i) = sin(pos / 10000^(2i / D)), PE(pos, 2i + 1) = cos of the same: PE(pos + k) is a linear
/// function of PE(pos), a rotation of each pair by k / 10000^(2i / D). Computed in double. Buffer "pe"
/// [max_len, D]; an odd D ends with a sine. Source: Vaswani et al. (2017). Throws InvalidArgument for sizes
/// below 1.
class GPUNN_API SinusoidalPositions : public Positions {
 public:
  explicit SinusoidalPositions(std::int64_t d_model, std::int64_t max_len = 5000, bool batch_first = false);

  Buffer pe;  // [max_len, D]
  GPUNN_MEMBERS(pe)

 private:
  const Tensor& table() const noexcept override { return pe; }
};

/// A learnt row for each position. Key "weight" [max_len, D], drawn from N(0, 1) as an Embedding's. Throws
/// InvalidArgument for sizes below 1.
class GPUNN_API LearnedPositions : public Positions {
 public:
  LearnedPositions(std::int64_t max_len, std::int64_t d_model, bool batch_first = false);
  /// Draws the initial values again.
  void reset_parameters();

  Parameter weight;  // [max_len, D]
  GPUNN_MEMBERS(weight)

 private:
  const Tensor& table() const noexcept override { return weight; }
};

/// Positions starts[b] + t, t < T, as i64 [B, T] on `device`: for rows behind a cache's lengths(). Those from
/// `limit` on become limit - 1, so that rows which do not count may be looked up.
GPUNN_API Tensor positions_behind(std::span<const std::int64_t> starts, std::int64_t T, std::int64_t limit,
                                  Device device);

/// Slopes of `heads` heads for AttentionOptions::alibi_slopes, f32 [heads] on default_device(): 2^(-8 h /
/// heads), h = 1 ... heads, for a power of two; otherwise those of the power of two below, followed by every
/// second one of the power above. Source: Press et al., "Train short, test long" (2021). Throws
/// InvalidArgument for less than one head.
GPUNN_API Tensor alibi_slopes(std::int64_t heads);

}  // namespace gpunn
