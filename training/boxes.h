#pragma once
// Boxes in pictures: overlap, clipping, suppression of repeated ones.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

/// A rectangle in pixels, right and bottom exclusive: its width is right - left, as torchvision counts.
struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;
};

/// A box of a class; labels are 0 and up.
struct LabelledBox {
  Box box{};
  std::int64_t label = 0;
};

/// A predicted box.
struct Detection {
  Box box{};
  std::int64_t label = 0;
  double score = 0;
};

/// Throw InvalidArgument for corners that are not finite or the wrong way round, negative labels, and scores
/// that are NaN.
GPUNN_API void check_box(const Box& box);
GPUNN_API void check_box(const LabelledBox& box);
GPUNN_API void check_box(const Detection& detection);

GPUNN_API double box_area(const Box& box);
/// Area of the overlap over that of the union; 0 when both boxes are empty. Throws as check_box().
GPUNN_API double box_iou(const Box& a, const Box& b);

/// The part of `box` within a picture, [0, width] x [0, height]; a box outside becomes one without area at
/// the edge. Throws as check_box(), and InvalidArgument for sizes below 0.
GPUNN_API Box clipped(const Box& box, double width, double height);

/// Greedy suppression (torchvision's batched_nms): from the highest score down, a detection is kept unless a
/// kept one of its class overlaps it by more than `threshold`. Equal scores: the first in the list goes
/// first. Gives the places of the kept ones, by falling score. Throws InvalidArgument for a threshold outside
/// [0, 1] and as check_box().
GPUNN_API std::vector<std::size_t> suppress_repeated(std::span<const Detection> detections, double threshold,
                                                     bool across_classes = false);

}  // namespace gpunn
