#pragma once
// Mean average precision of detectors.
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/boxes.h"

namespace gpunn {

/// How detections are matched and the curve of precision over recall becomes a number.
///   voc   A detection belongs to the truth it overlaps most: right when that is enough and the first to find
///         it. Area under the curve, precision made monotone. (Pascal VOC since 2010, all points.)
///   coco  A detection takes the truth it overlaps most among those nobody took yet. Mean of the monotone
///         precision at the 101 recalls 0, 0.01, … 1. (pycocotools, without crowds and areas.)
enum class ApRule : std::uint8_t { voc, coco };

struct MeanApOptions {
  std::vector<double> thresholds = {0.5};  // overlap (IoU) from which on a detection is right
  ApRule rule = ApRule::voc;
  std::size_t max_detections = 100;  // of each class and picture, by score; 0: all
};
/// 0.5, 0.55, … 0.95 by COCO's rule: mAP@[.5:.95].
GPUNN_API MeanApOptions coco_options();

struct MeanAp {
  double mean = 0;                                         // over thresholds and classes; NaN without truth
  std::vector<double> by_threshold{};                      // mean over classes
  std::map<std::int64_t, std::vector<double>> by_class{};  // [thresholds], of classes with truth
};

/// Collects pictures. A class without truth anywhere has no average precision and counts in no mean, whatever
/// was detected; a class with truth and without detections has 0. Detections of equal score are taken in the
/// order in which they were added. Everything is kept until reset(); not to be shared between threads.
class GPUNN_API MeanAveragePrecision {
 public:
  /// Throws InvalidArgument for no threshold, or one outside (0, 1].
  explicit MeanAveragePrecision(MeanApOptions options = {});
  /// One picture. Throws as check_box(); nothing is added then. Boxes that pass the picture's edge count as
  /// they are: clipped() before, where the edge matters.
  void add(std::span<const Detection> detections, std::span<const LabelledBox> truth);
  MeanAp result() const;
  std::int64_t pictures() const noexcept { return pictures_; }
  void reset();

 private:
  /// A detection of one class, and whether it is right at each threshold.
  struct Scored {
    double score;
    std::vector<bool> right;
  };
  struct ClassRecord {
    std::int64_t truth = 0;
    std::vector<Scored> detections;
  };
  void add_class(ClassRecord& record, std::vector<Detection> detections, const std::vector<Box>& truth) const;
  double average_precision(const ClassRecord& record, std::size_t threshold) const;

  MeanApOptions options_;
  std::map<std::int64_t, ClassRecord> classes_;
  std::int64_t pictures_ = 0;
};

}  // namespace gpunn
