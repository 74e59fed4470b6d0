// Multi-head attention: outputs, weights and gradients as in PyTorch (tests/golden/attention_layers.py),
// keys, initial values, masks, dropout and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/attention.h"
#include "gpunn/layers/transformer.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/golden_lists.h"
#include "tests/support/hashed_values.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using O = MultiheadAttentionOptions;
using testing::hashed;
using testing::message_of;

// Sums of some tens of products in f32, of values around 1, and PyTorch's own rounding.
constexpr double kTolerance = 2e-5;

enum class Mask : std::uint8_t { none, causal, is_causal, boolean, each, floating };
enum class Padding : std::uint8_t { none, boolean, floating };
enum class Weights : std::uint8_t { none, mean, heads };

struct Case {
  std::string name;
  std::int64_t E, heads;
  O options;
  std::vector<Shape> shapes;  // of q, of k unless it is q, of v unless it is k
  Mask mask = Mask::none;
  Padding padding = Padding::none;
  Weights weights = Weights::none;
};

std::vector<Case> cases() {
  const Shape x{4, 2, 4}, first{2, 4, 4}, q{3, 2, 4}, k{5, 2, 4};
  const Padding padded = Padding::boolean;
  return {
      {"self", 4, 2, {}, {x}},
      {"self-batch-first", 4, 2, {.batch_first = true}, {first}},
      {"self-plain", 4, 4, {.bias = false}, {x}},
      {"self-single", 4, 1, {}, {{4, 4}}, Mask::none, padded, Weights::mean},
      {"self-single-heads", 4, 2, {}, {{4, 4}}, Mask::none, Padding::none, Weights::heads},
      {"self-causal", 4, 2, {}, {x}, Mask::causal},
      {"self-causal", 4, 2, {}, {x}, Mask::is_causal},
      {"self-bool", 4, 2, {.batch_first = true}, {first}, Mask::boolean},
      {"self-each", 4, 2, {}, {x}, Mask::each, padded},
      {"self-float", 4, 2, {}, {x}, Mask::floating},
      {"self-float-padded", 4, 2, {}, {x}, Mask::floating, padded},
      {"self-padded", 4, 2, {}, {x}, Mask::none, padded},
      {"self-padded-float", 4, 2, {}, {x}, Mask::none, Padding::floating, Weights::heads},
      {"self-padded-weights", 4, 2, {}, {x}, Mask::causal, padded, Weights::mean},
      {"self-padded-weights", 4, 2, {}, {x}, Mask::is_causal, padded, Weights::mean},
      {"cross", 4, 2, {}, {q, k}},
      {"cross-three", 4, 2, {.batch_first = true}, {{2, 3, 4}, {2, 5, 4}, {2, 5, 4}}, Mask::boolean},
      {"cross-sizes",
       4,
       2,
       {.kdim = 3, .vdim = 5},
       {q, {5, 2, 3}, {5, 2, 5}},
       Mask::none,
       padded,
       Weights::heads},
      {"cross-sizes-plain", 4, 2, {.bias = false, .kdim = 3}, {q, {5, 2, 3}, {5, 2, 4}}},
      {"bias-kv", 4, 2, {.add_bias_kv = true}, {q, k}, Mask::boolean, padded},
      {"bias-kv-causal", 4, 2, {.add_bias_kv = true}, {x}, Mask::causal},
      {"bias-kv-causal", 4, 2, {.add_bias_kv = true}, {x}, Mask::is_causal},
      {"zero", 4, 2, {.add_zero_attn = true}, {x}, Mask::none, padded, Weights::mean},
      {"bias-kv-zero",
       4,
       2,
       {.add_bias_kv = true, .add_zero_attn = true, .kdim = 3, .vdim = 3},
       {q, {5, 2, 3}},
       Mask::floating,
       Padding::none,
       Weights::heads},
      {"kv-heads", 8, 4, {.batch_first = true, .num_kv_heads = 2}, {{2, 3, 8}}, Mask::is_causal},
  };
}

struct Sizes {
  std::int64_t N, L, S;
};
Sizes sizes_of(const Case& c) {
  const Shape &q = c.shapes[0], &k = c.shapes.size() > 1 ? c.shapes[1] : c.shapes[0];
  if (q.rank() == 2) return {1, q[0], k[0]};
  const int batch = c.options.batch_first ? 0 : 1;
  return {q[batch], q[1 - batch], k[1 - batch]};
}

Tensor booleans(const std::vector<std::uint8_t>& values, const Shape& shape) {
  return Tensor::from(values, shape).to(DType::boolean);
}

Tensor mask_of(const Case& c) {
  const Sizes s = sizes_of(c);
  const Shape shape = c.mask == Mask::each ? Shape{s.N * c.heads, s.L, s.S} : Shape{s.L, s.S};
  if (c.mask == Mask::floating) return hashed(shape, 120);
  const std::vector<float> values = hashed(shape, 120).to_vector<float>();
  std::vector<std::uint8_t> hidden;
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const std::int64_t query = i / s.S % s.L, key = i % s.S;
    hidden.push_back(c.mask == Mask::causal ? key > query
                                            : key > 0 && values[static_cast<std::size_t>(i)] > 0.3f);
  }
  return booleans(hidden, shape);
}

Tensor padding_of(const Case& c) {
  const Sizes s = sizes_of(c);
  const Shape shape = c.shapes[0].rank() == 2 ? Shape{s.S} : Shape{s.N, s.S};
  if (c.padding == Padding::floating) return hashed(shape, 121);
  std::vector<std::uint8_t> hidden;
  for (std::int64_t n = 0; n < s.N; ++n)
    for (std::int64_t key = 0; key < s.S; ++key) hidden.push_back(key >= s.S - 1 - n);
  return booleans(hidden, shape);
}

MultiheadAttentionCall call_of(const Case& c, Device device) {
  MultiheadAttentionCall call;
  call.is_causal = c.mask == Mask::is_causal;
  if (c.mask != Mask::none && c.mask != Mask::is_causal) call.attn_mask = mask_of(c).to(device);
  if (c.mask == Mask::floating) call.attn_mask.requires_grad_();
  if (c.padding != Padding::none) call.key_padding_mask = padding_of(c).to(device);
  call.need_weights = c.weights != Weights::none;
  call.average_attn_weights = c.weights == Weights::mean;
  return call;
}

class MultiheadAttentionTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(MultiheadAttentionTest);

TEST_P(MultiheadAttentionTest, EqualsPyTorchs) {
  const testing::GoldenLists golden = testing::golden_lists("attention_layers.csv");
  std::map<std::string, bool> run;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const auto& want = golden.at(c.name);
    MultiheadAttention layer(c.E, c.heads, c.options);
    testing::fill_state(layer);
    layer.to(device());
    std::vector<Tensor> given;
    for (std::size_t i = 0; i < c.shapes.size(); ++i)
      given.push_back(hashed(c.shapes[i], 110 + static_cast<std::uint32_t>(i)).to(device()).requires_grad_());
    const Tensor &q = given[0], &k = given.size() > 1 ? given[1] : q, &v = given.size() > 2 ? given[2] : k;
    const MultiheadAttentionCall call = call_of(c, device());
    const MultiheadAttentionOutput got = layer(q, k, v, call);
    EXPECT_EQ(got.weights.defined(), call.need_weights);
    const auto weighted = [&](const Tensor& t, std::uint32_t i) {
      return sum(t * hashed(t.shape(), i).to(device()));
    };
    Tensor loss = weighted(got.y, 101);
    std::map<std::string, Tensor> parts{{"y", got.y}};
    if (call.need_weights) {
      loss = loss + weighted(got.weights, 102);
      parts["weights"] = got.weights;
    }
    loss.backward();
    const char* names[] = {"grad q", "grad k", "grad v"};
    for (std::size_t i = 0; i < given.size(); ++i) parts[names[i]] = given[i].grad();
    if (c.mask == Mask::floating) parts["grad mask"] = call.attn_mask.grad();
    for (const auto& [key, parameter] : layer.named_parameters()) parts["grad " + key] = parameter.grad();
    EXPECT_EQ(parts.size(), want.size());  // neither more nor fewer keys than PyTorch has
    for (const auto& [part, values] : want) testing::expect_values(parts[part], values, part, kTolerance);
    run[c.name] = true;
  }
  EXPECT_EQ(run.size(), golden.size());
}

TEST_P(MultiheadAttentionTest, HiddenQueriesGiveTheBias) {
  MultiheadAttention layer(4, 2, {.batch_first = true});
  testing::fill_state(layer);
  layer.to(device());
  const Tensor x = hashed({2, 3, 4}, 1).to(device()).requires_grad_();
  const Tensor padding = booleans({0, 0, 1, 1, 1, 1}, {2, 3}).to(device());
  const Tensor y = layer(x, x, x, {.key_padding_mask = padding}).y;
  const std::vector<double> bias = layer.out_proj.bias.to_vector<double>();
  for (std::int64_t t = 0; t < 3; ++t)
    testing::expect_values(y.select(0, 1).select(0, t), bias, "row " + std::to_string(t), 1e-6);
  sum(y * y).backward();
  EXPECT_THAT(x.grad().select(0, 1).contiguous().to_vector<float>(), Each(0));
  // Row 2 of the first sequence is hidden as a key, but asks.
  EXPECT_NE(x.grad().select(0, 0).select(0, 2).contiguous().to_vector<float>()[0], 0);
}

TEST_P(MultiheadAttentionTest, WeightsOnRequestChangeNothingElse) {
  MultiheadAttention layer(6, 3, {.batch_first = true});
  testing::fill_state(layer);
  layer.to(device());
  const Tensor x = hashed({2, 5, 6}, 1).to(device());
  const MultiheadAttentionOutput with =
      layer(x, x, x, {.is_causal = true, .need_weights = true, .average_attn_weights = false});
  ASSERT_EQ(with.weights.shape(), (Shape{2, 3, 5, 5}));
  testing::expect_values(layer(x, x, x, {.is_causal = true}).y, with.y.detach().to_vector<double>(), "y",
                         1e-6);
  testing::expect_values(sum(with.weights, {3}), std::vector<double>(30, 1), "row sums", 1e-6);
  const std::vector<double> w = with.weights.detach().to_vector<double>();
  for (std::size_t i = 0; i < w.size(); ++i) {
    const bool behind = i % 5 > i / 5 % 5;
    EXPECT_EQ(w[i] == 0, behind) << i;
  }
}

TEST_P(MultiheadAttentionTest, DropsWeightsInTrainingOnly) {
  manual_seed(5);
  MultiheadAttention layer(8, 2, {.dropout = 0.5, .batch_first = true});
  layer.to(device());
  const Tensor x = hashed({1, 16, 8}, 1).to(device());
  const auto values = [&] { return layer(x, x, x).y.detach().to_vector<float>(); };
  EXPECT_NE(values(), values());
  layer.eval();
  EXPECT_EQ(values(), values());
  MultiheadAttention plain(8, 2, {.batch_first = true});
  plain.load_state_dict(layer.state_dict());
  plain.to(device());
  EXPECT_EQ(values(), plain(x, x, x).y.detach().to_vector<float>());
}

std::vector<std::string> keys_of(Module& module) {
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : module.state_dict()) keys.push_back(key);
  return keys;
}

TEST(MultiheadAttention, KeysAndShapes) {
  MultiheadAttention packed(4, 2, {.add_bias_kv = true});
  EXPECT_THAT(keys_of(packed), ElementsAre("in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
                                           "out_proj.weight", "out_proj.bias"));
  EXPECT_EQ(packed.in_proj_weight.shape(), (Shape{12, 4}));
  EXPECT_EQ(packed.bias_k.shape(), (Shape{1, 1, 4}));
  MultiheadAttention apart(4, 2, {.bias = false, .vdim = 6});
  EXPECT_THAT(keys_of(apart),
              ElementsAre("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"));
  EXPECT_EQ(apart.v_proj_weight.shape(), (Shape{4, 6}));
  MultiheadAttention grouped(8, 4, {.num_kv_heads = 1});
  EXPECT_EQ(grouped.in_proj_weight.shape(), (Shape{12, 8}));
  const MultiheadAttention copy = grouped;
  EXPECT_EQ(copy.num_kv_heads(), 1);
  EXPECT_FALSE(copy.in_proj_weight.is_same(grouped.in_proj_weight));
  EXPECT_EQ(copy.in_proj_weight.to_vector<float>(), grouped.in_proj_weight.to_vector<float>());
}

double largest(const Tensor& t) {
  double out = 0;
  for (const double v : t.to_vector<double>()) out = std::max(out, std::abs(v));
  return out;
}

TEST(MultiheadAttention, InitialValuesArePyTorchs) {
  manual_seed(1);
  MultiheadAttention layer(32, 4, {.add_bias_kv = true});
  const double bound = std::sqrt(6.0 / (32 + 96));
  EXPECT_LE(largest(layer.in_proj_weight), bound);
  EXPECT_GT(largest(layer.in_proj_weight), 0.97 * bound);
  EXPECT_LE(largest(layer.out_proj.weight), 1 / std::sqrt(32.0));
  EXPECT_EQ(largest(layer.in_proj_bias), 0);
  EXPECT_EQ(largest(layer.out_proj.bias), 0);
  EXPECT_GT(largest(layer.bias_k), std::sqrt(2.0 / 64));  // normal: some of 32 beyond one deviation
  // out_proj is drawn first.
  manual_seed(1);
  EXPECT_EQ(Linear(32, 32).weight.to_vector<float>(), layer.out_proj.weight.to_vector<float>());
}

TEST(MultiheadAttention, Refuses) {
  MultiheadAttention layer(4, 2), sizes(4, 2, {.kdim = 3, .batch_first = true});
  const Tensor x = zeros({5, 2, 4}), wide = zeros({5, 2, 6}), one = zeros({5, 4});
  const auto masked = [&](const Tensor& mask) { layer(x, x, x, {.attn_mask = mask}); };
  const auto padded = [&](const Tensor& mask) { layer(x, x, x, {.key_padding_mask = mask}); };
  const auto ints = [](const Shape& shape) { return zeros(shape, {.dtype = DType::i64}); };
  const std::map<std::string, std::function<void()>> refused{
      {"[multihead_attention] expected embed_dim and num_heads of at least 1, got 0 and 2",
       [] { MultiheadAttention(0, 2); }},
      {"expected num_heads that divides embed_dim 4, got 3", [] { MultiheadAttention(4, 3); }},
      {"expected num_kv_heads that divides num_heads 4, got 3",
       [] { MultiheadAttention(4, 4, {.num_kv_heads = 3}); }},
      {"expected num_kv_heads that divides num_heads 4, got -2",
       [] { MultiheadAttention(4, 4, {.num_kv_heads = -2}); }},
      {"kdim and vdim of at least 1, or 0 for embed_dim, got -1",
       [] { MultiheadAttention(4, 2, {.kdim = -1}); }},
      {"dropout probability in [0, 1), got 1", [] { MultiheadAttention(4, 2, {.dropout = 1}); }},
      {"dropout probability in [0, 1), got nan", [] { MultiheadAttention(4, 2, {.dropout = std::nan("")}); }},
      {"expected query [L, N, 4] or [L, 4], got [5, 2, 6]", [&] { layer(wide, wide, wide); }},
      {"expected query [L, N, 4] or [L, 4], got an undefined tensor", [&] { layer(Tensor()); }},
      {"expected key [N, S, 3] or [S, 3], got [5, 2, 4]", [&] { sizes(x, x, x); }},
      {"all with a batch or all without, got [5, 2, 4], [5, 4] and [5, 4]", [&] { layer(x, one, one); }},
      {"as many values as keys, got key [5, 2, 4] and value [4, 2, 4]",
       [&] { layer(x, x, zeros({4, 2, 4})); }},
      {"of one batch, got [5, 2, 4], [5, 3, 4]", [&] { layer(x, zeros({5, 3, 4}), zeros({5, 3, 4})); }},
      {"expected attn_mask [5, 5] or [4, 5, 5], got [5, 4]", [&] { masked(zeros({5, 4})); }},
      {"expected attn_mask [5, 5] or [4, 5, 5], got [2, 5, 5]", [&] { masked(zeros({2, 5, 5})); }},
      {"expected attn_mask [5, 5] or [4, 5, 5], got []", [&] { masked(zeros({})); }},
      {"expected attn_mask of bool or the queries' dtype f32, got i64", [&] { masked(ints({5, 5})); }},
      {"expected key_padding_mask [2, 5], got [5, 2]", [&] { padded(zeros({5, 2})); }},
      {"expected key_padding_mask of bool or the queries' dtype f32, got i64", [&] { padded(ints({2, 5})); }},
      {"expected key_padding_mask [5] without a batch, got [1, 5]",
       [&] { layer(one, one, one, {.key_padding_mask = zeros({1, 5})}); }},
      {"expected key_padding_mask [1, 5], got [1, 4]",
       [&] { layer(one, one, one, {.key_padding_mask = zeros({4})}); }},
  };
  for (const auto& [text, run] : refused) EXPECT_THAT(message_of(run), HasSubstr(text));
  TransformerEncoderLayer net(4, 2);
  EXPECT_THAT(message_of([&] { net(wide); }), HasSubstr("[self_attn: multihead_attention] expected query"));
}

}  // namespace
}  // namespace gpunn
