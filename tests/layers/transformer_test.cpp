// Transformer layers: outputs and gradients as in PyTorch (tests/golden/transformer_layers.py), keys, initial
// values, maps of attention, dropout and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/summary.h"
#include "gpunn/layers/transformer.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/golden_lists.h"
#include "tests/support/hashed_values.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using O = TransformerLayerOptions;
using testing::hashed;
using testing::message_of;

// Norms divide by deviations of around one half; otherwise as in attention_test.cpp.
constexpr double kTolerance = 5e-5;

Tensor booleans(const std::vector<std::uint8_t>& values, const Shape& shape) {
  return Tensor::from(values, shape).to(DType::boolean);
}
Tensor causal(std::int64_t T) {
  std::vector<std::uint8_t> hidden;
  for (std::int64_t i = 0; i < T * T; ++i) hidden.push_back(i % T > i / T);
  return booleans(hidden, {T, T});
}
/// The last one of the first sequence, the last two of the second.
Tensor padding(std::int64_t T) {
  std::vector<std::uint8_t> hidden;
  for (std::int64_t i = 0; i < 2 * T; ++i) hidden.push_back(i % T >= T - 1 - i / T);
  return booleans(hidden, {2, T});
}
/// "bool" of tests/golden/attention_layers.py.
Tensor hashed_mask(const Shape& shape) {
  std::vector<std::uint8_t> hidden;
  const std::vector<float> values = hashed(shape, 120).to_vector<float>();
  for (std::size_t i = 0; i < values.size(); ++i)
    hidden.push_back(static_cast<std::int64_t>(i) % shape[1] > 0 && values[i] > 0.3f);
  return booleans(hidden, shape);
}

struct Case {
  std::string name;
  std::function<std::unique_ptr<Module>()> make;
  std::vector<Shape> shapes;
  TransformerMasks masks{};
};

template <class M, class... A>
Case row(const char* name, const std::vector<Shape>& shapes, const TransformerMasks& masks, A... arguments) {
  return {name, [=] { return std::make_unique<M>(arguments...); }, shapes, masks};
}

std::vector<Case> cases() {
  using Encoder = TransformerEncoderLayer;
  using Decoder = TransformerDecoderLayer;
  const Shape src{4, 2, 4}, tgt{3, 2, 4};
  const auto with = [](FeedForward f, bool norm_first) {
    return O{.dim_feedforward = 6, .dropout = 0, .activation = f, .norm_first = norm_first};
  };
  const FeedForward relu = FeedForward::relu, gelu = FeedForward::gelu;
  O batch_first = with(relu, false);
  batch_first.batch_first = true;
  O eps = batch_first;
  eps.layer_norm_eps = 0.1;
  O plain = with(relu, false);
  plain.bias = false;
  O plain_first = plain;
  plain_first.norm_first = true;
  const LayerNorm norm(4);
  return {
      row<Encoder>("encoder-layer", {src}, {}, 4, 2, with(relu, false)),
      row<Encoder>("encoder-layer-gelu-first", {src}, {.src_mask = causal(4)}, 4, 2, with(gelu, true)),
      row<Encoder>("encoder-layer-gelu-first", {src}, {.src_is_causal = true}, 4, 2, with(gelu, true)),
      row<Encoder>("encoder-layer-batch-first", {{2, 4, 4}}, {.src_key_padding_mask = padding(4)}, 4, 2, eps),
      row<Encoder>("encoder-layer-tanh", {Shape{4, 4}}, {}, 4, 2, with(FeedForward::gelu_tanh, false)),
      row<Encoder>("encoder-layer-plain", {src}, {}, 4, 2, plain_first),
      row<Encoder>("encoder-layer-swiglu", {src}, {}, 4, 2, with(FeedForward::swiglu, false)),
      row<Decoder>("decoder-layer", {tgt, src}, {}, 4, 2, with(relu, false)),
      row<Decoder>("decoder-layer-gelu-first", {tgt, src},
                   {.memory_key_padding_mask = padding(4), .tgt_is_causal = true}, 4, 2, with(gelu, true)),
      row<Decoder>(
          "decoder-layer-masks", {{2, 3, 4}, {2, 4, 4}},
          {.tgt_mask = causal(3), .memory_mask = hashed_mask({3, 4}), .tgt_key_padding_mask = padding(3)}, 4,
          2, batch_first),
      row<Decoder>("decoder-layer-plain", {tgt, src}, {}, 4, 2, plain),
      row<TransformerEncoder>("encoder", {src}, {.src_key_padding_mask = padding(4)},
                              Encoder(4, 2, with(relu, false)), 2, norm),
      row<TransformerDecoder>("decoder", {tgt, src}, {.tgt_mask = causal(3)}, Decoder(4, 2, with(relu, true)),
                              2),
      row<Transformer>("transformer", {src, tgt},
                       {.tgt_mask = Transformer::generate_square_subsequent_mask(3),
                        .src_key_padding_mask = padding(4),
                        .memory_key_padding_mask = padding(4)},
                       TransformerOptions{.d_model = 4,
                                          .nhead = 2,
                                          .num_encoder_layers = 1,
                                          .num_decoder_layers = 2,
                                          .layer = with(relu, false)}),
  };
}

TransformerMasks masks_on(TransformerMasks m, Device device) {
  for (Tensor* mask : {&m.src_mask, &m.tgt_mask, &m.memory_mask, &m.src_key_padding_mask,
                       &m.tgt_key_padding_mask, &m.memory_key_padding_mask})
    if (mask->defined()) *mask = mask->to(device);
  return m;
}

Tensor call(Module& module, const std::vector<Tensor>& x, const TransformerMasks& m) {
  const EncoderMasks e{
      .mask = m.src_mask, .key_padding_mask = m.src_key_padding_mask, .is_causal = m.src_is_causal};
  const DecoderMasks d{.tgt_mask = m.tgt_mask,
                       .memory_mask = m.memory_mask,
                       .tgt_key_padding_mask = m.tgt_key_padding_mask,
                       .memory_key_padding_mask = m.memory_key_padding_mask,
                       .tgt_is_causal = m.tgt_is_causal,
                       .memory_is_causal = m.memory_is_causal};
  if (auto* layer = dynamic_cast<TransformerEncoderLayer*>(&module)) return (*layer)(x[0], e);
  if (auto* layer = dynamic_cast<TransformerDecoderLayer*>(&module)) return (*layer)(x[0], x[1], d);
  if (auto* stack = dynamic_cast<TransformerEncoder*>(&module)) return (*stack)(x[0], e);
  if (auto* stack = dynamic_cast<TransformerDecoder*>(&module)) return (*stack)(x[0], x[1], d);
  return dynamic_cast<Transformer&>(module)(x[0], x[1], m);
}

class TransformerLayersTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TransformerLayersTest);

TEST_P(TransformerLayersTest, EqualPyTorchs) {
  const testing::GoldenLists golden = testing::golden_lists("transformer_layers.csv");
  std::set<std::string> run;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const auto& want = golden.at(c.name);
    const std::unique_ptr<Module> module = c.make();
    testing::fill_state(*module);
    module->to(device());
    std::vector<Tensor> x;
    for (std::size_t i = 0; i < c.shapes.size(); ++i)
      x.push_back(hashed(c.shapes[i], 110 + static_cast<std::uint32_t>(i)).to(device()).requires_grad_());
    const Tensor y = call(*module, x, masks_on(c.masks, device()));
    sum(y * hashed(y.shape(), 101).to(device())).backward();
    std::map<std::string, Tensor> parts{{"y", y}};
    for (std::size_t i = 0; i < x.size(); ++i) parts["grad " + std::to_string(i)] = x[i].grad();
    for (const auto& [key, parameter] : module->named_parameters()) parts["grad " + key] = parameter.grad();
    EXPECT_EQ(parts.size(), want.size());  // neither more nor fewer keys than PyTorch has
    for (const auto& [part, values] : want) testing::expect_values(parts[part], values, part, kTolerance);
    run.insert(c.name);
  }
  EXPECT_EQ(run.size(), golden.size());
}

TransformerOptions small() {
  return {.d_model = 8,
          .nhead = 2,
          .num_encoder_layers = 2,
          .num_decoder_layers = 1,
          .layer = {.dim_feedforward = 6, .dropout = 0.5}};
}

TEST_P(TransformerLayersTest, MapsOfEveryHead) {
  Transformer net(small());
  net.eval();
  net.to(device());
  const Tensor src = hashed({5, 3, 8}, 1).to(device()), tgt = hashed({4, 3, 8}, 2).to(device());
  const TransformerInspection out = net.inspect(src, tgt, {.tgt_is_causal = true});
  EXPECT_FALSE(out.y.requires_grad());
  testing::expect_values(net(src, tgt, {.tgt_is_causal = true}), out.y.contiguous().to_vector<double>(), "y",
                         1e-5);
  ASSERT_EQ(out.maps.encoder.size(), 2u);
  ASSERT_EQ(out.maps.decoder.size(), 1u);
  ASSERT_EQ(out.maps.cross.size(), 1u);
  EXPECT_EQ(out.maps.encoder[1].shape(), (Shape{3, 2, 5, 5}));
  EXPECT_EQ(out.maps.decoder[0].shape(), (Shape{3, 2, 4, 4}));
  EXPECT_EQ(out.maps.cross[0].shape(), (Shape{3, 2, 4, 5}));
  testing::expect_values(sum(out.maps.cross[0], {3}), std::vector<double>(24, 1), "row sums", 1e-5);
  EXPECT_EQ(out.maps.decoder[0].contiguous().to_vector<float>()[1], 0);  // query 0 does not see key 1
}

// Layers of zeros but for one bias of ones: what is added to x is that bias behind the dropouts on its way.
struct Site {
  const char* ones;
  bool through_linear2;  // an identity
};
constexpr std::int64_t kWide = 16;

void expect_dropped(Module& layer, const Site& site, const std::function<Tensor()>& added) {
  SCOPED_TRACE(site.ones);
  for (const auto& [key, tensor] : layer.state_dict()) {
    const NoGrad off;
    tensor.fill_(key == site.ones ? 1 : 0);
    if (key == "linear2.weight" && site.through_linear2)
      for (std::int64_t i = 0; i < kWide; ++i) tensor.select(0, i).narrow(0, i, 1).fill_(1);
  }
  const double kept = site.through_linear2 ? 4 : 2, share = 1 / kept;
  double count = 0;
  const std::vector<double> values = added().detach().contiguous().to_vector<double>();
  for (const double v : values) {
    EXPECT_TRUE(v == 0 || v == kept) << v;
    count += v != 0;
  }
  // Six deviations.
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(count / n, share, 6 * std::sqrt(share * (1 - share) / n));
  layer.eval();
  for (const double v : added().detach().contiguous().to_vector<double>()) EXPECT_EQ(v, 1);
  layer.train();
}

TEST_P(TransformerLayersTest, DropoutActsOnEveryPart) {
  manual_seed(4);
  const O options{.dim_feedforward = kWide, .dropout = 0.5, .norm_first = true};
  TransformerEncoderLayer encoder(kWide, 2, options);
  TransformerDecoderLayer decoder(kWide, 2, options);
  encoder.to(device());
  decoder.to(device());
  const Tensor x = zeros({5, 3, kWide}, {.device = device()});
  for (const Site& site : {Site{"self_attn.out_proj.bias", false}, Site{"linear2.bias", false},
                           Site{"linear1.bias", true}, Site{"multihead_attn.out_proj.bias", false}}) {
    expect_dropped(decoder, site, [&] { return decoder(x, x); });
    if (std::string(site.ones).starts_with("multihead")) continue;
    expect_dropped(encoder, site, [&] { return encoder(x); });
  }
}

std::vector<std::string> keys_of(Module& module) {
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : module.state_dict()) keys.push_back(key);
  return keys;
}

TEST(TransformerLayers, KeysAreInPyTorchsOrder) {
  TransformerDecoderLayer layer(4, 2, {.dim_feedforward = 6});
  EXPECT_THAT(
      keys_of(layer),
      ElementsAre("self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                  "self_attn.out_proj.bias", "multihead_attn.in_proj_weight", "multihead_attn.in_proj_bias",
                  "multihead_attn.out_proj.weight", "multihead_attn.out_proj.bias", "linear1.weight",
                  "linear1.bias", "linear2.weight", "linear2.bias", "norm1.weight", "norm1.bias",
                  "norm2.weight", "norm2.bias", "norm3.weight", "norm3.bias"));
  TransformerEncoder stack(TransformerEncoderLayer(4, 2, {.dim_feedforward = 6, .bias = false}), 2,
                           LayerNorm(4));
  EXPECT_THAT(
      keys_of(stack),
      ElementsAre("layers.0.self_attn.in_proj_weight", "layers.0.self_attn.out_proj.weight",
                  "layers.0.linear1.weight", "layers.0.linear2.weight", "layers.0.norm1.weight",
                  "layers.0.norm2.weight", "layers.1.self_attn.in_proj_weight",
                  "layers.1.self_attn.out_proj.weight", "layers.1.linear1.weight", "layers.1.linear2.weight",
                  "layers.1.norm1.weight", "layers.1.norm2.weight", "norm.weight", "norm.bias"));
}

TEST(TransformerLayers, DefaultsArePyTorchs) {
  const TransformerOptions o;
  EXPECT_EQ(o.d_model, 512);
  EXPECT_EQ(o.nhead, 8);
  EXPECT_EQ(o.num_encoder_layers, 6);
  EXPECT_EQ(o.num_decoder_layers, 6);
  TransformerEncoderLayer layer(16, 4);
  EXPECT_EQ(layer.linear1.weight.shape(), (Shape{2048, 16}));
  EXPECT_EQ(layer.dropout.p(), 0.1);
  EXPECT_EQ(layer.self_attn.options().dropout, 0.1);
  EXPECT_FALSE(layer.options().norm_first);
  EXPECT_FALSE(layer.self_attn.options().batch_first);
  EXPECT_EQ(Transformer::generate_square_subsequent_mask(2).to_vector<float>(),
            (std::vector<float>{0, -INFINITY, 0, 0}));
}

double largest(const Tensor& t) {
  double out = 0;
  for (const double v : t.to_vector<double>()) out = std::max(out, std::abs(v));
  return out;
}

TEST(TransformerLayers, InitialValuesArePyTorchs) {
  manual_seed(1);
  const O options{.dim_feedforward = 24};
  TransformerEncoder stack(TransformerEncoderLayer(16, 4, options), 2);
  // Copies of one layer begin alike, with values of their own.
  EXPECT_EQ(stack.layers[0].linear1.weight.to_vector<float>(),
            stack.layers[1].linear1.weight.to_vector<float>());
  EXPECT_FALSE(stack.layers[0].linear1.weight.is_same(stack.layers[1].linear1.weight));
  // A layer draws its parts in order: out_proj, in_proj, linear1.
  manual_seed(1);
  MultiheadAttention attention(16, 4);
  Linear linear1(16, 24);
  EXPECT_EQ(stack.layers[0].self_attn.in_proj_weight.to_vector<float>(),
            attention.in_proj_weight.to_vector<float>());
  EXPECT_EQ(stack.layers[0].linear1.bias.to_vector<float>(), linear1.bias.to_vector<float>());
  // A Transformer draws its matrices again, each for itself.
  Transformer net(
      {.d_model = 16, .nhead = 4, .num_encoder_layers = 2, .num_decoder_layers = 1, .layer = options});
  const Tensor& w = net.encoder.layers[0].linear1.weight;
  const double bound = std::sqrt(6.0 / (16 + 24));
  EXPECT_LE(largest(w), bound);
  EXPECT_GT(largest(w), 0.97 * bound);
  EXPECT_NE(w.to_vector<float>(), net.encoder.layers[1].linear1.weight.to_vector<float>());
}

TEST(TransformerLayers, CopiesHaveValuesOfTheirOwn) {
  Transformer net(small());
  net.eval();
  const Transformer copy = net;
  EXPECT_FALSE(copy.is_training());
  EXPECT_FALSE(copy.decoder.layers[0].linear2.weight.is_same(net.decoder.layers[0].linear2.weight));
  const std::unique_ptr<Module> behind = net.copy_module();
  EXPECT_EQ(keys_of(*behind), keys_of(net));
  EXPECT_EQ(behind->type_name(), "Transformer");
}

TEST(TransformerLayers, SummariesCountProducts) {
  for (const bool batch_first : {true, false}) {
    TransformerEncoderLayer layer(8, 2, {.dim_feedforward = 6, .batch_first = batch_first});
    std::map<std::string, LayerSummary> rows;
    for (const LayerSummary& row : summarize(layer, batch_first ? Shape{2, 5, 8} : Shape{5, 2, 8}))
      rows[row.name] = row;
    EXPECT_EQ(rows.size(), 9u);  // the layer, attention, two norms, two linear ones, three dropouts
    // Ten rows meet 24 + 8 rows of weights of 8 numbers; 5 keys of 8 numbers for the scores and for the sums.
    EXPECT_EQ(rows["self_attn"].flops, 2.0 * 10 * (32 * 8 + 2 * 5 * 8));
    EXPECT_EQ(rows["linear1"].flops, 2.0 * 10 * 6 * 8);
    EXPECT_EQ(rows["linear2"].flops, 2.0 * 10 * 6 * 8);
    EXPECT_EQ(rows["self_attn"].output, rows[""].output);
  }
}

TEST(TransformerLayers, Refuse) {
  Transformer net(small());
  const Tensor src = zeros({5, 3, 8}), tgt = zeros({4, 3, 8});
  const TransformerEncoderLayer layer(4, 2, {.dim_feedforward = 6});
  const std::map<std::string, std::function<void()>> refused{
      {"expected num_heads that divides embed_dim 4, got 3", [] { TransformerEncoderLayer(4, 3); }},
      {"expected dim_feedforward of at least 1, got 0",
       [] { TransformerDecoderLayer(4, 2, {.dim_feedforward = 0}); }},
      {"dropout probability in [0, 1), got 1", [] { TransformerEncoderLayer(4, 2, {.dropout = 1}); }},
      {"eps >= 0, got -1", [] { TransformerEncoderLayer(4, 2, {.layer_norm_eps = -1}); }},
      {"expected num_layers of at least 1, got 0", [&] { TransformerEncoder(layer, 0); }},
      {"expected src [T, N, 8] or [T, 8], got [5, 3, 4]", [&] { net(zeros({5, 3, 4}), tgt); }},
      {"expected tgt [T, N, 8] or [T, 8], got an undefined tensor", [&] { net(src, Tensor()); }},
      {"expected src and tgt of one batch, got [5, 3, 8] and [4, 2, 8]", [&] { net(src, zeros({4, 2, 8})); }},
      {"expected src and tgt of one batch, got [5, 8] and [4, 3, 8]", [&] { net(zeros({5, 8}), tgt); }},
      {"layers.0.self_attn: multihead_attention] expected attn_mask [4, 4] or [6, 4, 4], got [5, 5]",
       [&] { net(src, tgt, {.tgt_mask = zeros({5, 5})}); }},
      {"multihead_attn: multihead_attention] expected key_padding_mask [3, 5], got [3, 4]",
       [&] { net(src, tgt, {.memory_key_padding_mask = zeros({3, 4})}); }},
  };
  for (const auto& [text, run] : refused) EXPECT_THAT(message_of(run), HasSubstr(text));
  EXPECT_THROW(net(src), Unsupported);
}

}  // namespace
}  // namespace gpunn
