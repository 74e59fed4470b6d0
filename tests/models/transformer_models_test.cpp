// GPT-2, Llama, T5, BERT and ViT: initial values, attention maps, sizes at the edge, and bad input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/layers/functional.h"
#include "tests/models/published_testing.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/hashed_values.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using testing::expect_values;
using ::testing::HasSubstr;
using testing::message_of;

Tensor ids(const std::vector<std::int64_t>& list, const Shape& shape) { return Tensor::from(list, shape); }
Tensor tokens_like(const Shape& shape, double value) { return full(shape, value, {.dtype = DType::i64}); }

// ---- initial values

double deviation(const Tensor& w) {
  double sum = 0, squares = 0;
  const std::vector<double> values = w.detach().to_vector<double>();
  for (const double v : values) sum += v;
  const double n = static_cast<double>(values.size()), mean = sum / n;
  for (const double v : values) squares += (v - mean) * (v - mean);
  EXPECT_LE(std::abs(mean), 5 * std::sqrt(squares) / n);
  return std::sqrt(squares / n);
}
/// Within five deviations of what n draws give.
void expect_deviation(const Tensor& w, double want, const std::string& what) {
  EXPECT_NEAR(deviation(w), want, 5 * want / std::sqrt(2.0 * static_cast<double>(w.numel()))) << what;
}
void expect_all(const Tensor& w, double want, const std::string& what) {
  for (const double v : w.detach().to_vector<double>()) ASSERT_EQ(v, want) << what;
}

TEST(InitialValues, Gpt2) {
  manual_seed(3);
  Gpt2 model({.vocabulary = 90, .context = 40, .features = 32, .layers = 8, .heads = 4});
  expect_deviation(model.wpe.weight, 0.02, "wpe");
  for (const auto& [key, value] : model.named_parameters()) {
    if (value.dim() == 2)
      expect_deviation(value, key.ends_with("c_proj.weight") ? 0.005 : 0.02, key);
    else
      expect_all(value, key.ends_with("weight") ? 1 : 0, key);
  }
}

TEST(InitialValues, LlamaT5BertAndVit) {
  manual_seed(4);
  Llama llama({.vocabulary = 90, .context = 8, .features = 32, .layers = 2, .heads = 4, .inner = 40});
  for (const auto& [key, value] : llama.named_parameters()) {
    if (value.dim() == 2)
      expect_deviation(value, 0.02, key);
    else
      expect_all(value, 1, key);
  }
  T5 t5({.vocabulary = 50, .features = 16, .head_features = 9, .heads = 4, .inner = 25, .layers = 2});
  for (const auto& [key, value] : t5.named_parameters()) {
    const auto is = [&](const char* end) { return key.ends_with(end); };
    if (value.dim() == 1)
      expect_all(value, 1, key);
    else
      expect_deviation(value,
                       is("shared.weight") ? 1.0
                       : is(".q.weight")   ? 1.0 / 12
                       : is(".o.weight")   ? 1.0 / 6
                       : is(".wo.weight")  ? 1.0 / 5
                                           : 1.0 / 4,  // k, v, wi, bias of distances
                       key);
  }
  Bert bert({.vocabulary = 90, .context = 40, .features = 32, .layers = 2, .heads = 4, .inner = 40});
  for (const auto& [key, value] : bert.named_parameters()) {
    if (value.dim() == 2)
      expect_deviation(value, 0.02, key);
    else
      expect_all(value, key.ends_with("weight") ? 1 : 0, key);
  }
  Vit vit({.image = 32,
           .patch = 4,
           .channels = 2,
           .classes = 20,
           .features = 32,
           .layers = 2,
           .heads = 4,
           .inner = 40});
  expect_all(vit.class_token, 0, "class_token");
  for (const auto& [key, value] : vit.named_parameters()) {
    if (key == "class_token") continue;
    if (value.dim() == 1) {
      expect_all(value, key.ends_with("weight") ? 1 : 0, key);
      continue;
    }
    // Of a normal distribution within two deviations: 0.880 of its own.
    expect_deviation(value, 0.02 * 0.8796, key);
    for (const double v : value.detach().to_vector<double>()) ASSERT_LE(std::abs(v), 0.04 + 1e-6) << key;
  }
}

// ---- maps

/// [B, heads, queries, keys]: rows of weights that add up to one.
void expect_rows(const Tensor& map, const Shape& shape, const std::string& what) {
  ASSERT_EQ(map.shape(), shape) << what;
  EXPECT_FALSE(map.requires_grad()) << what;
  const std::vector<double> values = map.contiguous().to_vector<double>();
  const auto keys = static_cast<std::size_t>(shape[3]);
  for (std::size_t row = 0; row < values.size(); row += keys) {
    double sum = 0;
    for (std::size_t j = 0; j < keys; ++j) {
      EXPECT_GE(values[row + j], 0) << what;
      sum += values[row + j];
    }
    ASSERT_NEAR(sum, 1, 1e-5) << what;
  }
}
double at(const Tensor& map, std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
  return map.select(0, b).select(0, h).select(0, i).select(0, j).item();
}

TEST(TransformerMaps, Gpt2) {
  Gpt2Options options = testing::small_gpt2();
  options.dropout = 0.3;
  Gpt2 model(options);
  testing::fill_state(model);
  const Tensor tokens = ids({1, 5, 2, 8, 0, 12, 3, 3, 7, 1}, {2, 5});
  const std::vector<Tensor> maps = model.attention_maps(tokens);
  EXPECT_TRUE(model.is_training());
  ASSERT_EQ(maps.size(), 2U);
  for (const Tensor& map : maps) {
    expect_rows(map, {2, 2, 5, 5}, "gpt2");
    EXPECT_EQ(at(map, 0, 0, 0, 0), 1);
    EXPECT_EQ(at(map, 1, 1, 2, 3), 0) << "nothing ahead";
  }
  // By hand: softmax of the scaled products of the first layer.
  const NoGrad no_grad;
  model.eval();
  const Tensor x = model.wte(tokens) + model.wpe.weight.narrow(0, 0, 5);
  const Tensor qkv = model.h[0].attn.c_attn(model.h[0].ln_1(x)).select(0, 1);
  const std::vector<double> q = qkv.select(0, 4).narrow(0, 4, 4).contiguous().to_vector<double>();
  double total = 0, third = 0;
  for (std::int64_t j = 0; j < 5; ++j) {
    const std::vector<double> k = qkv.select(0, j).narrow(0, 12, 4).contiguous().to_vector<double>();
    const double e = std::exp((q[0] * k[0] + q[1] * k[1] + q[2] * k[2] + q[3] * k[3]) / 2);
    total += e;
    if (j == 2) third = e;
  }
  EXPECT_NEAR(at(maps[0], 1, 1, 4, 2), third / total, 1e-5);
}

TEST(TransformerMaps, T5BertAndVit) {
  const NoGrad no_grad;
  T5 t5(testing::small_t5());
  testing::fill_state(t5);
  t5.eval();
  const Tensor source = ids({1, 5, 2, 8, 0, 11}, {2, 3}), lengths = ids({3, 2}, {2});
  const Tensor target = ids({1, 2, 3, 4, 5, 6, 7, 8}, {2, 4});
  T5Maps maps;
  const Tensor memory = t5.encode(source, lengths, &maps);
  const Tensor logits = t5.decode(target, memory, lengths, &maps);
  expect_values(logits, t5.forward(source, target, lengths).to_vector<double>(), "with maps", 1e-5);
  ASSERT_EQ(maps.encoder.size(), 2U);
  ASSERT_EQ(maps.decoder.size(), 2U);
  ASSERT_EQ(maps.cross.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    expect_rows(maps.encoder[i], {2, 2, 3, 3}, "encoder");
    expect_rows(maps.decoder[i], {2, 2, 4, 4}, "decoder");
    expect_rows(maps.cross[i], {2, 2, 4, 3}, "cross");
    EXPECT_EQ(at(maps.encoder[i], 1, 0, 0, 2), 0) << "behind the source's length";
    EXPECT_EQ(at(maps.cross[i], 1, 1, 3, 2), 0);
    EXPECT_EQ(at(maps.decoder[i], 0, 1, 1, 2), 0) << "ahead";
  }

  Bert bert(testing::small_bert());
  testing::fill_state(bert);
  AttentionMaps kept;
  const Tensor padding = ids({0, 0, 0, 0, 0, 1}, {2, 3}).to(DType::boolean);
  bert.encode(source, {}, padding, &kept);
  ASSERT_EQ(kept.encoder.size(), 2U);
  expect_rows(kept.encoder[1], {2, 2, 3, 3}, "bert");
  EXPECT_EQ(at(kept.encoder[0], 1, 0, 0, 2), 0) << "padding";
  EXPECT_GT(at(kept.encoder[0], 0, 0, 0, 2), 0) << "both directions";

  Vit vit(testing::small_vit());
  testing::fill_state(vit);
  const std::vector<Tensor> seen = vit.attention_maps(testing::hashed({2, 2, 12, 12}, 3));
  EXPECT_TRUE(vit.is_training());
  EXPECT_EQ(vit.grid(), 3);
  ASSERT_EQ(seen.size(), 2U);
  for (const Tensor& map : seen) expect_rows(map, {2, 2, 10, 10}, "vit");
}

// What stands behind a source's or row's length changes nothing.
TEST(TransformerPadding, DoesNotMatter) {
  const NoGrad no_grad;
  T5 t5(testing::small_t5());
  testing::fill_state(t5);
  const Tensor target = ids({1, 2, 3}, {1, 3}), lengths = ids({2}, {1});
  expect_values(t5.forward(ids({4, 5, 6, 7}, {1, 4}), target, lengths),
                t5.forward(ids({4, 5}, {1, 2}), target).to_vector<double>(), "t5", 1e-5);
  Bert bert(testing::small_bert());
  testing::fill_state(bert);
  const Tensor padding = ids({0, 0, 1, 1}, {1, 4}).to(DType::boolean);
  const Tensor all = bert.encode(ids({4, 5, 6, 7}, {1, 4}), {}, padding);
  const Tensor alone = bert(ids({4, 5}, {1, 2}));
  expect_values(all.narrow(1, 0, 2), alone.to_vector<double>(), "bert", 1e-5);
  expect_values(bert.next_logits(all), bert.heads(alone).next.to_vector<double>(), "next", 1e-5);
  expect_values(bert.encode(ids({4, 5}, {1, 2}), tokens_like({1, 2}, 0)), alone.to_vector<double>(),
                "segment 0 is the default", 1e-6);
}

// ---- edges and bad input

class TransformerModelsTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TransformerModelsTest);

TEST_P(TransformerModelsTest, OneTokenAndNone) {
  const NoGrad no_grad;
  Gpt2 gpt2(testing::small_gpt2());
  Llama llama(testing::small_llama());
  T5 t5(testing::small_t5());
  Bert bert(testing::small_bert());
  Vit vit(testing::small_vit());
  for (Module* m : {static_cast<Module*>(&gpt2), static_cast<Module*>(&llama), static_cast<Module*>(&t5),
                    static_cast<Module*>(&bert), static_cast<Module*>(&vit)})
    m->to(device());
  const auto some = [&](const Shape& shape) { return tokens_like(shape, 1).to(device()); };
  for (const Shape& shape : {Shape{1, 1}, Shape{2, 0}, Shape{0, 3}}) {
    const std::int64_t B = shape[0], T = shape[1];
    EXPECT_EQ(gpt2(some(shape)).shape(), Shape({B, T, 13})) << B << ", " << T;
    EXPECT_EQ(llama(some(shape)).shape(), Shape({B, T, 11})) << B << ", " << T;
    EXPECT_EQ(bert(some(shape)).shape(), Shape({B, T, 8})) << B << ", " << T;
    EXPECT_EQ(t5.forward(some({B, 2}), some(shape)).shape(), Shape({B, T, 12})) << B << ", " << T;
  }
  EXPECT_EQ(vit(zeros({0, 2, 12, 12}, {.device = device()})).shape(), Shape({0, 5}));
  EXPECT_TRUE(t5.greedy(some({0, 2}), {}, 3, 0, 1).empty());
}

TEST_P(TransformerModelsTest, RefuseTokens) {
  Gpt2 gpt2(testing::small_gpt2());
  Llama llama(testing::small_llama());
  for (CausalLm* model : {static_cast<CausalLm*>(&gpt2), static_cast<CausalLm*>(&llama)}) {
    model->to(device());
    const auto refused = [&](const Tensor& tokens) { return message_of([&] { (*model)(tokens); }); };
    const std::int64_t V = model->vocabulary(), context = model->context();
    const auto like = [&](const Shape& shape, double value) {
      return tokens_like(shape, value).to(device());
    };
    EXPECT_THAT(refused(like({1, 2}, static_cast<double>(V))), HasSubstr("got " + std::to_string(V)));
    EXPECT_THAT(refused(like({1, 2}, -1)), HasSubstr("got -1"));
    EXPECT_THAT(refused(like({1, context + 1}, 1)),
                HasSubstr("at most " + std::to_string(context) +
                          " positions, the context of the model, got " + std::to_string(context + 1)));
    EXPECT_EQ(refused(like({1, context}, 1)), "no error");
    EXPECT_THAT(refused(like({4}, 1)), HasSubstr("tokens i64 [B, T], got [4]"));
    EXPECT_THAT(refused(zeros({1, 2}, {.device = device()})), HasSubstr("tokens i64 [B, T]"));
    EXPECT_THAT(refused({}), HasSubstr("an undefined tensor"));
  }
  const Tensor three = tokens_like({1, 3}, 1).to(device()), two = tokens_like({1, 2}, 1).to(device());
  EXPECT_THAT(message_of([&] { gpt2.loss(three, two); }), HasSubstr("a target for each token"));
  EXPECT_THAT(message_of([&] { llama.loss(three, {}); }), HasSubstr("a target for each token"));
  EXPECT_THAT(message_of([&] { gpt2.loss(three, tokens_like({1, 3}, 13).to(device())); }), HasSubstr("13"));
}

TEST(TransformerModels, RefuseWhatDoesNotFit) {
  T5 t5(testing::small_t5());
  const Tensor source = tokens_like({2, 3}, 1);
  EXPECT_THAT(message_of([&] { t5.forward(tokens_like({2, 3}, 12), source); }), HasSubstr("got 12"));
  EXPECT_THAT(message_of([&] { t5.forward(source, tokens_like({2, 3}, -2)); }), HasSubstr("got -2"));
  EXPECT_THAT(message_of([&] { t5.forward(tokens_like({3}, 1), source); }), HasSubstr("[B, T]"));
  EXPECT_NE(message_of([&] { t5.forward(source, tokens_like({1, 3}, 1)); }), "no error") << "another batch";
  EXPECT_NE(message_of([&] { t5.forward(source, source, ids({4, 1}, {2})); }), "no error")
      << "a length beyond";
  const auto t5_with = [](auto change) {
    T5Options o = testing::small_t5();
    change(o);
    return message_of([&] { const T5 made(o); });
  };
  EXPECT_THAT(t5_with([](T5Options& o) { o.heads = 0; }), HasSubstr("at least 1"));
  EXPECT_THAT(t5_with([](T5Options& o) { o.layers = 0; }), HasSubstr("at least 1"));
  EXPECT_THAT(t5_with([](T5Options& o) { o.buckets = 7; }), HasSubstr("even number"));
  EXPECT_THAT(t5_with([](T5Options& o) { o.max_distance = 4; }), HasSubstr("max_distance above half"));
  EXPECT_THAT(t5_with([](T5Options& o) { o.dropout = -0.1; }), HasSubstr("dropout in [0, 1)"));

  Bert bert(testing::small_bert());
  EXPECT_THAT(message_of([&] { bert(tokens_like({1, 13}, 1)); }), HasSubstr("at most 12 positions"));
  EXPECT_THAT(message_of([&] { bert(tokens_like({1, 3}, 14)); }), HasSubstr("got 14"));
  EXPECT_THAT(message_of([&] { bert.encode(source, tokens_like({2, 2}, 0)); }), HasSubstr("segments [2, 3]"));
  EXPECT_THAT(message_of([&] { bert.encode(source, tokens_like({2, 3}, 2)); }), HasSubstr("got 2"));
  EXPECT_NE(message_of([&] { bert.encode(source, {}, zeros({2, 2}, {.dtype = DType::boolean})); }),
            "no error");
  const auto bert_with = [](auto change) {
    BertOptions o = testing::small_bert();
    change(o);
    return message_of([&] { const Bert made(o); });
  };
  EXPECT_THAT(bert_with([](BertOptions& o) { o.vocabulary = 0; }), HasSubstr("vocabulary"));
  EXPECT_THAT(bert_with([](BertOptions& o) { o.segments = 0; }), HasSubstr("segments"));
  for (const auto change : {+[](BertOptions& o) { o.heads = 3; }, +[](BertOptions& o) { o.layers = 0; },
                            +[](BertOptions& o) { o.inner = 0; }, +[](BertOptions& o) { o.dropout = 1; }})
    EXPECT_NE(bert_with(change), "no error");

  Vit vit(testing::small_vit());
  EXPECT_THAT(message_of([&] { vit(zeros({1, 2, 12, 11})); }),
              HasSubstr("[N, 2, 12, 12], got [1, 2, 12, 11]"));
  EXPECT_THAT(message_of([&] { vit(zeros({2, 12, 12})); }), HasSubstr("[N, 2, 12, 12]"));
  EXPECT_NE(message_of([&] { vit(zeros({1, 3, 12, 12})); }), "no error");
  const auto vit_with = [](auto change) {
    VitOptions o = testing::small_vit();
    change(o);
    return message_of([&] { const Vit made(o); });
  };
  EXPECT_THAT(vit_with([](VitOptions& o) { o.patch = 5; }),
              HasSubstr("a patch that divides the image, got 5 and 12"));
  EXPECT_THAT(vit_with([](VitOptions& o) { o.patch = 0; }), HasSubstr("got 0 and 12"));
  EXPECT_THAT(vit_with([](VitOptions& o) { o.classes = 0; }), HasSubstr("classes"));
  for (const auto change : {+[](VitOptions& o) { o.heads = 3; }, +[](VitOptions& o) { o.layers = 0; },
                            +[](VitOptions& o) { o.inner = 0; }, +[](VitOptions& o) { o.dropout = 1; }})
    EXPECT_NE(vit_with(change), "no error");
}

}  // namespace
}  // namespace gpunn
