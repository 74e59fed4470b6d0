#include "gpunn/training/generators.h"

#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"

namespace gpunn {

namespace {

// Philox subsequences of their own: weights are drawn from 0, and an equal seed must not repeat their
// numbers.
constexpr std::uint64_t kNoiseStream = std::uint64_t{0x474e} << 48;
constexpr std::uint64_t kOrderStream = kNoiseStream + 1;

// Collects rows in double; noise and order are applied to all generators alike.
class Rows {
 public:
  void add(double x, double y, std::int64_t label) {
    points_.insert(points_.end(), {x, y});
    labels_.push_back(label);
  }

  void add_noise(double deviation, std::uint64_t seed) {
    if (deviation == 0) return;
    PhiloxStream random(seed, kNoiseStream);
    for (double& v : points_) v += deviation * static_cast<double>(random.normal());
  }

  void shuffle(std::uint64_t seed) {
    PhiloxStream random(seed, kOrderStream);
    for (std::size_t i = labels_.size(); i > 1; --i) {
      const auto j = static_cast<std::size_t>(random.below(i));
      std::swap(labels_[i - 1], labels_[j]);
      for (std::size_t c = 0; c < 2; ++c) std::swap(points_[2 * (i - 1) + c], points_[2 * j + c]);
    }
  }

  LabelledPoints tensors() const {
    const std::vector<float> points(points_.begin(), points_.end());
    const auto n = static_cast<std::int64_t>(labels_.size());
    return {Tensor::from(points, {n, 2}, {.device = Device::cpu()}),
            Tensor::from(labels_, {n}, {.device = Device::cpu()})};
  }

 private:
  std::vector<double> points_;
  std::vector<std::int64_t> labels_;
};

}  // namespace

LabelledPoints make_circles(const CirclesOptions& options) {
  GPUNN_CHECK(options.samples >= 2, "make_circles: expected at least 2 samples, got ", options.samples);
  GPUNN_CHECK(std::isfinite(options.noise) && options.noise >= 0,
              "make_circles: expected noise of at least 0, got ", options.noise);
  GPUNN_CHECK(options.factor >= 0 && options.factor < 1, "make_circles: expected a factor in [0, 1), got ",
              options.factor);
  Rows rows;
  const std::int64_t outer = options.samples / 2;
  for (std::int64_t i = 0; i < options.samples; ++i) {
    const bool inside = i >= outer;
    const std::int64_t place = inside ? i - outer : i, count = inside ? options.samples - outer : outer;
    const double angle = 2 * std::numbers::pi * static_cast<double>(place) / static_cast<double>(count);
    const double radius = inside ? options.factor : 1;
    rows.add(radius * std::cos(angle), radius * std::sin(angle), inside ? 1 : 0);
  }
  rows.add_noise(options.noise, options.seed);
  if (options.shuffle) rows.shuffle(options.seed);
  return rows.tensors();
}

}  // namespace gpunn
