#pragma once
// Shapes that the generators draw: inside or not is decided in whole numbers, so that labels and boxes are
// exact.
#include <cstdint>

#include "gpunn/core/random.h"
#include "gpunn/training/picture_generators.h"

namespace gpunn::detail {

/// A shape in units of 1/16 pixel; pixel (x, y) is looked at in its middle, (16 x + 8, 16 y + 8).
struct DrawnShape {
  static constexpr std::int64_t kUnit = 16;
  ShapeKind kind = ShapeKind::circle;
  std::int64_t x = 0, y = 0;  // middle
  std::int64_t extent = 0;    // half of the width and height

  bool has_pixel(std::int64_t column, std::int64_t row) const noexcept {
    const std::int64_t dx = kUnit * column + kUnit / 2 - x, dy = kUnit * row + kUnit / 2 - y;
    if (dx < -extent || dx > extent || dy < -extent || dy > extent) return false;
    if (kind == ShapeKind::circle) return dx * dx + dy * dy <= extent * extent;
    if (kind == ShapeKind::triangle) return 2 * (dx < 0 ? -dx : dx) <= dy + extent;  // tip above
    return true;
  }
};

/// Half of the width of a shape with the area of a circle of `radius`.
constexpr std::int64_t extent_of(ShapeKind kind, std::int64_t radius) {
  if (kind == ShapeKind::square) return radius * 227 / 256;    // sqrt(pi) / 2
  if (kind == ShapeKind::triangle) return radius * 321 / 256;  // sqrt(pi / 2)
  return radius;
}

/// A shape wholly within height x width pixels, of a circle's area whose radius is between the two (1/16
/// pixel).
inline DrawnShape random_shape(ShapeKind kind, std::int64_t height, std::int64_t width, std::int64_t low,
                               std::int64_t high, PhiloxStream& random) {
  const auto between = [&](std::int64_t a, std::int64_t b) {
    return a + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(b - a) + 1));
  };
  const std::int64_t extent = extent_of(kind, between(low, high));
  const std::int64_t x = between(extent, DrawnShape::kUnit * width - extent);
  const std::int64_t y = between(extent, DrawnShape::kUnit * height - extent);
  return {kind, x, y, extent};
}

}  // namespace gpunn::detail
