#pragma once
// A one-stage detector: every cell of a grid over the picture predicts one box. After J. Redmon et al., "You
// only look once: unified, real-time object detection", 2016, with one box for a cell, logits and
// cross-entropies instead of squares, and no anchors.
//
// Prediction of a cell, [5 + num_classes] numbers: logit of "the centre of an object is here"; logits of the
// centre's place within the cell, x and y; logits of width and height as parts of the picture's; logits of
// the classes.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gpunn/layers/module.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/boxes.h"

namespace gpunn {

struct DetectorOptions {
  std::int64_t in_channels = 3;
  std::int64_t num_classes = 3;
  std::vector<std::int64_t> widths{16, 32, 64};  // of the backbone's stages; each halves the picture
  std::int64_t head_width = 64;
};

/// Weights of the parts of the loss.
struct DetectionLossOptions {
  double box = 5;
  double no_object = 0.5;  // of cells without an object
  double label = 1;
};

/// Chooses among the boxes of one picture.
using BoxFilter = std::function<std::vector<Detection>(std::vector<Detection>)>;

struct DecodeOptions {
  double threshold = 0.5;  // least score
  BoxFilter filter{};      // none: suppress_repeated() at 0.5
};

/// Pictures [N, in_channels, H, W], H and W multiples of stride(), to predictions [N, 5 + num_classes, H /
/// stride, W / stride]. Keys "backbone.0.weight", ..., "head.0.weight", .... The bias of "an object is here"
/// starts at -2, as most cells are empty. Throws InvalidArgument for sizes that do not fit.
class GPUNN_API Detector : public Module {
 public:
  explicit Detector(const DetectorOptions& options = {});
  Tensor forward(const Tensor& x) override;
  /// Pixels along the side of a cell.
  std::int64_t stride() const noexcept { return stride_; }

  /// Of predictions and the boxes known for each picture; a scalar. The cell of a box's centre is responsible
  /// for it; where two boxes have one cell, the larger counts. Throws InvalidArgument when the numbers of
  /// pictures differ, and for boxes without area, with a centre outside the picture, or with an unknown
  /// label.
  Tensor loss(const Tensor& prediction, std::span<const std::vector<LabelledBox>> boxes,
              const DetectionLossOptions& options = {}) const;
  /// The boxes found in each picture, best first. The score is the probability of an object times that of its
  /// class. Waits for the device.
  std::vector<std::vector<Detection>> decode(const Tensor& prediction,
                                             const DecodeOptions& options = {}) const;

  Sequential backbone, head;
  GPUNN_MEMBERS(backbone, head)

 private:
  std::int64_t classes_, stride_;
};

}  // namespace gpunn
