#pragma once
// Pictures with channels, kept as bytes and turned into floats when a batch is made; CIFAR-10.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/png.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

/// How bytes become floats: (byte / 255 - mean) / std, each step rounded to float. No values: 0 and 1.
struct PixelScale {
  std::vector<float> mean{}, std{};  // one for each channel, or none
};

namespace detail {
class PixelTable;
}

/// inputs f32 [n, C, H, W], targets i64 [n]. The means and deviations of pictures that are augmented belong
/// into a Normalize at the end of the transforms.
class GPUNN_API ColourImages final : public Dataset {
 public:
  /// `pixels` [N, C, H, W]. Throws InvalidArgument for sizes that do not fit each other or the scale.
  ColourImages(std::vector<std::uint8_t> pixels, Shape shape, std::vector<std::int64_t> labels,
               const PixelScale& scale = {});
  ~ColourImages() override;

  std::int64_t size() const override { return shape_[0]; }
  const Shape& shape() const noexcept { return shape_; }
  Batch get(std::span<const std::int64_t> indices) const override;
  /// The bytes of picture `index`, [C, H, W]. Throw InvalidArgument when out of range.
  std::span<const std::uint8_t> pixels(std::int64_t index) const;
  std::int64_t label(std::int64_t index) const;
  /// For reports, channels interleaved. Throws also when there are neither 1 nor 3.
  Picture picture(std::int64_t index) const;

 private:
  std::vector<std::uint8_t> pixels_;
  std::vector<std::int64_t> labels_;
  Shape shape_;
  std::shared_ptr<const detail::PixelTable> table_;
};

struct Cifar10 {
  std::shared_ptr<const ColourImages> train, test;
  bool subset = false;  // the first 4,000 and 1,000 pictures only
};

/// CIFAR-10 from where data_paths.h looks (`data_dir`: what the user named, or ""): all 60,000 pictures, or
/// the subset where only that is there. Throws DataError when neither is, and for damaged files.
GPUNN_API Cifar10 load_cifar10(const std::string& data_dir, const PixelScale& scale = {});

}  // namespace gpunn
