// Ten training steps of the MLP family against losses stored from PyTorch (tests/golden/mlp_trajectory.py).
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "gpunn/gpunn.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

constexpr std::int64_t kBatch = 16;

/// scale * sin(0.7 i + 1.3 t), the formula of the script.
Tensor pattern(const Shape& shape, int tensor, double scale) {
  std::vector<float> v(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(scale * std::sin(0.7 * static_cast<double>(i) + 1.3 * tensor));
  return Tensor::from(v, shape);
}

enum class Kind { cross_entropy, mse, bce };

struct Family {
  const char* name;
  std::vector<std::int64_t> sizes;
  Activation activation;
  Kind kind;
  double lr, momentum;
};

const Family kFamilies[] = {
    {"fashion-mlp", {784, 256, 128, 64, 10}, Activation::relu, Kind::cross_entropy, 0.01, 0},
    {"mnist-mlp", {784, 128, 10}, Activation::relu, Kind::cross_entropy, 0.1, 0},
    {"logistic", {784, 10}, Activation::none, Kind::cross_entropy, 0.01, 0},
    {"momentum-tanh", {20, 16, 8, 5}, Activation::tanh, Kind::mse, 0.05, 0.9},
    {"sigmoid-bce", {12, 9, 3}, Activation::sigmoid, Kind::bce, 0.5, 0.9},
};

Tensor target_of(const Family& f) {
  const std::int64_t classes = f.sizes.back();
  if (f.kind == Kind::mse) return pattern({kBatch, classes}, 51, 1);
  if (f.kind == Kind::bce) {
    auto v = pattern({kBatch, classes}, 51, 1).to_vector<float>();
    for (float& x : v) x = x > 0 ? 1.0f : 0.0f;
    return Tensor::from(v, {kBatch, classes});
  }
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < kBatch; ++i) labels.push_back(i * 7 % classes);
  return Tensor::from(labels, {kBatch});
}

Tensor loss_of(const Family& f, const Tensor& out, const Tensor& target) {
  if (f.kind == Kind::mse) return mse_loss(out, target);
  if (f.kind == Kind::bce) return binary_cross_entropy_with_logits(out, target);
  return cross_entropy(out, target);
}

std::vector<double> losses_of(const Family& f, Device device, int steps) {
  std::vector<Tensor> weights, biases, parameters;
  for (int n = 0; n + 1 < static_cast<int>(f.sizes.size()); ++n) {
    const std::int64_t in = f.sizes[static_cast<std::size_t>(n)],
                       out = f.sizes[static_cast<std::size_t>(n) + 1];
    weights.push_back(
        pattern({out, in}, 2 * n, 1 / std::sqrt(static_cast<double>(in))).to(device).requires_grad_());
    biases.push_back(pattern({out}, 2 * n + 1, 0.1).to(device).requires_grad_());
    parameters.insert(parameters.end(), {weights.back(), biases.back()});
  }
  SGD optimizer(parameters, {.lr = f.lr, .momentum = f.momentum});
  const Tensor x = pattern({kBatch, f.sizes[0]}, 50, 0.2).to(device), target = target_of(f).to(device);
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    optimizer.zero_grad();
    Tensor h = x;
    for (std::size_t n = 0; n < weights.size(); ++n)
      h = linear(h, weights[n], biases[n], n + 1 < weights.size() ? f.activation : Activation::none);
    const Tensor loss = loss_of(f, h, target);
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item());
  }
  return losses;
}

class TrajectoryTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TrajectoryTest);

TEST_P(TrajectoryTest, EqualsPyTorchWithin1e4) {
  const CsvTable golden = CsvTable::read(testing::golden_path("mlp_trajectory.csv"), {.header = true});
  const auto names = golden.text(0);
  const auto values = golden.numbers(2);
  std::map<std::string, std::vector<double>> stored;
  for (std::size_t i = 0; i < names.size(); ++i) stored[names[i]].push_back(values[i]);
  for (const Family& f : kFamilies) {
    const auto& want = stored.at(f.name);
    ASSERT_EQ(want.size(), 10u);
    // The emulated GPU multiplies slowly: the large nets show their first steps there.
    const bool large = f.sizes.size() > 4 && !device().is_cpu();
    const auto got = losses_of(f, device(), large ? 3 : 10);
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 1e-4 * want[i]) << f.name << ", step " << i;
  }
}

}  // namespace
}  // namespace gpunn
