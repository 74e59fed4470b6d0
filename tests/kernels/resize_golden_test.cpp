// Resizing against PyTorch's (tests/golden/resize.py), forward and backward, in both orders.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/resize/resize.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

std::vector<double> numbers_in(const std::string& text) {
  std::istringstream in(text);
  std::vector<double> values;
  for (double v; in >> v;) values.push_back(v);
  return values;
}

Tensor resized(const std::string& op, const Tensor& x, double a, double b) {
  const bool by_scale = op.rfind("scale ", 0) == 0;
  const std::string rule = by_scale ? op.substr(6) : op;
  const Interpolation mode = rule == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
  if (by_scale) return interpolate_scale(x, a, b, mode, rule == "corners");
  return interpolate(x, {static_cast<std::int64_t>(a), static_cast<std::int64_t>(b)}, mode,
                     rule == "corners");
}

std::map<std::string, std::vector<double>> run(const std::string& op, const std::vector<double>& numbers,
                                               Device device, Layout layout) {
  std::map<std::string, std::vector<double>> results;
  const auto keep = [&](const char* what, const auto& values) {
    results[what] = std::vector<double>(values.begin(), values.end());
  };
  const auto wave = [&](const Shape& shape, double step, double phase) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < shape.numel(); ++i)
      v.push_back(static_cast<float>(std::sin(step * static_cast<double>(i) + phase)));
    return Tensor::from(v, shape, {.device = device});
  };
  const Shape shape{1, 2, static_cast<std::int64_t>(numbers.at(0)), static_cast<std::int64_t>(numbers.at(1))};
  const Tensor x = wave(shape, 0.7, 0).contiguous(layout).requires_grad_();
  const Tensor y = resized(op, x, numbers.at(2), numbers.at(3));
  EXPECT_EQ(y.layout(), layout);
  keep("shape", std::vector<std::int64_t>{y.size(2), y.size(3)});
  keep("y", y.to_vector<float>());
  const Tensor outputs[] = {y}, inputs[] = {x}, weights[] = {wave(y.shape(), 0.4, std::acos(0.0))};
  const Tensor dx = autograd::grad(outputs, inputs, weights)[0];
  EXPECT_EQ(dx.layout(), layout);
  keep("dx", dx.to_vector<float>());
  return results;
}

class ResizeGolden : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ResizeGolden);

TEST_P(ResizeGolden, EqualsPyTorch) {
  const CsvTable golden = CsvTable::read(testing::golden_path("resize.csv"), {.header = true});
  const auto ops = golden.text(0), numbers = golden.text(1), whats = golden.text(2), values = golden.text(3);
  ASSERT_GT(ops.size(), 100u);
  for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
    std::map<std::string, std::vector<double>> results;
    for (std::size_t row = 0; row < ops.size(); ++row) {
      if (row == 0 || ops[row] != ops[row - 1] || numbers[row] != numbers[row - 1])
        results = run(ops[row], numbers_in(numbers[row]), device(), layout);
      const std::string name = ops[row] + " " + numbers[row] + " " + whats[row];
      const std::vector<double> got = results.at(whats[row]), expected = numbers_in(values[row]);
      ASSERT_EQ(got.size(), expected.size()) << name;
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], 3e-6 * std::max(1.0, std::abs(expected[i]))) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace gpunn
