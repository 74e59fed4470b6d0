#include "gpunn/layers/positions.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/layers/init.h"

namespace gpunn {

namespace {

constexpr double kLongestWave = 10000;  // over 2 pi

Tensor sinusoids(std::int64_t max_len, std::int64_t D) {
  std::vector<float> table(static_cast<std::size_t>(max_len * D));
  for (std::int64_t i = 0; i < D; ++i) {
    const auto pair = static_cast<double>(i / 2 * 2);
    const double frequency = std::pow(kLongestWave, -pair / static_cast<double>(D));
    for (std::int64_t pos = 0; pos < max_len; ++pos) {
      const double angle = static_cast<double>(pos) * frequency;
      table[static_cast<std::size_t>(pos * D + i)] =
          static_cast<float>(i % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
  const MemoryTagScope tag(MemoryTag::weights);
  return Tensor::from(table, {max_len, D});
}

}  // namespace

Positions::Positions(std::int64_t d_model, std::int64_t max_len, bool batch_first)
    : D_(d_model), max_len_(max_len), batch_first_(batch_first) {
  OpScope scope("positions");
  GPUNN_CHECK(D_ >= 1 && max_len_ >= 1, "expected d_model and max_len of at least 1, got ", D_, " and ",
              max_len_);
}

Tensor Positions::forward(const Tensor& x, std::int64_t start) {
  OpScope scope("positions");
  GPUNN_CHECK(x.defined() && (x.dim() == 2 || x.dim() == 3) && x.size(-1) == D_, "expected input ",
              batch_first_ ? "[B, T, " : "[T, B, ", D_, "] or [T, ", D_, "], got ",
              x.defined() ? to_string(x.shape()) : "an undefined tensor");
  const bool time_first = x.dim() == 3 && !batch_first_;
  const std::int64_t T = x.size(time_first ? 0 : -2);
  GPUNN_CHECK(start >= 0 && T <= max_len_ && start <= max_len_ - T, "expected positions below ", max_len_,
              ", got ", T, " from ", start, " on");
  const Tensor rows = table().narrow(0, start, T);
  return x + (time_first ? rows.unsqueeze(1) : rows);
}

Tensor Positions::operator()(const Tensor& x, std::int64_t start) {
  const ModuleScope scope(*this);
  return forward(x, start);
}

Tensor Positions::at(const Tensor& positions) const { return embedding(table(), positions); }

SinusoidalPositions::SinusoidalPositions(std::int64_t d_model, std::int64_t max_len, bool batch_first)
    : Positions(d_model, max_len, batch_first), pe(sinusoids(max_len, d_model)) {}

LearnedPositions::LearnedPositions(std::int64_t max_len, std::int64_t d_model, bool batch_first)
    : Positions(d_model, max_len, batch_first) {
  {
    const MemoryTagScope tag(MemoryTag::weights);
    weight = Parameter(empty({max_len, d_model}));
  }
  reset_parameters();
}

void LearnedPositions::reset_parameters() { init::normal(weight, 0, 1); }

Tensor positions_behind(std::span<const std::int64_t> starts, std::int64_t T, std::int64_t limit,
                        Device device) {
  OpScope scope("positions");
  GPUNN_CHECK(T >= 0 && limit >= 1, "expected T of at least 0 and a limit of at least 1, got ", T, " and ",
              limit);
  std::vector<std::int64_t> positions;
  for (const std::int64_t start : starts) {
    GPUNN_CHECK(start >= 0, "expected starts of at least 0, got ", start);
    for (std::int64_t t = 0; t < T; ++t) positions.push_back(std::min(start + t, limit - 1));
  }
  return Tensor::from(positions, {static_cast<std::int64_t>(starts.size()), T}, {.device = device});
}

Tensor alibi_slopes(std::int64_t heads) {
  OpScope scope("alibi_slopes");
  GPUNN_CHECK(heads >= 1, "expected at least one head, got ", heads);
  const auto below = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
  std::vector<float> slopes;
  const auto slope = [](std::int64_t h, std::int64_t of) {
    return static_cast<float>(std::exp2(-8 * static_cast<double>(h) / static_cast<double>(of)));
  };
  for (std::int64_t h = 1; h <= below; ++h) slopes.push_back(slope(h, below));
  for (std::int64_t h = below + 1; h <= heads; ++h) slopes.push_back(slope(2 * (h - below) - 1, 2 * below));
  return Tensor::from(slopes, {heads});
}

}  // namespace gpunn
