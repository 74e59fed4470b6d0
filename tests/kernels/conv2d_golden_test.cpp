// Convolutions against PyTorch's (tests/golden/convolutions.py), forward and backward, in both orders.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/conv2d/conv2d.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

struct GoldenCase {
  std::vector<Shape> shapes;  // picture, filters, bias
  std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)> run;
};

GoldenCase plain(std::vector<Shape> shapes, Conv2dOptions o) {
  return {std::move(shapes),
          [o](const Tensor& x, const Tensor& w, const Tensor& b) { return conv2d(x, w, b, o); }};
}
GoldenCase turned(std::vector<Shape> shapes, ConvTranspose2dOptions o) {
  return {std::move(shapes),
          [o](const Tensor& x, const Tensor& w, const Tensor& b) { return conv_transpose2d(x, w, b, o); }};
}
GoldenCase series(std::vector<Shape> shapes, Conv1dOptions o) {
  return {std::move(shapes),
          [o](const Tensor& x, const Tensor& w, const Tensor& b) { return conv1d(x, w, b, o); }};
}

std::map<std::string, GoldenCase> cases() {
  return {
      {"conv2d", plain({{2, 3, 6, 5}, {4, 3, 3, 3}, {4}}, {.padding = 1})},
      {"conv2d window",
       plain({{1, 2, 9, 8}, {3, 2, 3, 2}, {3}}, {.stride = {2, 3}, .padding = {2, 1}, .dilation = {2, 3}})},
      {"conv2d groups",
       plain({{2, 4, 5, 4}, {6, 2, 2, 3}, {6}}, {.stride = 2, .padding = {1, 2}, .groups = 2})},
      {"conv2d depthwise",
       plain({{1, 3, 5, 7}, {6, 1, 3, 3}}, {.padding = 2, .dilation = {1, 2}, .groups = 3})},
      {"conv2d same even", plain({{1, 2, 5, 6}, {2, 2, 4, 2}, {2}}, {.padding = Padding2d::same()})},
      {"conv2d same dilation",
       plain({{1, 1, 6, 7}, {2, 1, 2, 4}}, {.padding = Padding2d::same(), .dilation = {3, 1}})},
      {"conv2d unbatched", plain({{2, 5, 4}, {3, 2, 2, 2}, {3}}, {.stride = {1, 2}})},
      {"conv_transpose2d",
       turned({{2, 3, 3, 4}, {3, 2, 3, 3}, {2}}, {.stride = 2, .padding = 1, .output_padding = 1})},
      {"conv_transpose2d groups",
       turned({{1, 4, 3, 2}, {4, 3, 2, 3}, {6}},
              {.stride = {3, 2}, .padding = {0, 1}, .output_padding = {2, 0}, .groups = 2})},
      {"conv_transpose2d dilation",
       turned({{1, 2, 4, 3}, {2, 3, 3, 2}},
              {.stride = {1, 2}, .padding = {1, 2}, .output_padding = {1, 2}, .dilation = {2, 3}})},
      {"conv_transpose2d unbatched", turned({{2, 3, 3}, {2, 1, 2, 2}, {1}}, {.stride = {2, 1}})},
      {"conv1d", series({{2, 3, 9}, {4, 3, 3}, {4}}, {.stride = 2, .padding = 2, .dilation = 2})},
      {"conv1d same", series({{1, 4, 7}, {6, 2, 4}, {6}}, {.groups = 2, .same = true})},
      {"conv1d unbatched", series({{2, 6}, {3, 2, 3}}, {})},
  };
}

/// "y" and gradients "d0", "d1", "d2" of one case.
std::map<std::string, std::vector<float>> run(const GoldenCase& c, Device device, Layout layout) {
  std::vector<Tensor> leaves(3);
  for (std::size_t t = 0; t < c.shapes.size(); ++t) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < c.shapes[t].numel(); ++i)
      v.push_back(static_cast<float>(std::sin(0.7 * static_cast<double>(i) + 1.3 * static_cast<double>(t))));
    leaves[t] = Tensor::from(v, c.shapes[t], {.device = device, .requires_grad = true});
  }
  const Tensor x = c.shapes[0].rank() == 4 ? leaves[0].contiguous(layout) : leaves[0];
  const Tensor y = c.run(x, leaves[1], leaves[2]);
  std::vector<float> weights;
  for (std::int64_t i = 0; i < y.numel(); ++i)
    weights.push_back(static_cast<float>(std::cos(0.4 * static_cast<double>(i))));
  y.backward(Tensor::from(weights, y.shape(), {.device = device}));
  std::map<std::string, std::vector<float>> results{{"y", y.to_vector<float>()}};
  for (std::size_t t = 0; t < c.shapes.size(); ++t)
    results["d" + std::to_string(t)] = leaves[t].grad().to_vector<float>();
  return results;
}

class Conv2dGolden : public testing::DeviceTest {
 protected:
  void expect_equal(Layout layout) const {
    const CsvTable golden = CsvTable::read(testing::golden_path("convolutions.csv"), {.header = true});
    const std::vector<std::string> names = golden.text(0), whats = golden.text(1);
    const std::vector<std::int64_t> elements = golden.integers(2);
    const std::vector<double> values = golden.numbers(3);
    const std::map<std::string, GoldenCase> all = cases();
    std::map<std::string, std::vector<float>> results;
    std::size_t seen = 0, numbers = 0;
    for (std::size_t row = 0; row < names.size(); ++row) {
      if (row == 0 || names[row] != names[row - 1]) {
        results = run(all.at(names[row]), device(), layout);
        ++seen;
        for (const auto& [what, v] : results) numbers += v.size();
      }
      const float got = results.at(whats[row]).at(static_cast<std::size_t>(elements[row]));
      EXPECT_NEAR(got, values[row], 1e-5 * std::max(std::abs(values[row]), 1.0))
          << names[row] << " " << whats[row] << " " << elements[row];
    }
    EXPECT_EQ(seen, all.size());
    EXPECT_EQ(numbers, values.size());
  }
};
GPUNN_ON_EVERY_DEVICE(Conv2dGolden);

TEST_P(Conv2dGolden, EqualsPyTorch) { expect_equal(Layout::contiguous); }
TEST_P(Conv2dGolden, EqualsPyTorchInChannelsLast) { expect_equal(Layout::channels_last); }

}  // namespace
}  // namespace gpunn
