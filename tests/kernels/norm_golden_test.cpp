// Normalisations against PyTorch's (tests/golden/norms.py): results, gradients and running statistics.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/norm/norm.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using Inputs = std::vector<Tensor>;
using Values = std::map<std::string, std::vector<float>>;

struct GoldenCase {
  Inputs inputs;
  std::function<Tensor(const Inputs&)> function;
};

/// The script's inputs and cases, on one device.
struct Data {
  Device device;

  Tensor pattern(const Shape& shape, int tensor, double scale = 1, double offset = 0) const {
    std::vector<float> v;
    for (std::int64_t i = 0; i < shape.numel(); ++i)
      v.push_back(static_cast<float>(offset + scale * std::sin(0.7 * static_cast<double>(i) + 1.3 * tensor)));
    return Tensor::from(v, shape, {.device = device});
  }
  Tensor x(const Shape& shape, int tensor = 0) const { return pattern(shape, tensor, 2, 0.5); }
  Tensor weight(const Shape& shape) const { return pattern(shape, 5, 0.5, 1); }
  Tensor bias(const Shape& shape) const { return pattern(shape, 6); }
  Tensor running_mean(std::int64_t C) const { return pattern({C}, 7, 0.5); }
  Tensor running_var(std::int64_t C) const { return pattern({C}, 8, 0.3, 1); }
  Inputs all(const Shape& shape, const Shape& weights) const {
    return {x(shape), weight(weights), bias(weights)};
  }

  GoldenCase batch(const Shape& shape, const BatchNormOptions& options) const {
    const std::int64_t C = shape[1];
    Inputs inputs = all(shape, {C});
    if (options.relu) inputs.push_back(pattern(shape, 9));
    const Tensor mean = running_mean(C), var = running_var(C);
    return {inputs, [=](const Inputs& in) {
              return batch_norm(in[0], mean, var, in[1], in[2], options, options.relu ? in[3] : Tensor());
            }};
  }
  GoldenCase layer(const Shape& shape, const Shape& normalized, double eps = 1e-5) const {
    return {all(shape, normalized),
            [=](const Inputs& in) { return layer_norm(in[0], normalized, in[1], in[2], eps); }};
  }
  GoldenCase rms(const Shape& shape, double eps) const {
    const Shape last{shape.back()};
    return {{x(shape), weight(last)}, [=](const Inputs& in) { return rms_norm(in[0], last, in[1], eps); }};
  }
  GoldenCase group(const Shape& shape, std::int64_t groups) const {
    return {all(shape, {shape[1]}),
            [=](const Inputs& in) { return group_norm(in[0], groups, in[1], in[2]); }};
  }
  GoldenCase instance(bool running, bool use_input_stats) const {
    const Tensor mean = running ? running_mean(3) : Tensor(), var = running ? running_var(3) : Tensor();
    return {all({2, 3, 4, 2}, {3}),
            [=](const Inputs& in) { return instance_norm(in[0], mean, var, in[1], in[2], use_input_stats); }};
  }
  GoldenCase local(const Shape& shape, std::int64_t size, double alpha, double beta, double k) const {
    return {{x(shape)}, [=](const Inputs& in) { return local_response_norm(in[0], size, alpha, beta, k); }};
  }
};

std::map<std::string, GoldenCase> cases_of(const Data& d) {
  const Shape picture{2, 3, 4, 5}, grouped{2, 6, 3, 2};
  const BatchNormOptions training{.training = true}, relu{.relu = true};
  return {
      {"batch 2-D", d.batch({6, 3}, training)},
      {"batch 3-D", d.batch({4, 3, 5}, training)},
      {"batch 4-D", d.batch(picture, training)},
      {"batch eps", d.batch(picture, {.training = true, .eps = 0.1})},
      {"batch eval 2-D", d.batch({6, 3}, {})},
      {"batch eval 4-D", d.batch(picture, {})},
      {"batch plain",
       {{d.x(picture)}, [=](const Inputs& in) { return batch_norm(in[0], {}, {}, {}, {}, training); }}},
      {"batch relu residual", d.batch(picture, {.training = true, .relu = true})},
      {"batch eval relu residual", d.batch(picture, relu)},
      {"layer 1", d.layer({4, 3, 5}, {5})},
      {"layer 2", d.layer({4, 3, 5}, {3, 5})},
      {"layer eps", d.layer({4, 3, 5}, {5}, 0.1)},
      {"layer plain", {{d.x({4, 9})}, [](const Inputs& in) { return layer_norm(in[0], {9}); }}},
      {"rms", d.rms({4, 3, 5}, 1e-5)},
      {"rms eps", d.rms({4, 9}, 0.1)},
      {"group 3", d.group(grouped, 3)},
      {"group 1", d.group(grouped, 1)},
      {"group 6", d.group(grouped, 6)},
      {"group 2-D", d.group({4, 6}, 2)},
      {"instance", d.instance(false, true)},
      {"instance running", d.instance(true, true)},
      {"instance eval", d.instance(true, false)},
      {"local 3", d.local({2, 7, 3}, 3, 0.5, 0.75, 1)},
      {"local 4", d.local({2, 7, 3}, 4, 0.5, 0.5, 2)},
      {"local 9", d.local({2, 3, 2, 2}, 9, 0.5, 0.75, 1)},
  };
}

/// Running statistics after each of three steps, by the case whose name they share.
Values running_of(const Data& d) {
  Values results;
  const auto steps = [&](const char* name, const Shape& shape, auto step) {
    const Tensor mean = d.running_mean(shape[1]), var = d.running_var(shape[1]);
    for (int s = 0; s < 3; ++s) {
      step(d.x(shape, s), mean, var);
      for (const Tensor& t : {mean, var})
        for (const float v : t.to_vector<float>()) results[name].push_back(v);
    }
  };
  steps("batch 2-D", {6, 3}, [](const Tensor& x, const Tensor& mean, const Tensor& var) {
    batch_norm(x, mean, var, {}, {}, {.training = true});
  });
  steps("batch 4-D", {2, 3, 4, 5}, [](const Tensor& x, const Tensor& mean, const Tensor& var) {
    batch_norm(x.contiguous(Layout::channels_last), mean, var, {}, {}, {.training = true, .momentum = 0.3});
  });
  steps("instance running", {2, 3, 4, 2}, [](const Tensor& x, const Tensor& mean, const Tensor& var) {
    instance_norm(x, mean, var, {}, {}, true, 0.2);
  });
  return results;
}

/// "y" and gradients "grad0", "grad1", ... of one case.
Values run(const GoldenCase& c, Layout layout) {
  Inputs leaves, inputs;
  for (const Tensor& t : c.inputs) {
    leaves.push_back(t.clone().requires_grad_());
    inputs.push_back(t.dim() == 4 ? leaves.back().contiguous(layout) : leaves.back());
  }
  const Tensor y = c.function(inputs);
  std::vector<float> weights;
  for (std::int64_t i = 0; i < y.numel(); ++i)
    weights.push_back(static_cast<float>(std::cos(0.4 * static_cast<double>(i))));
  y.backward(Tensor::from(weights, y.shape(), {.device = y.device()}));
  Values results{{"y", y.to_vector<float>()}};
  for (std::size_t i = 0; i < leaves.size(); ++i)
    results["grad" + std::to_string(i)] = leaves[i].grad().to_vector<float>();
  return results;
}

class NormGolden : public testing::DeviceTest {
 protected:
  void expect_golden(Layout layout) {
    const Data data{device()};
    const std::map<std::string, GoldenCase> cases = cases_of(data);
    const Values running = running_of(data);
    const CsvTable golden = CsvTable::read(testing::golden_path("norms.csv"), {.header = true});
    const std::vector<std::string> names = golden.text(0), whats = golden.text(1);
    const std::vector<std::int64_t> elements = golden.integers(2);
    const std::vector<double> values = golden.numbers(3);
    ASSERT_GT(names.size(), 3000u);
    std::map<std::string, Values> results;
    for (const auto& [name, c] : cases) results[name] = run(c, layout);
    for (const auto& [name, v] : running) results[name]["running"] = v;
    for (std::size_t row = 0; row < names.size(); ++row) {
      const float got = results.at(names[row]).at(whats[row]).at(static_cast<std::size_t>(elements[row]));
      // Sums of some hundred products of numbers near 1, which may cancel.
      EXPECT_NEAR(got, values[row], 1e-5 * std::max(std::abs(values[row]), 0.3))
          << names[row] << " " << whats[row] << " " << elements[row];
    }
  }
};
GPUNN_ON_EVERY_DEVICE(NormGolden);

TEST_P(NormGolden, EqualsPyTorch) { expect_golden(Layout::contiguous); }
TEST_P(NormGolden, EqualsPyTorchInChannelsLastOrder) { expect_golden(Layout::channels_last); }

}  // namespace
}  // namespace gpunn
