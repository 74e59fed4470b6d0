// Pooling against PyTorch's (tests/golden/pool.py), forward and backward, in both orders.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/pool/pool.h"
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

struct GoldenCase {
  std::string op;
  std::vector<std::int64_t> numbers;

  Size2d pair(std::size_t i) const { return {numbers.at(i), numbers.at(i + 1)}; }
  PoolOptions options() const {
    return {.stride = pair(4),
            .padding = pair(6),
            .dilation = pair(8),
            .ceil_mode = numbers.at(10) != 0,
            .count_include_pad = numbers.at(11) != 0,
            .divisor_override = numbers.at(12)};
  }
  MaxPoolResult operator()(const Tensor& x) const {
    if (op == "max") return max_pool2d_with_indices(x, pair(2), options());
    if (op == "avg") return {avg_pool2d(x, pair(2), options()), {}};
    if (op == "adaptive_max") return adaptive_max_pool2d_with_indices(x, pair(2));
    if (op == "adaptive_avg") return {adaptive_avg_pool2d(x, pair(2)), {}};
    return {lp_pool2d(x, static_cast<double>(numbers.at(7)), pair(2), pair(4), numbers.at(6) != 0), {}};
  }
};

/// The script's input.
Tensor picture(const GoldenCase& c, Device device, Layout layout) {
  const Shape shape{2, 2, c.numbers.at(0), c.numbers.at(1)};
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const double v = std::nearbyint(4 * std::sin(0.77 * static_cast<double>(i))) / 4;
    values.push_back(static_cast<float>(c.op == "lp" ? std::abs(v) + 1 : v));
  }
  return Tensor::from(values, shape, {.device = device}).contiguous(layout);
}

std::map<std::string, std::vector<double>> run(const GoldenCase& c, Device device, Layout layout) {
  std::map<std::string, std::vector<double>> results;
  const auto keep = [&](const char* what, const auto& values) {
    results[what] = std::vector<double>(values.begin(), values.end());
  };
  const Tensor x = picture(c, device, layout).requires_grad_();
  MaxPoolResult y;
  try {
    y = c(x);
  } catch (const InvalidArgument&) {
    results["error"] = {};
    return results;
  }
  EXPECT_EQ(y.values.layout(), layout);
  keep("shape", std::vector<std::int64_t>{y.values.size(2), y.values.size(3)});
  keep("y", y.values.to_vector<float>());
  if (y.indices.defined()) keep("indices", y.indices.to_vector<std::int64_t>());
  std::vector<float> weights;
  for (std::int64_t i = 0; i < y.values.numel(); ++i)
    weights.push_back(static_cast<float>(std::cos(0.4 * static_cast<double>(i))));
  const Tensor outputs[] = {y.values}, inputs[] = {x};
  const Tensor weight[] = {Tensor::from(weights, y.values.shape(), {.device = device})};
  const Tensor dx = autograd::grad(outputs, inputs, weight)[0];
  if (c.op != "lp") {  // whose powers have an order of their own
    EXPECT_EQ(dx.layout(), layout) << c.op;
  }
  keep("dx", dx.to_vector<float>());
  return results;
}

class PoolGolden : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(PoolGolden);

TEST_P(PoolGolden, EqualsPyTorch) {
  const CsvTable golden = CsvTable::read(testing::golden_path("pool.csv"), {.header = true});
  const auto ops = golden.text(0), numbers = golden.text(1), whats = golden.text(2), values = golden.text(3);
  ASSERT_GT(ops.size(), 300u);
  for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
    std::map<std::string, std::vector<double>> results;
    for (std::size_t row = 0; row < ops.size(); ++row) {
      if (row == 0 || ops[row] != ops[row - 1] || numbers[row] != numbers[row - 1]) {
        GoldenCase c{ops[row], {}};
        for (const double v : numbers_in(numbers[row])) c.numbers.push_back(static_cast<std::int64_t>(v));
        results = run(c, device(), layout);
      }
      const std::string name = ops[row] + " " + numbers[row] + " " + whats[row];
      ASSERT_EQ(results.count(whats[row]), 1u) << name;
      const std::vector<double> got = results[whats[row]], expected = numbers_in(values[row]);
      ASSERT_EQ(got.size(), expected.size()) << name;
      for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], 2e-6 * std::max(1.0, std::abs(expected[i]))) << name << " " << i;
    }
  }
}

}  // namespace
}  // namespace gpunn
