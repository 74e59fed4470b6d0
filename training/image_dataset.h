#pragma once
// Grey images kept as bytes and turned into floats when a batch is made.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

/// inputs f32 [n, H * W] (or [n, 1, H, W]) = pixel / divisor, exactly rounded; targets i64 [n].
class GPUNN_API ImageDataset final : public Dataset {
 public:
  struct Options {
    float divisor = 255;
    bool flatten = true;
  };
  /// `pixels` [N, H, W] in row-major order. Throws InvalidArgument for sizes that do not fit each other.
  ImageDataset(std::vector<std::uint8_t> pixels, Shape shape, std::vector<std::int64_t> labels,
               Options options);
  ImageDataset(std::vector<std::uint8_t> pixels, Shape shape, std::vector<std::int64_t> labels)
      : ImageDataset(std::move(pixels), shape, std::move(labels), Options{}) {}

  std::int64_t size() const override { return shape_[0]; }
  std::int64_t height() const noexcept { return shape_[1]; }
  std::int64_t width() const noexcept { return shape_[2]; }
  Batch get(std::span<const std::int64_t> indices) const override;
  /// The bytes of image `index`, [H, W]. Throws InvalidArgument when out of range.
  std::span<const std::uint8_t> pixels(std::int64_t index) const;
  std::int64_t label(std::int64_t index) const;

 private:
  std::vector<std::uint8_t> pixels_;  // [N, H, W]
  std::vector<std::int64_t> labels_;  // [N]
  Shape shape_;
  Options options_;
};

/// Reads IDX images and labels (plain or gzip). Throws DataError naming file and place: missing or damaged
/// files, other types or ranks, differing numbers of rows, labels outside [0, classes).
GPUNN_API ImageDataset load_idx_images(const std::string& images_path, const std::string& labels_path,
                                       std::int64_t classes, ImageDataset::Options options = {});

/// Throws DataError "<source>: row 17: expected a label in 0..9, got 12" at the first label outside [0,
/// classes).
GPUNN_API void check_labels(std::span<const std::int64_t> labels, std::int64_t classes,
                            std::string_view source);

namespace detail {
/// out[i] = in[i] / divisor, vectorised for the running machine.
void scale_pixels(const std::uint8_t* in, float* out, std::size_t n, float divisor);
}  // namespace detail

}  // namespace gpunn
