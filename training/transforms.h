#pragma once
// Transforms of pictures, under torchvision's names. Random ones draw from a stream that is keyed by (seed,
// epoch, sample): the number of workers, the order of rows and a resumed run change nothing. Their numbers
// are the library's own, not torchvision's.
//
// Pictures are floats, [channels, height, width], 0 to 1 until a Normalize. All transforms are constant after
// construction and may be used by several threads. Constructors throw InvalidArgument for settings out of
// range; apply() for pictures that do not fit.
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/common/size2d.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

/// A picture on its way through transforms.
struct FloatImage {
  std::int64_t channels = 0, height = 0, width = 0;
  std::vector<float> values{};  // [channels, height, width]

  float* channel(std::int64_t c) { return values.data() + c * height * width; }
  const float* channel(std::int64_t c) const { return values.data() + c * height * width; }
};

/// What the random numbers of a picture depend on.
struct SampleKey {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0, sample = 0;
};
/// The stream of one picture in one pass.
GPUNN_API PhiloxStream stream_of(const SampleKey& key);

class GPUNN_API Transform {
 public:
  virtual ~Transform();
  /// Changes `image`, its size included.
  virtual void apply(FloatImage& image, PhiloxStream& random) const = 0;
};
using TransformPtr = std::shared_ptr<const Transform>;

/// One after the other. Each has a stream of its own: what one draws changes nothing for the others.
class GPUNN_API Compose final : public Transform {
 public:
  /// Throws InvalidArgument for a null transform.
  explicit Compose(std::vector<TransformPtr> transforms);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  std::vector<TransformPtr> transforms_;
};

/// Mirrored left to right with probability p.
class GPUNN_API RandomHorizontalFlip final : public Transform {
 public:
  explicit RandomHorizontalFlip(double p = 0.5);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  double p_;
};

/// Mirrored top to bottom with probability p.
class GPUNN_API RandomVerticalFlip final : public Transform {
 public:
  explicit RandomVerticalFlip(double p = 0.5);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  double p_;
};

/// A window of `size` at a random place of the picture with `padding` pixels of `fill` around it.
/// apply() throws for a padded picture smaller than the window.
class GPUNN_API RandomCrop final : public Transform {
 public:
  explicit RandomCrop(Size2d size, std::int64_t padding = 0, float fill = 0);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  std::int64_t height_, width_, padding_;
  float fill_;
};

/// Turned around its middle by an angle drawn evenly from [-degrees, degrees]; bilinear, in double; `fill`
/// comes in from outside. degrees in [0, 180].
class GPUNN_API RandomRotation final : public Transform {
 public:
  explicit RandomRotation(double degrees, float fill = 0);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  double degrees_;
  float fill_;
};
/// The same by a given angle, counter-clockwise.
GPUNN_API void rotate(FloatImage& image, double degrees, float fill = 0);

/// Brightness, contrast and saturation, in random order, each by a factor drawn evenly from
/// [max(0, 1 - s), 1 + s]; results are clamped to [0, 1]. A setting of 0 leaves its part out. Contrast is
/// mixed with the mean of the grey picture, saturation with the grey picture (.299 R + .587 G + .114 B),
/// which changes nothing for one channel. apply() throws unless there are 1 or 3 channels.
class GPUNN_API ColorJitter final : public Transform {
 public:
  ColorJitter(double brightness, double contrast = 0, double saturation = 0);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  double brightness_, contrast_, saturation_;
};

/// With probability p a rectangle becomes `value`: of `scale` of the picture's area, its ratio of height to
/// width from `ratio` (even in the logarithm). After ten that do not fit the picture stays.
/// Source: Zhong et al., "Random Erasing Data Augmentation" (AAAI 2020).
class GPUNN_API RandomErasing final : public Transform {
 public:
  using Range = std::pair<double, double>;
  explicit RandomErasing(double p = 0.5, Range scale = {0.02, 0.33}, Range ratio = {0.3, 3.3},
                         float value = 0);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  double p_;
  Range scale_, ratio_;
  float value_;
};

/// A square of `size` x `size` pixels around a random one becomes `value`; what is outside is cut off.
/// Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).
class GPUNN_API Cutout final : public Transform {
 public:
  explicit Cutout(std::int64_t size, float value = 0);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  std::int64_t size_;
  float value_;
};

/// (v - mean) / std for each channel. apply() throws for another number of channels.
class GPUNN_API Normalize final : public Transform {
 public:
  Normalize(std::vector<float> mean, std::vector<float> std);
  void apply(FloatImage& image, PhiloxStream& random) const override;

 private:
  std::vector<float> mean_, std_;
};

/// A data set seen through a transform of its inputs.
class GPUNN_API AugmentedDataset final : public Dataset {
 public:
  /// `base` gives inputs f32 [n, C, H, W]. Throws InvalidArgument for nulls.
  AugmentedDataset(std::shared_ptr<const Dataset> base, TransformPtr transform, std::uint64_t seed = 0);
  std::int64_t size() const override { return base_->size(); }
  /// Pass 0.
  Batch get(std::span<const std::int64_t> indices) const override { return get_in_epoch(indices, 0); }
  /// Throws InvalidArgument also for other inputs, and when pictures of a batch become differently large. A
  /// batch without rows is not transformed.
  Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const override;

 private:
  std::shared_ptr<const Dataset> base_;
  TransformPtr transform_;
  std::uint64_t seed_;
};

}  // namespace gpunn
