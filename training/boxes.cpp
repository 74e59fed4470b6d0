#include "gpunn/training/boxes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gpunn/core/error.h"

namespace gpunn {

void check_box(const Box& b) {
  GPUNN_CHECK(std::isfinite(b.left) && std::isfinite(b.top) && std::isfinite(b.right) &&
                  std::isfinite(b.bottom) && b.left <= b.right && b.top <= b.bottom,
              "expected a box with left <= right and top <= bottom, got ", b.left, ", ", b.top, ", ", b.right,
              ", ", b.bottom);
}

void check_box(const LabelledBox& box) {
  check_box(box.box);
  GPUNN_CHECK(box.label >= 0, "expected a label of at least 0, got ", box.label);
}

void check_box(const Detection& detection) {
  check_box(LabelledBox{detection.box, detection.label});
  GPUNN_CHECK(!std::isnan(detection.score), "expected a score, got NaN");
}

double box_area(const Box& box) { return (box.right - box.left) * (box.bottom - box.top); }

double box_iou(const Box& a, const Box& b) {
  check_box(a);
  check_box(b);
  const double width = std::min(a.right, b.right) - std::max(a.left, b.left);
  const double height = std::min(a.bottom, b.bottom) - std::max(a.top, b.top);
  if (width <= 0 || height <= 0) return 0;
  const double both = width * height;
  return both / (box_area(a) + box_area(b) - both);
}

Box clipped(const Box& box, double width, double height) {
  check_box(box);
  GPUNN_CHECK(width >= 0 && height >= 0, "expected a picture of at least 0 x 0, got ", width, " x ", height);
  return {std::clamp(box.left, 0.0, width), std::clamp(box.top, 0.0, height),
          std::clamp(box.right, 0.0, width), std::clamp(box.bottom, 0.0, height)};
}

std::vector<std::size_t> suppress_repeated(std::span<const Detection> detections, double threshold,
                                           bool across_classes) {
  GPUNN_CHECK(threshold >= 0 && threshold <= 1, "expected a threshold in [0, 1], got ", threshold);
  for (const Detection& d : detections) check_box(d);
  std::vector<std::size_t> order(detections.size()), kept;
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return detections[a].score > detections[b].score; });
  for (const std::size_t i : order) {
    const bool repeated = std::any_of(kept.begin(), kept.end(), [&](std::size_t k) {
      return (across_classes || detections[k].label == detections[i].label) &&
             box_iou(detections[k].box, detections[i].box) > threshold;
    });
    if (!repeated) kept.push_back(i);
  }
  return kept;
}

}  // namespace gpunn
