// Losses and the softmax family against PyTorch's (tests/golden/losses.py), forward and backward.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/loss/loss.h"
#include "gpunn/kernels/softmax/softmax.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using Inputs = std::vector<Tensor>;

/// The script's inputs, on one device.
struct Data {
  Device device;

  Tensor pattern(const Shape& shape, int tensor, double scale = 1, double offset = 0) const {
    std::vector<float> v;
    for (std::int64_t i = 0; i < shape.numel(); ++i)
      v.push_back(static_cast<float>(offset + scale * std::sin(0.7 * static_cast<double>(i) + 1.3 * tensor)));
    return Tensor::from(v, shape, {.device = device});
  }
  Tensor numbers(int t) const { return pattern({4, 3}, t); }
  Tensor times(int t, float factor) const { return scaled(numbers(t), factor); }
  Tensor probabilities(int t) const { return pattern({4, 3}, t, 0.4, 0.5); }
  /// `factor` times rounded numbers, rounded again, as the script does it.
  Tensor scaled(const Tensor& x, double factor, double offset = 0) const {
    std::vector<float> v = x.to_vector<float>();
    for (float& value : v) value = static_cast<float>(static_cast<double>(value) * factor + offset);
    return Tensor::from(v, x.shape(), {.device = device});
  }
  Tensor signs(const Shape& shape) const {
    std::vector<float> v;
    for (std::int64_t i = 0; i < shape.numel(); ++i) v.push_back(i % 4 == 1 || i % 4 == 2 ? -1.0f : 1.0f);
    return Tensor::from(v, shape, {.device = device});
  }
  Tensor classes(const std::vector<std::int64_t>& v, const Shape& shape) const {
    return Tensor::from(v, shape, {.device = device});
  }
  Tensor classes() const { return classes({2, 0, -100, 1}, {4}); }
  Tensor cube_classes() const { return classes({0, 1, 2, -100, 2, 1, 0, 0}, {2, 4}); }
  Tensor cube() const { return pattern({2, 3, 4}, 0, 2); }
  Tensor weight() const { return pattern({3}, 9, 0.5, 1); }
};

struct GoldenCase {
  Inputs inputs;
  std::function<Tensor(const Inputs&, Reduction)> loss;
};

std::map<std::string, GoldenCase> elementwise_cases(const Data& d) {
  const Inputs numbers{d.numbers(0), d.numbers(1)}, chances{d.probabilities(0), d.probabilities(1)};
  const Inputs logs{d.scaled(d.probabilities(0), -1), d.probabilities(1)};
  const Inputs both_logs{logs[0], d.scaled(d.probabilities(1), -1)};
  const Tensor weight = d.weight(), pos = d.pattern({3}, 8, 1, 2);
  return {
      {"mse", {numbers, [](const Inputs& in, Reduction r) { return mse_loss(in[0], in[1], r); }}},
      {"l1", {numbers, [](const Inputs& in, Reduction r) { return l1_loss(in[0], in[1], r); }}},
      {"smooth_l1", {numbers, [](const Inputs& in, Reduction r) { return smooth_l1_loss(in[0], in[1], r); }}},
      {"smooth_l1 beta",
       {numbers, [](const Inputs& in, Reduction r) { return smooth_l1_loss(in[0], in[1], r, 0.3); }}},
      {"huber", {numbers, [](const Inputs& in, Reduction r) { return huber_loss(in[0], in[1], r); }}},
      {"huber delta",
       {numbers, [](const Inputs& in, Reduction r) { return huber_loss(in[0], in[1], r, 0.4); }}},
      {"bce", {chances, [](const Inputs& in, Reduction r) { return binary_cross_entropy(in[0], in[1], r); }}},
      {"bce weight",
       {chances,
        [=](const Inputs& in, Reduction r) { return binary_cross_entropy(in[0], in[1], r, weight); }}},
      {"bce logits",
       {{d.numbers(0), d.probabilities(1)},
        [](const Inputs& in, Reduction r) { return binary_cross_entropy_with_logits(in[0], in[1], r); }}},
      {"bce logits weights",
       {{d.times(0, 3), d.probabilities(1)},
        [=](const Inputs& in, Reduction r) {
          return binary_cross_entropy_with_logits(in[0], in[1], r, weight, pos);
        }}},
      {"kl_div",
       {logs, [](const Inputs& in, Reduction r) { return kl_div(in[0], in[1], {.reduction = r}); }}},
      {"kl_div batch",
       {logs, [](const Inputs& in, Reduction) { return kl_div(in[0], in[1], {.batch_mean = true}); }}},
      {"kl_div log",
       {both_logs, [](const Inputs& in,
                      Reduction r) { return kl_div(in[0], in[1], {.reduction = r, .log_target = true}); }}},
  };
}

std::map<std::string, GoldenCase> label_cases(const Data& d) {
  const Inputs numbers{d.numbers(0), d.numbers(1)};
  const Inputs three{d.numbers(0), d.numbers(1), d.numbers(2)};
  const Tensor signs = d.signs({4}), signs12 = d.signs({4, 3});
  return {
      {"hinge",
       {{d.numbers(0)},
        [=](const Inputs& in, Reduction r) { return hinge_embedding_loss(in[0], signs12, r, 0.8); }}},
      {"ranking",
       {numbers,
        [=](const Inputs& in, Reduction r) { return margin_ranking_loss(in[0], in[1], signs12, r, 0.2); }}},
      {"cosine", {numbers, [](const Inputs& in, Reduction) { return cosine_similarity(in[0], in[1], 0); }}},
      {"cosine embedding",
       {numbers,
        [=](const Inputs& in, Reduction r) { return cosine_embedding_loss(in[0], in[1], signs, r, -0.4); }}},
      {"distance", {numbers, [](const Inputs& in, Reduction) { return pairwise_distance(in[0], in[1]); }}},
      {"distance p",
       {numbers, [](const Inputs& in, Reduction) { return pairwise_distance(in[0], in[1], 3); }}},
      {"triplet",
       {three, [](const Inputs& in,
                  Reduction r) { return triplet_margin_loss(in[0], in[1], in[2], {.reduction = r}); }}},
      {"triplet options",
       {three,
        [](const Inputs& in, Reduction r) {
          return triplet_margin_loss(in[0], in[1], in[2],
                                     {.reduction = r, .margin = 2, .p = 1, .swap = true});
        }}},
  };
}

std::map<std::string, GoldenCase> class_cases(const Data& d) {
  const Tensor classes = d.classes(), cube_classes = d.cube_classes(), weight = d.weight();
  const Inputs logits{d.times(0, 3)}, soft{d.times(0, 3), d.scaled(d.probabilities(1), 1 / 1.5)};
  const auto cross = [](Tensor target, CrossEntropyOptions options) {
    return [=](const Inputs& in, Reduction r) {
      CrossEntropyOptions o = options;
      o.reduction = r;
      return cross_entropy(in[0], target.defined() ? target : in[1], o);
    };
  };
  return {
      {"nll",
       {{d.scaled(d.probabilities(0), -1)},
        [=](const Inputs& in, Reduction r) { return nll_loss(in[0], classes, {.reduction = r}); }}},
      {"nll weight",
       {{d.scaled(d.cube(), -1, -2)},
        [=](const Inputs& in, Reduction r) {
          return nll_loss(in[0], cube_classes, {.reduction = r, .weight = weight});
        }}},
      {"cross_entropy", {logits, cross(classes, {})}},
      {"cross_entropy weight", {logits, cross(classes, {.weight = weight})}},
      {"cross_entropy smoothing", {logits, cross(classes, {.label_smoothing = 0.1})}},
      {"cross_entropy both", {{d.cube()}, cross(cube_classes, {.weight = weight, .label_smoothing = 0.2})}},
      {"cross_entropy soft", {soft, cross({}, {})}},
      {"cross_entropy soft both", {soft, cross({}, {.weight = weight, .label_smoothing = 0.2})}},
      {"softmax", {{d.cube()}, [](const Inputs& in, Reduction) { return softmax(in[0], 1); }}},
      {"log_softmax", {{d.cube()}, [](const Inputs& in, Reduction) { return log_softmax(in[0], 2); }}},
  };
}

/// "loss" and gradients "d0", "d1", … of one case.
std::map<std::string, std::vector<float>> run(const GoldenCase& c, Reduction r) {
  Inputs leaves;
  for (const Tensor& x : c.inputs) leaves.push_back(x.clone().requires_grad_());
  const Tensor loss = c.loss(leaves, r);
  std::vector<float> weights;
  for (std::int64_t i = 0; i < loss.numel(); ++i)
    weights.push_back(static_cast<float>(std::cos(0.4 * static_cast<double>(i))));
  loss.backward(Tensor::from(weights, loss.shape(), {.device = loss.device()}));
  std::map<std::string, std::vector<float>> results{{"loss", loss.to_vector<float>()}};
  for (std::size_t i = 0; i < leaves.size(); ++i)
    results["d" + std::to_string(i)] = leaves[i].grad().to_vector<float>();
  return results;
}

class LossGolden : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(LossGolden);

TEST_P(LossGolden, EqualsPyTorch) {
  const Data data{device()};
  std::map<std::string, GoldenCase> cases = elementwise_cases(data);
  cases.merge(label_cases(data));
  cases.merge(class_cases(data));
  const CsvTable golden = CsvTable::read(testing::golden_path("losses.csv"), {.header = true});
  const std::vector<std::string> names = golden.text(0), reductions = golden.text(1), whats = golden.text(2);
  const std::vector<std::int64_t> elements = golden.integers(3);
  const std::vector<double> values = golden.numbers(4);
  ASSERT_GT(names.size(), 2000u);
  std::map<std::string, std::vector<float>> results;
  std::map<std::string, int> seen;
  for (std::size_t row = 0; row < names.size(); ++row) {
    if (row == 0 || names[row] != names[row - 1] || reductions[row] != reductions[row - 1]) {
      const Reduction r = reductions[row] == "none"   ? Reduction::none
                          : reductions[row] == "mean" ? Reduction::mean
                                                      : Reduction::sum;
      results = run(cases.at(names[row]), r);
      ++seen[names[row]];
    }
    const float got = results.at(whats[row]).at(static_cast<std::size_t>(elements[row]));
    // 1e-5 relative; below 0.01 differences of numbers near 1 have cancelled.
    const double bound = 1e-5 * std::max(std::abs(values[row]), 0.01);
    EXPECT_NEAR(got, values[row], bound)
        << names[row] << " " << reductions[row] << " " << whats[row] << " " << elements[row];
  }
  EXPECT_EQ(seen.size(), cases.size());
}

}  // namespace
}  // namespace gpunn
