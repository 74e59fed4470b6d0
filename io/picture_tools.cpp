#include "gpunn/io/picture_tools.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gpunn/core/error.h"

namespace gpunn {

namespace {

constexpr int kMaxSide = 16'384;

/// The weights of one pixel of the result.
struct Window {
  int first = 0;
  std::vector<double> weights;  // they sum to 1
};

std::vector<Window> windows(int from, int to) {
  const double scale = static_cast<double>(from) / to, support = std::max(1.0, scale);
  std::vector<Window> out(static_cast<std::size_t>(to));
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    Window& w = out[static_cast<std::size_t>(i)];
    w.first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int end = std::min(from, static_cast<int>(centre + support + 0.5));
    double sum = 0;
    for (int k = w.first; k < end; ++k) {
      w.weights.push_back(std::max(0.0, 1 - std::abs((k + 0.5 - centre) / support)));
      sum += w.weights.back();
    }
    for (double& weight : w.weights) weight /= sum;
  }
  return out;
}

}  // namespace

Picture resize_picture(const Picture& picture, int width, int height) {
  const auto is_side = [](int side) { return side >= 1 && side <= kMaxSide; };
  GPUNN_CHECK(is_side(width) && is_side(height) && is_side(picture.width) && is_side(picture.height),
              "resize_picture: expected sides of 1 to ", kMaxSide, ", got ", picture.width, " x ",
              picture.height, " to ", width, " x ", height);
  const auto channels = static_cast<std::size_t>(picture.channels),
             from_width = static_cast<std::size_t>(picture.width);
  GPUNN_CHECK((picture.channels == 1 || picture.channels == 3) &&
                  picture.pixels.size() == from_width * static_cast<std::size_t>(picture.height) * channels,
              "resize_picture: expected 1 or 3 channels and their pixels, got ", picture.channels, " and ",
              picture.pixels.size());
  if (width == picture.width && height == picture.height) return picture;
  const std::vector<Window> columns = windows(picture.width, width), rows = windows(picture.height, height);
  Picture out{width, height, picture.channels, {}};
  out.pixels.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * channels);
  std::vector<double> mixed(from_width * channels);  // one row of the result, at the old width
  for (const Window& row : rows) {
    std::fill(mixed.begin(), mixed.end(), 0.0);
    for (std::size_t k = 0; k < row.weights.size(); ++k) {
      const std::uint8_t* from =
          picture.pixels.data() + (static_cast<std::size_t>(row.first) + k) * mixed.size();
      for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += row.weights[k] * from[i];
    }
    for (const Window& column : columns) {
      for (std::size_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (std::size_t k = 0; k < column.weights.size(); ++k)
          sum += column.weights[k] * mixed[(static_cast<std::size_t>(column.first) + k) * channels + c];
        out.pixels.push_back(static_cast<std::uint8_t>(std::lround(std::clamp(sum, 0.0, 255.0))));
      }
    }
  }
  return out;
}

Picture planes_picture(std::span<const float> values, int channels, int height, int width, float low,
                       float high) {
  GPUNN_CHECK(channels == 1 || channels == 3, "planes_picture: expected 1 or 3 channels, got ", channels);
  // As one tall picture first: the check of sides, values and range is the grey picture's.
  const Picture stacked =
      gray_picture(values, height <= kMaxSide / channels ? channels * height : 0, width, low, high);
  if (channels == 1) return stacked;
  Picture out{width, height, 3, Bytes(stacked.pixels.size())};
  const std::size_t area = stacked.pixels.size() / 3;
  for (std::size_t i = 0; i < area; ++i)
    for (std::size_t c = 0; c < 3; ++c) out.pixels[3 * i + c] = stacked.pixels[c * area + i];
  return out;
}

}  // namespace gpunn
