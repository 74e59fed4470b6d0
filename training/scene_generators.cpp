// Pictures of several coloured shapes, with the truth about each pixel or each shape.
#include <algorithm>
#include <optional>

#include "gpunn/core/error.h"
#include "gpunn/training/detail/drawn_shape.h"
#include "gpunn/training/detail/noisy_pictures.h"
#include "gpunn/training/picture_generators.h"

namespace gpunn {

using detail::DrawnShape;

namespace {

constexpr int kShapeKinds = 3;

/// Three planes of one picture.
class Canvas {
 public:
  Canvas(float* planes, std::int64_t size) : planes_(planes), size_(size) {}

  void fill_ground(PhiloxStream& random) {
    for (int c = 0; c < 3; ++c)
      std::fill_n(planes_ + c * size_ * size_, size_ * size_, 0.25F * random.uniform());
  }
  /// `at(pixel)` is called for each pixel of the shape.
  template <class At>
  void draw(const DrawnShape& shape, PhiloxStream& random, At at) {
    const float colour[] = {0.4F + 0.6F * random.uniform(), 0.4F + 0.6F * random.uniform(),
                            0.4F + 0.6F * random.uniform()};
    for (std::int64_t i = 0; i < size_ * size_; ++i) {
      if (!shape.has_pixel(i % size_, i / size_)) continue;
      for (int c = 0; c < 3; ++c) planes_[c * size_ * size_ + i] = colour[c];
      at(i);
    }
  }
  void add_noise(double noise, PhiloxStream& random) {
    detail::add_noise({planes_, static_cast<std::size_t>(3 * size_ * size_)}, noise, random);
  }

 private:
  float* planes_;
  std::int64_t size_;
};

void check_shapes(const char* name, int shapes) {
  GPUNN_CHECK(shapes >= 1 && shapes <= 16, name, ": expected max_shapes of 1 to 16, got ", shapes);
}

int shape_count(int most, PhiloxStream& random) {
  return 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(most)));
}

DrawnShape any_shape(std::int64_t size, PhiloxStream& random) {
  const auto kind = static_cast<ShapeKind>(random.below(kShapeKinds));
  const std::int64_t unit = DrawnShape::kUnit * size;
  return detail::random_shape(kind, {size, size, unit / 10, unit / 5}, random);
}

/// Squares around the two, a pixel apart at least.
bool apart(const DrawnShape& a, const DrawnShape& b) {
  const std::int64_t reach = a.extent + b.extent + DrawnShape::kUnit;
  return std::abs(a.x - b.x) >= reach || std::abs(a.y - b.y) >= reach;
}

std::optional<DrawnShape> place_apart(const std::vector<DrawnShape>& others, std::int64_t size,
                                      PhiloxStream& random) {
  constexpr int kTries = 50;
  for (int i = 0; i < kTries; ++i) {
    const DrawnShape shape = any_shape(size, random);
    if (std::all_of(others.begin(), others.end(), [&](const DrawnShape& o) { return apart(shape, o); }))
      return shape;
  }
  return std::nullopt;
}

Tensor colour_pictures(std::int64_t samples, std::int64_t size) {
  return empty({samples, 3, size, size}, {.dtype = DType::f32, .device = Device::cpu()});
}

}  // namespace

SegmentedPictures make_segmentation(const SegmentationOptions& options) {
  const std::int64_t size = options.size;
  detail::check_pictures("make_segmentation", options.samples, size, 16, options.noise);
  check_shapes("make_segmentation", options.max_shapes);
  SegmentedPictures out{colour_pictures(options.samples, size),
                        zeros({options.samples, size, size}, {.dtype = DType::i64, .device = Device::cpu()})};
  auto* labels = static_cast<std::int64_t*>(out.labels.data());
  for (std::int64_t i = 0; i < options.samples; ++i, labels += size * size) {
    PhiloxStream random = detail::picture_stream(options.seed, detail::PictureSet::segmentation, i);
    Canvas canvas(static_cast<float*>(out.pictures.data()) + 3 * i * size * size, size);
    canvas.fill_ground(random);
    for (int k = shape_count(options.max_shapes, random); k > 0; --k) {
      const DrawnShape shape = any_shape(size, random);
      canvas.draw(shape, random,
                  [&](std::int64_t pixel) { labels[pixel] = 1 + static_cast<std::int64_t>(shape.kind); });
    }
    canvas.add_noise(options.noise, random);
  }
  return out;
}

Scenes make_scenes(const ScenesOptions& options) {
  const std::int64_t size = options.size;
  detail::check_pictures("make_scenes", options.samples, size, 16, options.noise);
  check_shapes("make_scenes", options.max_shapes);
  Scenes out{colour_pictures(options.samples, size), {}};
  out.boxes.resize(static_cast<std::size_t>(options.samples));
  for (std::int64_t i = 0; i < options.samples; ++i) {
    PhiloxStream random = detail::picture_stream(options.seed, detail::PictureSet::scenes, i);
    Canvas canvas(static_cast<float*>(out.pictures.data()) + 3 * i * size * size, size);
    canvas.fill_ground(random);
    std::vector<DrawnShape> shapes;
    for (int k = shape_count(options.max_shapes, random); k > 0; --k) {
      const std::optional<DrawnShape> shape = place_apart(shapes, size, random);
      if (!shape) continue;
      shapes.push_back(*shape);
      std::int64_t left = size, top = size, right = 0, bottom = 0;
      canvas.draw(*shape, random, [&](std::int64_t pixel) {
        left = std::min(left, pixel % size);
        right = std::max(right, pixel % size + 1);
        top = std::min(top, pixel / size);
        bottom = std::max(bottom, pixel / size + 1);
      });
      out.boxes[static_cast<std::size_t>(i)].push_back(
          {{static_cast<double>(left), static_cast<double>(top), static_cast<double>(right),
            static_cast<double>(bottom)},
           static_cast<std::int64_t>(shape->kind)});
    }
    canvas.add_noise(options.noise, random);
  }
  return out;
}

}  // namespace gpunn
