// Gradients of attention in every form and with every option, against differences.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/attention/attention.h"
#include "tests/support/attention_options.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace {

using testing::attention_settings;
using testing::AttentionSetting;
using testing::i64_tensor;

Device cpu() { return Device::cpu(); }

std::vector<GradInput> inputs_of(const AttentionSetting& s) {
  const Fill values = fill::normal(0, 1);
  return {{s.q(), values}, {s.k(), values}, {s.v(), values}};
}

/// The same mask at every call.
GradFunction function_of(const AttentionSetting& s) {
  return [s](const Inputs& in) {
    manual_seed(7);
    return scaled_dot_product_attention(in[0], in[1], in[2], s.options);
  };
}

TEST(AttentionGradient, EveryOption) {
  for (const AttentionSetting& s : attention_settings(cpu(), DType::f64))
    EXPECT_TRUE(gradcheck(function_of(s), inputs_of(s))) << s.name;
}

TEST(AttentionGradient, SecondDerivativesOfEveryOption) {
  for (AttentionSetting s : attention_settings(cpu(), DType::f64)) {
    s.B = s.options.mask.defined() || s.options.key_lengths.defined() ? s.B : 1;
    EXPECT_TRUE(gradgradcheck(function_of(s), inputs_of(s), {.full_jacobian = 8, .directions = 3})) << s.name;
  }
}

TEST(AttentionGradient, OfMaskAndWeights) {
  for (const AttentionSetting& s : attention_settings(cpu(), DType::f64)) {
    if (s.options.mask.defined()) continue;
    std::vector<GradInput> inputs = inputs_of(s);
    inputs.push_back({{s.Hq, 1, s.Tk}, fill::normal(0, 1)});
    const auto f = [&](const Inputs& in) {
      manual_seed(7);
      AttentionOptions options = s.options;
      options.mask = in[3];
      return scaled_dot_product_attention(in[0], in[1], in[2], options);
    };
    EXPECT_TRUE(gradcheck(f, inputs)) << s.name;
  }
  const AttentionSetting causal = attention_settings(cpu(), DType::f64)[2];
  const auto weights = [&](const Inputs& in) {
    return attention(in[0], in[1], in[1], causal.options, true).weights;
  };
  const std::vector<GradInput> q_and_k{{causal.q(), fill::normal(0, 1)}, {causal.k(), fill::normal(0, 1)}};
  EXPECT_TRUE(gradcheck(weights, q_and_k));
  EXPECT_TRUE(gradgradcheck(weights, q_and_k, {.full_jacobian = 8, .directions = 3}));
}

TEST(AttentionGradient, OneHead) {
  AttentionOptions options{.mask = testing::some_seen({2, 4, 5}, cpu())};
  const auto f = [&](const Inputs& in) { return scaled_dot_product_attention(in[0], in[1], in[2], options); };
  const Fill values = fill::normal(0, 1);
  EXPECT_TRUE(gradcheck(f, {{{2, 4, 3}, values}, {{2, 5, 3}, values}, {{2, 5, 2}, values}}));
}

/// attention_packed_qkv with the settings that fit it.
TEST(AttentionGradient, PackedProjection) {
  for (AttentionSetting s : attention_settings(cpu(), DType::f64)) {
    if (s.options.mask.defined() || s.options.query_lengths.defined() || s.Hq != 2) continue;
    const auto f = [&](const Inputs& in) {
      manual_seed(7);
      return attention_packed_qkv(in[0], s.Hq, s.Hkv, s.options);
    };
    const std::vector<GradInput> inputs{{{2, 7, (s.Hq + 2 * s.Hkv) * 3}, fill::normal(0, 1)}};
    EXPECT_TRUE(gradcheck(f, inputs)) << s.name;
    EXPECT_TRUE(gradgradcheck(f, inputs, {.full_jacobian = 8, .directions = 3})) << s.name;
  }
}

/// attention_varlen likewise.
TEST(AttentionGradient, PackedRows) {
  const Tensor query_starts = i64_tensor({0, 3, 3, 8}, cpu()), key_starts = i64_tensor({0, 4, 6, 9}, cpu());
  for (const AttentionSetting& s : attention_settings(cpu(), DType::f64)) {
    if (s.options.mask.defined() || s.options.key_lengths.defined()) continue;
    const auto f = [&](const Inputs& in) {
      manual_seed(7);
      return attention_varlen(in[0], in[1], in[2], query_starts, key_starts, 5, 4, s.options);
    };
    const Fill values = fill::normal(0, 1);
    const std::vector<GradInput> inputs{
        {{8, s.Hq, 3}, values}, {{9, s.Hkv, 3}, values}, {{9, s.Hkv, 2}, values}};
    EXPECT_TRUE(gradcheck(f, inputs)) << s.name;
    EXPECT_TRUE(gradgradcheck(f, inputs, {.full_jacobian = 8, .directions = 3})) << s.name;
  }
}

/// One tensor in all three places, and keys that depend on queries.
TEST(AttentionGradient, SharedInputs) {
  const auto self = [](const Inputs& in) { return scaled_dot_product_attention(in[0], in[0], in[0]); };
  EXPECT_TRUE(gradcheck(self, {{{1, 2, 4, 3}, fill::normal(0, 1)}}));
  EXPECT_TRUE(gradgradcheck(self, {{{1, 2, 4, 3}, fill::normal(0, 1)}}));
}

}  // namespace
}  // namespace gpunn
