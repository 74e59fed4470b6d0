// Attention against PyTorch (tests/golden/attention.py): results, weights and gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/attention/attention.h"
#include "tests/support/devices.h"
#include "tests/support/golden_lists.h"

namespace gpunn {
namespace {

constexpr std::int64_t B = 2, H = 4, Tq = 5, Tk = 7, D = 4, Dv = 3;

class AttentionGolden : public testing::DeviceTest {
 protected:
  /// The script's tensor t.
  Tensor values(const Shape& shape, double t) const {
    std::vector<float> v;
    for (std::int64_t i = 0; i < shape.numel(); ++i)
      v.push_back(static_cast<float>(1.5 * std::sin(0.7 * static_cast<double>(i) + 1.3 * t)));
    return Tensor::from(v, shape, {.device = device(), .requires_grad = true});
  }
  Tensor seen() const {
    std::vector<std::uint8_t> v;
    for (std::int64_t i = 0; i < B * Tq * Tk; ++i) v.push_back(i * i % 3 != 1);
    return Tensor::from(v, {B, 1, Tq, Tk}, {.dtype = DType::u8, .device = device()}).to(DType::boolean);
  }
};
GPUNN_ON_EVERY_DEVICE(AttentionGolden);

void expect_list(const Tensor& got, const std::vector<double>& expected, const std::string& what) {
  const std::vector<float> values = got.to_vector<float>();
  ASSERT_EQ(values.size(), expected.size()) << what;
  double most = 1;  // dy . v and dy . y are of this size, and a gradient is made of their differences
  for (const double v : expected) most = std::max(most, std::abs(v));
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(static_cast<double>(values[i]), expected[i], 2e-6 * most) << what << " " << i;
}

TEST_P(AttentionGolden, IsPyTorchs) {
  const testing::GoldenLists golden = testing::golden_lists("attention.csv");
  ASSERT_EQ(golden.size(), 6u);
  for (const auto& [name, parts] : golden) {
    const std::int64_t kv = name == "grouped" ? 2 : H;
    const Tensor q = values({B, H, Tq, D}, 0), k = values({B, kv, Tk, D}, 1), v = values({B, kv, Tk, Dv}, 2);
    AttentionOptions options;
    if (name == "bool") options.mask = seen();
    if (name == "additive") options.mask = values({H, Tq, Tk}, 3);
    options.causal = name == "causal";
    if (name == "scale") options.scale = 0.8;
    std::vector<float> weights;
    for (std::int64_t i = 0; i < B * H * Tq * Dv; ++i)
      weights.push_back(static_cast<float>(std::cos(0.4 * static_cast<double>(i))));
    const Tensor y = scaled_dot_product_attention(q, k, v, options);
    y.backward(Tensor::from(weights, y.shape(), {.device = device()}));
    expect_list(y, parts.at("y"), name + " y");
    expect_list(q.grad(), parts.at("dq"), name + " dq");
    expect_list(k.grad(), parts.at("dk"), name + " dk");
    expect_list(v.grad(), parts.at("dv"), name + " dv");
    if (name == "additive") expect_list(options.mask.grad(), parts.at("dmask"), name + " dmask");
    const AttentionOutput all = attention(q, k, v, options, true);
    expect_list(all.weights, parts.at("weights"), name + " weights");
    expect_list(all.y, parts.at("y"), name + " y with weights");
  }
}

}  // namespace
}  // namespace gpunn
