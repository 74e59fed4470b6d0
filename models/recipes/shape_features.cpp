#include "gpunn/models/recipes/detail/shape_features.h"

#include <cstdint>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/op.h"
#include "gpunn/layers/functional.h"

namespace gpunn::detail {

namespace {

constexpr float kInk = 0.4F;    // from here on a pixel is ink
constexpr double kTiny = 1e-6;  // keeps a blank picture's quotients finite

constexpr ShapeFeature kFeatures[] = {
    {"ink", "mean of all pixels"},
    {"width", "share of the columns with ink"},
    {"height", "share of the rows with ink"},
    {"left-right", "mean difference from the picture mirrored left to right, relative to the ink"},
    {"top-bottom", "mean difference from the picture mirrored top to bottom, relative to the ink"},
    {"slant", "correlation of the ink's row and column"},
    {"holes", "areas of paper that ink encloses"}};

// Columns 1, r, c, rr, rc, cc of each pixel, r and c from -1/2 to 1/2: [H * W, 6].
Tensor moment_weights(std::int64_t height, std::int64_t width, Device device) {
  std::vector<float> w;
  w.reserve(static_cast<std::size_t>(height * width) * 6);
  for (std::int64_t i = 0; i < height; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      const float r = (static_cast<float>(i) + 0.5F) / static_cast<float>(height) - 0.5F;
      const float c = (static_cast<float>(j) + 0.5F) / static_cast<float>(width) - 0.5F;
      for (const float v : {1.0F, r, c, r * r, r * c, c * c}) w.push_back(v);
    }
  }
  return Tensor::from(w, {height * width, 6}, {.device = device});
}

Tensor slant_of(const Tensor& pictures) {
  const std::int64_t height = pictures.size(1), width = pictures.size(2);
  const Tensor sums = matmul(pictures.reshape({pictures.size(0), height * width}),
                             moment_weights(height, width, pictures.device()));  // [N, 6]
  const Tensor total = sums.select(1, 0) + kTiny;
  const auto moment = [&](int i) { return sums.select(1, i) / total; };
  const Tensor r = moment(1), c = moment(2);
  const Tensor variance_r = moment(3) - square(r), variance_c = moment(5) - square(c);
  return (moment(4) - r * c) / (sqrt(clamp(variance_r * variance_c, 0.0)) + kTiny);
}

Tensor holes_of(const Tensor& pictures) {
  const std::vector<float> pixels = pictures.to_vector<float>();
  const auto height = static_cast<int>(pictures.size(1)), width = static_cast<int>(pictures.size(2));
  const auto area = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  std::vector<float> holes;
  for (std::int64_t n = 0; n < pictures.size(0); ++n)
    holes.push_back(static_cast<float>(
        count_holes(std::span(pixels).subspan(static_cast<std::size_t>(n) * area, area), height, width)));
  return Tensor::from(holes, {pictures.size(0)}, {.device = pictures.device()});
}

}  // namespace

std::span<const ShapeFeature> shape_feature_names() noexcept { return kFeatures; }

int count_holes(std::span<const float> picture, int height, int width) {
  std::vector<char> seen(picture.size());
  std::vector<int> stack;
  const auto paper = [&](int i) { return !(picture[static_cast<std::size_t>(i)] >= kInk); };
  int holes = 0;
  for (int start = 0; start < height * width; ++start) {
    if (!paper(start) || seen[static_cast<std::size_t>(start)]) continue;
    bool enclosed = true;
    const auto visit = [&](int i) {
      if (!paper(i) || seen[static_cast<std::size_t>(i)]) return;
      seen[static_cast<std::size_t>(i)] = 1;
      stack.push_back(i);
    };
    visit(start);
    while (!stack.empty()) {
      const int i = stack.back(), row = i / width, column = i % width;
      stack.pop_back();
      if (row == 0 || column == 0 || row == height - 1 || column == width - 1) enclosed = false;
      if (row > 0) visit(i - width);
      if (row < height - 1) visit(i + width);
      if (column > 0) visit(i - 1);
      if (column < width - 1) visit(i + 1);
    }
    holes += enclosed ? 1 : 0;
  }
  return holes;
}

Tensor shape_features(const Tensor& pictures) {
  GPUNN_CHECK(pictures.defined() && pictures.dim() == 3 && pictures.dtype() == DType::f32,
              "expected f32 pictures [N, H, W]");
  NoGrad no_grad;
  const Tensor ink = mean(pictures, {1, 2});
  const Tensor marked = ge(pictures, kInk).to(DType::f32);
  const auto asymmetry = [&](int dim) {
    return mean(abs(pictures - flip(pictures, {dim})), {1, 2}) / (ink + kTiny);
  };
  const Tensor columns[] = {ink,
                            mean(amax(marked, {1}), {1}),
                            mean(amax(marked, {2}), {1}),
                            asymmetry(2),
                            asymmetry(1),
                            slant_of(pictures),
                            holes_of(pictures)};
  return stack(columns, 1);
}

}  // namespace gpunn::detail
