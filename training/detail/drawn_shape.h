#pragma once
// Shapes that the generators draw: inside or not is decided in whole numbers, so that labels and boxes are
// exact.
#include <algorithm>
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

/// Where a shape may stand and how large it is, lengths in 1/16 pixel.
struct ShapeRoom {
  std::int64_t height, width;                  // in pixels; the shape is wholly inside
  std::int64_t low, high;                      // radius of the circle whose area it has
  std::int64_t shift = std::int64_t{1} << 40;  // most that its middle is away from that of the picture
};

inline DrawnShape random_shape(ShapeKind kind, const ShapeRoom& room, PhiloxStream& random) {
  const auto between = [&](std::int64_t a, std::int64_t b) {
    return a + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(b - a) + 1));
  };
  const std::int64_t extent = extent_of(kind, between(room.low, room.high));
  const auto middle = [&](std::int64_t pixels) {
    const std::int64_t half = DrawnShape::kUnit * pixels / 2;
    const std::int64_t reach = std::min(half - extent, room.shift);
    return between(half - reach, half + reach);
  };
  const std::int64_t x = middle(room.width);
  return {kind, x, middle(room.height), extent};
}

}  // namespace gpunn::detail
