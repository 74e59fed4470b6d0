#include "gpunn/models/detector.h"

#include <algorithm>
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/norm.h"
#include "gpunn/layers/pool.h"

namespace gpunn {

namespace {

constexpr std::int64_t kBoxNumbers = 5;
constexpr double kRepeatIou = 0.5;

Sequential backbone_of(const DetectorOptions& options) {
  GPUNN_CHECK(!options.widths.empty() && options.widths.size() <= 10,
              "expected 1 to 10 widths for Detector, got ", options.widths.size());
  Sequential layers;
  std::int64_t in = options.in_channels;
  for (const std::int64_t width : options.widths) {
    layers.add(Conv2d(in, width, 3, {.padding = 1, .bias = false}));
    layers.add(BatchNorm2d(width));
    layers.add(ReLU());
    layers.add(MaxPool2d(2));
    in = width;
  }
  return layers;
}

Sequential head_of(const DetectorOptions& options) {
  GPUNN_CHECK(options.num_classes >= 1, "expected at least one class for Detector, got ",
              options.num_classes);
  Conv2d last(options.head_width, kBoxNumbers + options.num_classes, 1);
  {
    NoGrad no_grad;
    last.bias.narrow(0, 0, 1).fill_(-2);
  }
  return Sequential(Conv2d(options.widths.back(), options.head_width, 3, {.padding = 1, .bias = false}),
                    BatchNorm2d(options.head_width), ReLU(), std::move(last));
}

// The grid of a prediction.
struct Grid {
  std::int64_t pictures, rows, columns, classes, stride;
  std::int64_t cells() const { return pictures * rows * columns; }
  double height() const { return static_cast<double>(rows * stride); }
  double width() const { return static_cast<double>(columns * stride); }
};

Grid grid_of(const Tensor& prediction, std::int64_t classes, std::int64_t stride) {
  GPUNN_CHECK(prediction.defined() && prediction.dim() == 4 && prediction.size(1) == kBoxNumbers + classes,
              "expected predictions [N, ", kBoxNumbers + classes, ", rows, columns], got ",
              prediction.defined() ? to_string(prediction.shape()) : "an undefined tensor");
  return {prediction.size(0), prediction.size(2), prediction.size(3), classes, stride};
}

// What responsible cells should say.
struct Targets {
  std::vector<std::int64_t> cells, labels;
  std::vector<float> boxes;  // [cells, 4]: centre in the cell, extents in parts of the picture
};

// The cell of a box, in its own picture.
std::int64_t cell_of(const LabelledBox& labelled, const Grid& grid) {
  check_box(labelled);
  const Box& b = labelled.box;
  const double x = (b.left + b.right) / 2, y = (b.top + b.bottom) / 2;
  GPUNN_CHECK(box_area(b) > 0 && x >= 0 && y >= 0 && x < grid.width() && y < grid.height(),
              "expected a box with its centre in a picture of ", grid.rows * grid.stride, " x ",
              grid.columns * grid.stride, ", got columns ", b.left, " to ", b.right, " and rows ", b.top,
              " to ", b.bottom);
  GPUNN_CHECK(labelled.label < grid.classes, "expected a label from 0 to ", grid.classes - 1, ", got ",
              labelled.label);
  const auto side = static_cast<double>(grid.stride);
  return static_cast<std::int64_t>(y / side) * grid.columns + static_cast<std::int64_t>(x / side);
}

Targets targets_of(std::span<const std::vector<LabelledBox>> boxes, const Grid& grid) {
  Targets out;
  const auto side = static_cast<double>(grid.stride);
  std::vector<const LabelledBox*> owner(static_cast<std::size_t>(grid.rows * grid.columns));
  for (std::size_t n = 0; n < boxes.size(); ++n) {
    std::fill(owner.begin(), owner.end(), nullptr);
    for (const LabelledBox& b : boxes[n]) {
      const LabelledBox*& mine = owner[static_cast<std::size_t>(cell_of(b, grid))];
      if (!mine || box_area(b.box) > box_area(mine->box)) mine = &b;
    }
    for (std::size_t cell = 0; cell < owner.size(); ++cell) {
      if (!owner[cell]) continue;
      const Box& b = owner[cell]->box;
      out.cells.push_back(static_cast<std::int64_t>(n * owner.size() + cell));
      out.labels.push_back(owner[cell]->label);
      const double x = (b.left + b.right) / 2 / side, y = (b.top + b.bottom) / 2 / side;
      for (const double value : {x - std::floor(x), y - std::floor(y), (b.right - b.left) / grid.width(),
                                 (b.bottom - b.top) / grid.height()})
        out.boxes.push_back(static_cast<float>(value));
    }
  }
  return out;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

std::vector<Detection> without_repeats(const std::vector<Detection>& boxes) {
  std::vector<Detection> kept;
  for (const std::size_t i : suppress_repeated(boxes, kRepeatIou)) kept.push_back(boxes[i]);
  return kept;
}

}  // namespace

Detector::Detector(const DetectorOptions& options)
    : backbone(backbone_of(options)),
      head(head_of(options)),
      classes_(options.num_classes),
      stride_(std::int64_t{1} << options.widths.size()) {}

Tensor Detector::forward(const Tensor& x) {
  GPUNN_CHECK(x.defined() && x.dim() == 4 && x.size(2) % stride_ == 0 && x.size(3) % stride_ == 0,
              "expected pictures [N, C, H, W] with H and W multiples of ", stride_, ", got ",
              x.defined() ? to_string(x.shape()) : "an undefined tensor");
  return head(backbone(x));
}

Tensor Detector::loss(const Tensor& prediction, std::span<const std::vector<LabelledBox>> boxes,
                      const DetectionLossOptions& options) const {
  const Grid grid = grid_of(prediction, classes_, stride_);
  GPUNN_CHECK(static_cast<std::int64_t>(boxes.size()) == grid.pictures, "expected the boxes of ",
              grid.pictures, " pictures, got ", boxes.size());
  const Targets targets = targets_of(boxes, grid);
  const Device device = prediction.device();
  const Tensor cells = prediction.permute({0, 2, 3, 1}).reshape({grid.cells(), kBoxNumbers + classes_});

  std::vector<float> here(static_cast<std::size_t>(grid.cells()), 0.0f);
  std::vector<float> weights(here.size(), static_cast<float>(options.no_object));
  for (const std::int64_t cell : targets.cells) {
    here[static_cast<std::size_t>(cell)] = 1;
    weights[static_cast<std::size_t>(cell)] = 1;
  }
  const auto on_device = [&](const auto& values, const Shape& shape) {
    return Tensor::from(values, shape).to(device);
  };
  const auto pictures = static_cast<double>(std::max<std::int64_t>(grid.pictures, 1));
  Tensor total = binary_cross_entropy_with_logits(
                     cells.select(1, 0), on_device(here, {grid.cells()}).to(prediction.dtype()),
                     Reduction::sum, on_device(weights, {grid.cells()}).to(prediction.dtype())) /
                 pictures;
  const auto objects = static_cast<std::int64_t>(targets.cells.size());
  if (objects == 0) return total;
  // The indices were made here: they need no check on the device.
  const Tensor rows = index_select(cells, 0, on_device(targets.cells, {objects}), {.check_indices = false});
  const Tensor places = sigmoid(rows.narrow(1, 1, 4));
  const Tensor wanted = on_device(targets.boxes, {objects, 4}).to(prediction.dtype());
  total = total + mse_loss(places, wanted, Reduction::sum) * (options.box / pictures);
  const Tensor labels = cross_entropy(rows.narrow(1, kBoxNumbers, classes_),
                                      on_device(targets.labels, {objects}), {.reduction = Reduction::sum});
  return total + labels * (options.label / pictures);
}

std::vector<std::vector<Detection>> Detector::decode(const Tensor& prediction,
                                                     const DecodeOptions& options) const {
  const Grid grid = grid_of(prediction, classes_, stride_);
  const std::vector<float> values = prediction.detach().to(DType::f32).to_vector<float>();
  const std::int64_t plane = grid.rows * grid.columns;
  const auto side = static_cast<double>(grid.stride);
  std::vector<std::vector<Detection>> found(static_cast<std::size_t>(grid.pictures));
  for (std::int64_t n = 0; n < grid.pictures; ++n) {
    std::vector<Detection> boxes;
    for (std::int64_t cell = 0; cell < plane; ++cell) {
      const auto number = [&](std::int64_t channel) {
        const std::int64_t i = (n * (kBoxNumbers + classes_) + channel) * plane + cell;
        return static_cast<double>(values[static_cast<std::size_t>(i)]);
      };
      std::int64_t label = 0;
      for (std::int64_t c = 1; c < classes_; ++c)
        if (number(kBoxNumbers + c) > number(kBoxNumbers + label)) label = c;
      double others = 0;
      for (std::int64_t c = 0; c < classes_; ++c)
        others += std::exp(number(kBoxNumbers + c) - number(kBoxNumbers + label));
      const double score = logistic(number(0)) / others;
      if (!(score >= options.threshold)) continue;
      const double x = (static_cast<double>(cell % grid.columns) + logistic(number(1))) * side;
      const double y = (static_cast<double>(cell / grid.columns) + logistic(number(2))) * side;
      const double w = logistic(number(3)) * grid.width(), h = logistic(number(4)) * grid.height();
      boxes.push_back({{x - w / 2, y - h / 2, x + w / 2, y + h / 2}, label, score});
    }
    found[static_cast<std::size_t>(n)] =
        options.filter ? options.filter(std::move(boxes)) : without_repeats(boxes);
  }
  return found;
}

}  // namespace gpunn
