// Transforms that change values in place.
#include <algorithm>
#include <array>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/training/transforms.h"

namespace gpunn {

namespace {

double grey_at(const FloatImage& image, std::int64_t i) {
  if (image.channels == 1) return static_cast<double>(image.values[static_cast<std::size_t>(i)]);
  return 0.299 * static_cast<double>(image.channel(0)[i]) + 0.587 * static_cast<double>(image.channel(1)[i]) +
         0.114 * static_cast<double>(image.channel(2)[i]);
}

float mixed(float value, double other, double factor) {
  return static_cast<float>(std::clamp(factor * static_cast<double>(value) + (1 - factor) * other, 0.0, 1.0));
}

void change_saturation(FloatImage& image, double factor) {
  if (image.channels == 1) return;
  for (std::int64_t i = 0; i < image.height * image.width; ++i) {
    const double grey = grey_at(image, i);
    for (std::int64_t c = 0; c < 3; ++c) image.channel(c)[i] = mixed(image.channel(c)[i], grey, factor);
  }
}

void change_contrast(FloatImage& image, double factor) {
  double sum = 0;
  const std::int64_t area = image.height * image.width;
  for (std::int64_t i = 0; i < area; ++i) sum += grey_at(image, i);
  const double mean = area > 0 ? sum / static_cast<double>(area) : 0;
  for (float& v : image.values) v = mixed(v, mean, factor);
}

void change_brightness(FloatImage& image, double factor) {
  for (float& v : image.values) v = mixed(v, 0, factor);
}

double between(double low, double high, PhiloxStream& random) {
  return low + (high - low) * static_cast<double>(random.uniform());
}

void fill_rectangle(FloatImage& image, std::int64_t top, std::int64_t left, std::int64_t bottom,
                    std::int64_t right, float value) {
  for (std::int64_t c = 0; c < image.channels; ++c)
    for (std::int64_t y = top; y < bottom; ++y)
      std::fill(image.channel(c) + y * image.width + left, image.channel(c) + y * image.width + right, value);
}

}  // namespace

ColorJitter::ColorJitter(double brightness, double contrast, double saturation)
    : brightness_(brightness), contrast_(contrast), saturation_(saturation) {
  for (const double v : {brightness, contrast, saturation})
    GPUNN_CHECK(std::isfinite(v) && v >= 0, "ColorJitter: expected settings of at least 0, got ", v);
}

void ColorJitter::apply(FloatImage& image, PhiloxStream& random) const {
  GPUNN_CHECK(image.channels == 1 || image.channels == 3, "ColorJitter: expected 1 or 3 channels, got ",
              image.channels);
  std::array<int, 3> order = {0, 1, 2};
  for (std::size_t i = 3; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  const std::array<double, 3> settings = {brightness_, contrast_, saturation_};
  std::array<double, 3> factors{};
  for (std::size_t i = 0; i < 3; ++i)
    factors[i] = between(std::max(0.0, 1 - settings[i]), 1 + settings[i], random);
  for (const int part : order) {
    const auto i = static_cast<std::size_t>(part);
    if (settings[i] == 0) continue;
    if (part == 0) change_brightness(image, factors[i]);
    if (part == 1) change_contrast(image, factors[i]);
    if (part == 2) change_saturation(image, factors[i]);
  }
}

RandomErasing::RandomErasing(double p, Range scale, Range ratio, float value)
    : p_(p), scale_(scale), ratio_(ratio), value_(value) {
  GPUNN_CHECK(p >= 0 && p <= 1, "RandomErasing: expected a probability, got ", p);
  GPUNN_CHECK(scale.first > 0 && scale.first <= scale.second && scale.second <= 1,
              "RandomErasing: expected a scale within (0, 1], got ", scale.first, " to ", scale.second);
  GPUNN_CHECK(ratio.first > 0 && ratio.first <= ratio.second && std::isfinite(ratio.second),
              "RandomErasing: expected ratios above 0, got ", ratio.first, " to ", ratio.second);
}

void RandomErasing::apply(FloatImage& image, PhiloxStream& random) const {
  if (!(random.uniform() < p_)) return;
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    const double area =
        between(scale_.first, scale_.second, random) * static_cast<double>(image.height * image.width);
    const double ratio = std::exp(between(std::log(ratio_.first), std::log(ratio_.second), random));
    const std::int64_t height = std::llround(std::sqrt(area * ratio)),
                       width = std::llround(std::sqrt(area / ratio));
    if (height < 1 || width < 1 || height >= image.height || width >= image.width) continue;
    const auto top =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(image.height - height) + 1));
    const auto left =
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(image.width - width) + 1));
    fill_rectangle(image, top, left, top + height, left + width, value_);
    return;
  }
}

Cutout::Cutout(std::int64_t size, float value) : size_(size), value_(value) {
  GPUNN_CHECK(size >= 1 && size <= 1 << 20, "Cutout: expected a size of at least 1, got ", size);
}

void Cutout::apply(FloatImage& image, PhiloxStream& random) const {
  if (image.values.empty()) return;
  const auto y =
      static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(image.height))) - size_ / 2;
  const auto x = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(image.width))) - size_ / 2;
  fill_rectangle(image, std::max<std::int64_t>(0, y), std::max<std::int64_t>(0, x),
                 std::min(image.height, y + size_), std::min(image.width, x + size_), value_);
}

Normalize::Normalize(std::vector<float> mean, std::vector<float> std)
    : mean_(std::move(mean)), std_(std::move(std)) {
  GPUNN_CHECK(!mean_.empty() && mean_.size() == std_.size(),
              "Normalize: expected a mean and a std for each channel, got ", mean_.size(), " and ",
              std_.size());
  for (std::size_t c = 0; c < mean_.size(); ++c)
    GPUNN_CHECK(std::isfinite(mean_[c]) && std::isfinite(std_[c]) && std_[c] > 0,
                "Normalize: expected a finite mean and a std above 0, got ", mean_[c], " and ", std_[c]);
}

void Normalize::apply(FloatImage& image, PhiloxStream&) const {
  GPUNN_CHECK(image.channels == static_cast<std::int64_t>(mean_.size()), "Normalize: expected ", mean_.size(),
              " channels, got ", image.channels);
  for (std::int64_t c = 0; c < image.channels; ++c) {
    const float mean = mean_[static_cast<std::size_t>(c)], std = std_[static_cast<std::size_t>(c)];
    for (std::int64_t i = 0; i < image.height * image.width; ++i)
      image.channel(c)[i] = (image.channel(c)[i] - mean) / std;
  }
}

}  // namespace gpunn
