#include "gpunn/training/picture_generators.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "gpunn/core/error.h"
#include "gpunn/training/detail/drawn_shape.h"
#include "gpunn/training/detail/noisy_pictures.h"

namespace gpunn {

using detail::DrawnShape;

namespace detail {

PhiloxStream picture_stream(std::uint64_t seed, PictureSet set, std::int64_t sample) {
  // Apart from weights, shuffles and augmentation; a subsequence for each picture.
  const std::uint64_t stream = (std::uint64_t{0x5049} + static_cast<std::uint64_t>(set)) << 48;
  return {seed, stream + static_cast<std::uint64_t>(sample)};
}

void check_pictures(const char* name, std::int64_t samples, std::int64_t size, std::int64_t least,
                    double noise) {
  GPUNN_CHECK(samples >= 1 && samples <= std::int64_t{1} << 32, name, ": expected at least 1 sample, got ",
              samples);
  GPUNN_CHECK(size >= least && size <= 1024, name, ": expected a size of ", least, " to 1024, got ", size);
  GPUNN_CHECK(std::isfinite(noise) && noise >= 0, name, ": expected noise of at least 0, got ", noise);
}

void add_noise(std::span<float> values, double noise, PhiloxStream& random) {
  if (noise > 0)
    for (float& v : values)
      v = static_cast<float>(static_cast<double>(v) + noise * static_cast<double>(random.normal()));
  for (float& v : values) v = std::clamp(v, 0.0F, 1.0F);
}

}  // namespace detail

namespace {

/// One channel each; `draw(label, picture, random)` fills a picture of zeros.
template <class Draw>
LabelledPictures make_grey(detail::PictureSet set, std::int64_t samples, std::int64_t size,
                           std::int64_t classes, double noise, std::uint64_t seed, Draw draw) {
  const Device cpu = Device::cpu();
  LabelledPictures out{empty({samples, 1, size, size}, {.dtype = DType::f32, .device = cpu}),
                       empty({samples}, {.dtype = DType::i64, .device = cpu})};
  auto* pixels = static_cast<float*>(out.pictures.data());
  auto* labels = static_cast<std::int64_t*>(out.labels.data());
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::span<float> picture(pixels + i * size * size, static_cast<std::size_t>(size * size));
    std::fill(picture.begin(), picture.end(), 0.0F);
    PhiloxStream random = detail::picture_stream(seed, set, i);
    labels[i] = i % classes;
    draw(i % classes, picture, random);
    detail::add_noise(picture, noise, random);
  }
  return out;
}

void draw_pattern(PatternKind kind, std::int64_t size, std::span<float> picture, PhiloxStream& random) {
  const auto width = 2 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(size / 4 - 1)));
  const auto dx = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * width)));
  const auto dy = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(2 * width)));
  const double angle = 2 * std::numbers::pi * static_cast<double>(random.uniform());
  const double along_x = std::cos(angle), along_y = std::sin(angle),
               reach = std::abs(along_x) + std::abs(along_y);
  const auto band = [&](std::int64_t at) { return at / width % 2; };
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      const std::int64_t bands[] = {band(y + dy), band(x + dx), band(x + y + dx),
                                    (band(x + dx) + band(y + dy)) % 2};
      float& v = picture[static_cast<std::size_t>(y * size + x)];
      if (kind != PatternKind::gradient) {
        v = static_cast<float>(bands[static_cast<int>(kind)]);
        continue;
      }
      // From the corner that lies furthest back (0) to the one opposite (1).
      const double u = 2 * static_cast<double>(x) / static_cast<double>(size - 1) - 1;
      const double w = 2 * static_cast<double>(y) / static_cast<double>(size - 1) - 1;
      v = static_cast<float>((1 + (u * along_x + w * along_y) / reach) / 2);
    }
  }
}

}  // namespace

LabelledPictures make_shapes(const ShapesOptions& options) {
  detail::check_pictures("make_shapes", options.samples, options.size, 8, options.noise);
  std::vector<ShapeKind> sorted = options.kinds;
  std::sort(sorted.begin(), sorted.end());
  GPUNN_CHECK(!sorted.empty() && std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end() &&
                  sorted.back() <= ShapeKind::triangle,
              "make_shapes: expected different kinds of shapes");
  GPUNN_CHECK(
      options.min_radius >= 0.05 && options.min_radius <= options.max_radius && options.max_radius <= 0.375,
      "make_shapes: expected radii of 0.05 to 0.375, got ", options.min_radius, " to ", options.max_radius);
  GPUNN_CHECK(!options.max_shift || *options.max_shift >= 0,
              "make_shapes: expected a shift of at least 0, got ", options.max_shift.value_or(0));
  const std::int64_t size = options.size, unit = DrawnShape::kUnit * size;
  const auto part = [&](double p) { return static_cast<std::int64_t>(p * static_cast<double>(unit)); };
  const double shift =
      std::min(options.max_shift.value_or(static_cast<double>(size)), static_cast<double>(size));
  return make_grey(
      detail::PictureSet::shapes, options.samples, size, static_cast<std::int64_t>(sorted.size()),
      options.noise, options.seed, [&](std::int64_t label, std::span<float> picture, PhiloxStream& random) {
        const ShapeKind kind = options.kinds[static_cast<std::size_t>(label)];
        const DrawnShape shape =
            detail::random_shape(kind,
                                 {size, size, part(options.min_radius), part(options.max_radius),
                                  static_cast<std::int64_t>(shift * static_cast<double>(DrawnShape::kUnit))},
                                 random);
        for (std::int64_t i = 0; i < size * size; ++i)
          if (shape.has_pixel(i % size, i / size)) picture[static_cast<std::size_t>(i)] = 1;
      });
}

LabelledPictures make_patterns(const PatternsOptions& options) {
  detail::check_pictures("make_patterns", options.samples, options.size, 8, options.noise);
  return make_grey(detail::PictureSet::patterns, options.samples, options.size, kPatternKinds, options.noise,
                   options.seed, [&](std::int64_t label, std::span<float> picture, PhiloxStream& random) {
                     draw_pattern(static_cast<PatternKind>(label), options.size, picture, random);
                   });
}

}  // namespace gpunn
