// Transforms that move pixels.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "gpunn/core/error.h"
#include "gpunn/training/transforms.h"

namespace gpunn {

namespace {

void check_probability(const char* name, double p) {
  GPUNN_CHECK(p >= 0 && p <= 1, name, ": expected a probability, got ", p);
}

}  // namespace

RandomHorizontalFlip::RandomHorizontalFlip(double p) : p_(p) { check_probability("RandomHorizontalFlip", p); }

void RandomHorizontalFlip::apply(FloatImage& image, PhiloxStream& random) const {
  if (!(random.uniform() < p_)) return;
  for (std::int64_t row = 0; row < image.channels * image.height; ++row) {
    float* begin = image.values.data() + row * image.width;
    std::reverse(begin, begin + image.width);
  }
}

RandomVerticalFlip::RandomVerticalFlip(double p) : p_(p) { check_probability("RandomVerticalFlip", p); }

void RandomVerticalFlip::apply(FloatImage& image, PhiloxStream& random) const {
  if (!(random.uniform() < p_)) return;
  for (std::int64_t c = 0; c < image.channels; ++c)
    for (std::int64_t y = 0; y < image.height / 2; ++y)
      std::swap_ranges(image.channel(c) + y * image.width, image.channel(c) + (y + 1) * image.width,
                       image.channel(c) + (image.height - 1 - y) * image.width);
}

RandomCrop::RandomCrop(Size2d size, std::int64_t padding, float fill)
    : height_(size.h), width_(size.w), padding_(padding), fill_(fill) {
  GPUNN_CHECK(height_ >= 1 && width_ >= 1 && padding >= 0 && padding <= 1 << 20,
              "RandomCrop: expected a window of at least 1 x 1 and padding from 0, got ", height_, " x ",
              width_, " and ", padding);
}

void RandomCrop::apply(FloatImage& image, PhiloxStream& random) const {
  const std::int64_t rows = image.height + 2 * padding_ - height_,
                     columns = image.width + 2 * padding_ - width_;
  GPUNN_CHECK(rows >= 0 && columns >= 0, "RandomCrop: expected a picture of at least ", height_, " x ",
              width_, " with padding ", padding_, ", got ", image.height, " x ", image.width);
  const std::int64_t top =
      static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(rows) + 1)) - padding_;
  const std::int64_t left =
      static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(columns) + 1)) - padding_;
  FloatImage out{image.channels, height_, width_, {}};
  out.values.assign(static_cast<std::size_t>(image.channels * height_ * width_), fill_);
  const std::int64_t x0 = std::max<std::int64_t>(0, -left), x1 = std::min(width_, image.width - left);
  for (std::int64_t c = 0; c < image.channels; ++c) {
    for (std::int64_t y = 0; y < height_; ++y) {
      const std::int64_t from = y + top;
      if (from < 0 || from >= image.height || x0 >= x1) continue;
      const float* row = image.channel(c) + from * image.width + left;
      std::copy(row + x0, row + x1, out.channel(c) + y * width_ + x0);
    }
  }
  image = std::move(out);
}

RandomRotation::RandomRotation(double degrees, float fill) : degrees_(degrees), fill_(fill) {
  GPUNN_CHECK(degrees >= 0 && degrees <= 180, "RandomRotation: expected degrees in [0, 180], got ", degrees);
}

void RandomRotation::apply(FloatImage& image, PhiloxStream& random) const {
  rotate(image, degrees_ * (2 * static_cast<double>(random.uniform()) - 1), fill_);
}

namespace {

/// Where a pixel of the result comes from: its four neighbours and their weights.
struct Corner {
  std::int64_t y, x;
  double fy, fx;
};

float bilinear(const float* values, std::int64_t height, std::int64_t width, const Corner& at, double fill) {
  double sum = 0;
  for (int dy = 0; dy < 2; ++dy) {
    for (int dx = 0; dx < 2; ++dx) {
      const std::int64_t y = at.y + dy, x = at.x + dx;
      const bool inside = y >= 0 && y < height && x >= 0 && x < width;
      const double weight = (dy == 1 ? at.fy : 1 - at.fy) * (dx == 1 ? at.fx : 1 - at.fx);
      sum += weight * (inside ? static_cast<double>(values[y * width + x]) : fill);
    }
  }
  return static_cast<float>(sum);
}

}  // namespace

void rotate(FloatImage& image, double degrees, float fill) {
  GPUNN_CHECK(std::isfinite(degrees), "rotate: expected a finite angle, got ", degrees);
  const double angle = degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  const double middle_y = static_cast<double>(image.height - 1) / 2,
               middle_x = static_cast<double>(image.width - 1) / 2;
  FloatImage out{image.channels, image.height, image.width, std::vector<float>(image.values.size())};
  for (std::int64_t i = 0; i < image.height; ++i) {
    for (std::int64_t j = 0; j < image.width; ++j) {
      // Backwards: y grows downwards, so that a counter-clockwise turn looks up along (c, -s; s, c).
      const double dy = static_cast<double>(i) - middle_y, dx = static_cast<double>(j) - middle_x;
      const double y = middle_y + s * dx + c * dy, x = middle_x + c * dx - s * dy;
      const double fy = std::floor(y), fx = std::floor(x);
      const Corner at{static_cast<std::int64_t>(fy), static_cast<std::int64_t>(fx), y - fy, x - fx};
      for (std::int64_t channel = 0; channel < image.channels; ++channel)
        out.channel(channel)[i * image.width + j] =
            bilinear(image.channel(channel), image.height, image.width, at, static_cast<double>(fill));
    }
  }
  image = std::move(out);
}

}  // namespace gpunn
