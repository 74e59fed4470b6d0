#pragma once
// Generated pictures: shapes, patterns, pixel labels, scenes with boxes.
//
// Everything is drawn on the host in whole numbers and double from the library's counter-based generator: one
// seed gives the same bits on every device and in every run, and picture i is the same however many are made.
// Values are 0 to 1 before noise; noise is normal, results are clamped to [0, 1]. All tensors are on the CPU.
// Shapes have the same distribution of areas whatever their kind, so that brightness tells nothing.
#include <cstdint>
#include <optional>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/training/boxes.h"

namespace gpunn {

/// Pictures with a class each.
struct LabelledPictures {
  Tensor pictures;  // f32 [samples, C, size, size]
  Tensor labels;    // i64 [samples]
};

enum class ShapeKind : std::uint8_t { circle, square, triangle };

struct ShapesOptions {
  std::int64_t samples = 160;
  std::int64_t size = 16;                                                 // height and width, 8 to 1024
  std::vector<ShapeKind> kinds = {ShapeKind::circle, ShapeKind::square};  // labels 0, 1, … in this order
  double noise = 0.1;                                                     // standard deviation
  double min_radius = 0.2, max_radius = 1.0 / 3;  // of a circle, in parts of the size; at most 3 / 8
  std::optional<double> max_shift{};  // of the middle from the picture's, in pixels; none: anywhere
  std::uint64_t seed = 0;
};
/// One white shape on black [N, 1, size, size], wholly inside. Classes take turns: sample i is of class
/// i % kinds.size(). Throws InvalidArgument for options out of range and repeated kinds.
GPUNN_API LabelledPictures make_shapes(const ShapesOptions& options);

enum class PatternKind : std::uint8_t { rows, columns, diagonals, checks, gradient };
inline constexpr int kPatternKinds = 5;

struct PatternsOptions {
  std::int64_t samples = 200;
  std::int64_t size = 16;  // 8 to 1024
  double noise = 0.1;
  std::uint64_t seed = 0;
};
/// Stripes along rows, along columns and diagonal, checks (of 2 to size / 4 pixels, at a random offset), or a
/// straight gradient in a random direction, [N, 1, size, size]; labels are PatternKind, taking turns.
GPUNN_API LabelledPictures make_patterns(const PatternsOptions& options);

struct SegmentationOptions {
  std::int64_t samples = 100;
  std::int64_t size = 32;  // 16 to 1024
  int max_shapes = 3;      // 1 to this many in a picture, later ones over earlier ones; at most 16
  double noise = 0.05;
  std::uint64_t seed = 0;
};
/// Pictures with a class for each pixel.
struct SegmentedPictures {
  Tensor pictures;  // f32 [samples, 3, size, size]
  Tensor labels;    // i64 [samples, size, size]: 0 ground, else 1 + ShapeKind
};
/// Shapes of random colours on a darker ground; the colour tells nothing about the kind.
GPUNN_API SegmentedPictures make_segmentation(const SegmentationOptions& options);

struct ScenesOptions {
  std::int64_t samples = 100;
  std::int64_t size = 48;  // 16 to 1024
  int max_shapes = 3;      // at most 16
  double noise = 0.05;
  std::uint64_t seed = 0;
};
/// Pictures with a box around each shape.
struct Scenes {
  Tensor pictures;                              // f32 [samples, 3, size, size]
  std::vector<std::vector<LabelledBox>> boxes;  // by picture; labels are ShapeKind
};
/// Shapes that do not touch each other, 1 to max_shapes where there is room. A box is the smallest that holds
/// the shape's pixels, in whole pixels.
GPUNN_API Scenes make_scenes(const ScenesOptions& options);

}  // namespace gpunn
