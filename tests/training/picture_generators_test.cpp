// Generated pictures: what they show agrees with their labels, and a seed says everything.
#include "gpunn/training/picture_generators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "gpunn/core/error.h"

namespace gpunn {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Pixels of one picture and one channel.
class Plane {
 public:
  Plane(const std::vector<float>& all, std::int64_t index, std::int64_t size)
      : values_(all.begin() + index * size * size, all.begin() + (index + 1) * size * size), size_(size) {}
  float at(std::int64_t y, std::int64_t x) const { return values_[static_cast<std::size_t>(y * size_ + x)]; }
  std::int64_t ink() const { return std::count(values_.begin(), values_.end(), 1.0F); }
  const std::vector<float>& values() const { return values_; }
  /// Smallest box of white pixels: left, top, right, bottom.
  std::array<std::int64_t, 4> box() const {
    std::array<std::int64_t, 4> b = {size_, size_, 0, 0};
    for (std::int64_t y = 0; y < size_; ++y)
      for (std::int64_t x = 0; x < size_; ++x)
        if (at(y, x) == 1)
          b = {std::min(b[0], x), std::min(b[1], y), std::max(b[2], x + 1), std::max(b[3], y + 1)};
    return b;
  }

 private:
  std::vector<float> values_;
  std::int64_t size_;
};

TEST(MakeShapes, PicturesShowTheirClass) {
  const std::int64_t n = 150, size = 32;
  const LabelledPictures made =
      make_shapes({.samples = n,
                   .size = size,
                   .kinds = {ShapeKind::triangle, ShapeKind::circle, ShapeKind::square},
                   .noise = 0});
  EXPECT_EQ(made.pictures.shape(), (Shape{n, 1, size, size}));
  const std::vector<float> pixels = made.pictures.to_vector<float>();
  const std::vector<std::int64_t> labels = made.labels.to_vector<std::int64_t>();
  std::array<double, 3> area{};
  std::set<std::array<std::int64_t, 4>> boxes;
  for (std::int64_t i = 0; i < n; ++i) {
    EXPECT_EQ(labels[static_cast<std::size_t>(i)], i % 3);
    const Plane plane(pixels, i, size);
    const auto [left, top, right, bottom] = plane.box();
    boxes.insert({left, top, right, bottom});
    for (const float v : plane.values()) EXPECT_TRUE(v == 0 || v == 1);
    // How much of its box a shape fills: all, pi / 4, a half.
    const double fill =
        static_cast<double>(plane.ink()) / static_cast<double>((right - left) * (bottom - top));
    const double wanted[] = {0.5, 0.785, 1};
    EXPECT_NEAR(fill, wanted[i % 3], 0.07) << "picture " << i;
    area[static_cast<std::size_t>(i % 3)] += static_cast<double>(plane.ink()) / 50;
    if (i % 3 == 0) {  // the tip is above
      const auto width = [&](std::int64_t y) {
        std::int64_t w = 0;
        for (std::int64_t x = 0; x < size; ++x) w += plane.at(y, x) == 1 ? 1 : 0;
        return w;
      };
      EXPECT_GT(width(bottom - 1), 3 * width(top));
    }
  }
  EXPECT_GT(boxes.size(), 140u);
  // Brightness tells nothing: mean areas agree within what 50 samples allow.
  EXPECT_NEAR(area[0] / area[1], 1, 0.15);
  EXPECT_NEAR(area[2] / area[1], 1, 0.15);
}

TEST(MakeShapes, NoiseHasItsDeviationAndStaysInRange) {
  const std::vector<float> clean = make_shapes({.samples = 20, .noise = 0}).pictures.to_vector<float>();
  const std::vector<float> noisy = make_shapes({.samples = 20, .noise = 0.1}).pictures.to_vector<float>();
  double sum = 0;
  int moved = 0;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    EXPECT_TRUE(noisy[i] >= 0 && noisy[i] <= 1);
    // Half of the noise is cut off at either end.
    if (noisy[i] == clean[i]) continue;
    sum += std::pow(static_cast<double>(noisy[i] - clean[i]), 2);
    ++moved;
  }
  EXPECT_NEAR(static_cast<double>(moved) / static_cast<double>(clean.size()), 0.5, 0.04);
  EXPECT_NEAR(std::sqrt(sum / moved), 0.1, 0.005);
}

TEST(MakeShapes, StayNearTheMiddle) {
  const LabelledPictures made =
      make_shapes({.samples = 200, .noise = 0, .min_radius = 0.25, .max_radius = 0.25, .max_shift = 1});
  const std::vector<float> pixels = made.pictures.to_vector<float>();
  for (std::size_t n = 0; n < 200; ++n) {
    double x = 0, y = 0, area = 0;
    for (std::size_t i = 0; i < 256; ++i) {
      const double v = static_cast<double>(pixels[n * 256 + i]);
      area += v;
      x += v * (static_cast<double>(i % 16) + 0.5);
      y += v * (static_cast<double>(i / 16) + 0.5);
    }
    // Pixels are whole, so the middle of what was drawn may be half of one away.
    EXPECT_NEAR(x / area, 8, 1.5) << n;
    EXPECT_NEAR(y / area, 8, 1.5) << n;
    EXPECT_NEAR(area, 3.14159 * 16, 16) << n;
  }
}

TEST(MakeShapes, TheSeedSaysEverything) {
  const auto pixels = [](std::int64_t n, std::uint64_t seed) {
    return make_shapes({.samples = n, .seed = seed}).pictures.to_vector<float>();
  };
  EXPECT_EQ(pixels(10, 3), pixels(10, 3));
  EXPECT_NE(pixels(10, 3), pixels(10, 4));
  const std::vector<float> ten = pixels(10, 3), four = pixels(4, 3);
  EXPECT_TRUE(std::equal(four.begin(), four.end(), ten.begin()));  // more samples change none
}

TEST(MakeShapes, BadOptions) {
  EXPECT_THROW(make_shapes({.samples = 0}), InvalidArgument);
  EXPECT_THROW(make_shapes({.size = 7}), InvalidArgument);
  EXPECT_THROW(make_shapes({.min_radius = 0.3, .max_radius = 0.2}), InvalidArgument);
  EXPECT_THROW(make_shapes({.max_radius = 0.4}), InvalidArgument);
  EXPECT_THROW(make_shapes({.max_shift = -1}), InvalidArgument);
  EXPECT_THROW(make_shapes({.size = 1025}), InvalidArgument);
  EXPECT_THROW(make_shapes({.kinds = {}}), InvalidArgument);
  EXPECT_THROW(make_shapes({.kinds = {ShapeKind::circle, ShapeKind::circle}}), InvalidArgument);
  EXPECT_THROW(make_shapes({.kinds = {static_cast<ShapeKind>(9)}}), InvalidArgument);
  EXPECT_THROW(make_shapes({.noise = -1}), InvalidArgument);
  EXPECT_THROW(make_shapes({.noise = kNan}), InvalidArgument);
  EXPECT_NO_THROW(make_shapes({.samples = 3, .size = 8}));
}

/// Which kind a clean picture is, from its pixels alone.
PatternKind kind_of(const Plane& p, std::int64_t size) {
  bool rows = true, columns = true, diagonals = true, two = true;
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      const float v = p.at(y, x);
      two = two && (v == 0 || v == 1);
      rows = rows && v == p.at(y, 0);
      columns = columns && v == p.at(0, x);
      diagonals = diagonals && (y == 0 || x == size - 1 || v == p.at(y - 1, x + 1));
    }
  }
  if (!two) return PatternKind::gradient;
  return rows        ? PatternKind::rows
         : columns   ? PatternKind::columns
         : diagonals ? PatternKind::diagonals
                     : PatternKind::checks;
}

TEST(MakePatterns, PicturesShowTheirClass) {
  for (const std::int64_t size : {8, 21}) {
    const LabelledPictures made = make_patterns({.samples = 100, .size = size, .noise = 0, .seed = 5});
    const std::vector<float> pixels = made.pictures.to_vector<float>();
    const std::vector<std::int64_t> labels = made.labels.to_vector<std::int64_t>();
    std::set<std::vector<float>> different;
    for (std::int64_t i = 0; i < 100; ++i) {
      const Plane plane(pixels, i, size);
      different.insert(plane.values());
      EXPECT_EQ(static_cast<std::int64_t>(kind_of(plane, size)), labels[static_cast<std::size_t>(i)]) << i;
      if (labels[static_cast<std::size_t>(i)] == static_cast<std::int64_t>(PatternKind::gradient)) {
        // A plane: second differences vanish, and it runs from 0 to 1.
        for (std::int64_t x = 2; x < size; ++x)
          EXPECT_NEAR(plane.at(1, x) - 2 * plane.at(1, x - 1) + plane.at(1, x - 2), 0, 1e-5);
        EXPECT_NEAR(*std::min_element(plane.values().begin(), plane.values().end()), 0, 1e-6);
        EXPECT_NEAR(*std::max_element(plane.values().begin(), plane.values().end()), 1, 1e-6);
      }
    }
    EXPECT_GT(different.size(), size == 8 ? 30u : 80u);
  }
  EXPECT_THROW(make_patterns({.size = 4}), InvalidArgument);
  EXPECT_THROW(make_patterns({.samples = -1}), InvalidArgument);
}

TEST(MakeSegmentation, EveryPixelHasItsClass) {
  const std::int64_t n = 40, size = 32, area = size * size;
  const SegmentedPictures made = make_segmentation({.samples = n, .size = size, .noise = 0});
  EXPECT_EQ(made.pictures.shape(), (Shape{n, 3, size, size}));
  EXPECT_EQ(made.labels.shape(), (Shape{n, size, size}));
  EXPECT_EQ(made.labels.dtype(), DType::i64);
  const std::vector<float> x = made.pictures.to_vector<float>();
  const std::vector<std::int64_t> labels = made.labels.to_vector<std::int64_t>();
  std::map<std::int64_t, int> seen;
  for (std::int64_t i = 0; i < n; ++i) {
    std::map<std::array<float, 3>, std::set<std::int64_t>> classes;
    for (std::int64_t p = 0; p < area; ++p) {
      std::array<float, 3> colour;
      for (std::int64_t c = 0; c < 3; ++c)
        colour[static_cast<std::size_t>(c)] = x[static_cast<std::size_t>((3 * i + c) * area + p)];
      const std::int64_t label = labels[static_cast<std::size_t>(i * area + p)];
      classes[colour].insert(label);
      // Ground is dark, shapes are not.
      EXPECT_EQ(label == 0, colour[0] < 0.3F);
    }
    EXPECT_LE(classes.size(), 4u);  // a colour for the ground and each shape
    EXPECT_GE(classes.size(), 2u);
    for (const auto& [colour, labels_of_colour] : classes) {
      EXPECT_EQ(labels_of_colour.size(), 1u);
      ++seen[*labels_of_colour.begin()];
    }
  }
  EXPECT_EQ(seen.size(), 4u);
  for (const auto& [label, count] : seen) EXPECT_GE(count, 8) << label;
  EXPECT_THROW(make_segmentation({.size = 15}), InvalidArgument);
  EXPECT_THROW(make_segmentation({.max_shapes = 0}), InvalidArgument);
  EXPECT_THROW(make_segmentation({.max_shapes = 17}), InvalidArgument);
}

TEST(MakeScenes, BoxesHoldTheirShapesTightly) {
  const std::int64_t n = 60, size = 48, area = size * size;
  const Scenes made = make_scenes({.samples = n, .size = size, .max_shapes = 4, .noise = 0, .seed = 2});
  const std::vector<float> x = made.pictures.to_vector<float>();
  ASSERT_EQ(made.boxes.size(), static_cast<std::size_t>(n));
  std::map<std::int64_t, int> kinds;
  std::map<std::size_t, int> counts;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::vector<LabelledBox>& boxes = made.boxes[static_cast<std::size_t>(i)];
    ++counts[boxes.size()];
    std::vector<int> inside(static_cast<std::size_t>(area));
    for (const LabelledBox& b : boxes) {
      ++kinds[b.label];
      check_box(b);
      EXPECT_TRUE(b.box.left >= 0 && b.box.top >= 0 && b.box.right <= 48 && b.box.bottom <= 48);
      std::int64_t ink = 0;
      std::array<bool, 4> touches{};
      for (std::int64_t p = 0; p < area; ++p) {
        const auto px = static_cast<double>(p % size), py = static_cast<double>(p / size);
        const bool here = px >= b.box.left && px < b.box.right && py >= b.box.top && py < b.box.bottom;
        if (!here) continue;
        ++inside[static_cast<std::size_t>(p)];
        if (x[static_cast<std::size_t>(3 * i * area + p)] < 0.3F) continue;
        ++ink;
        touches = {touches[0] || px == b.box.left, touches[1] || py == b.box.top,
                   touches[2] || px == b.box.right - 1, touches[3] || py == b.box.bottom - 1};
      }
      EXPECT_EQ(touches, (std::array<bool, 4>{true, true, true, true})) << "picture " << i;
      const double wanted[] = {0.785, 1, 0.5};
      EXPECT_NEAR(static_cast<double>(ink) / box_area(b.box), wanted[b.label], 0.12) << "picture " << i;
    }
    for (std::int64_t p = 0; p < area; ++p) {
      // No shape outside of all boxes, no pixel in two.
      EXPECT_LE(inside[static_cast<std::size_t>(p)], 1);
      if (x[static_cast<std::size_t>(3 * i * area + p)] >= 0.3F) {
        EXPECT_EQ(inside[static_cast<std::size_t>(p)], 1);
      }
    }
  }
  EXPECT_EQ(kinds.size(), 3u);
  EXPECT_EQ(counts.size(), 4u);  // 1 to 4 shapes all occur
  EXPECT_EQ(counts.count(0), 0u);
  EXPECT_EQ(make_scenes({.samples = 3, .size = 16, .max_shapes = 16}).boxes.size(), 3u);  // no room for 16
  EXPECT_THROW(make_scenes({.max_shapes = 17}), InvalidArgument);
  EXPECT_THROW(make_scenes({.size = 8}), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
