// Small GPT-2, Llama, T5, BERT and ViT beside PyTorch (tests/golden/published_models.py): logits, losses,
// gradients, and ten steps of Adam.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>

#include "gpunn/core/autograd.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/layers/functional.h"
#include "gpunn/training/optimizer.h"
#include "tests/models/published_testing.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using testing::expect_values;
using testing::golden_path;
using testing::published_ids;
using testing::published_lists;

// Of the largest number of a tensor: about 8 eps sqrt(K) for the longest sums, K = 64; measured up to 2.9e-6.
constexpr double kTolerance = 1e-5;

using Loss = std::function<Tensor()>;

/// Stored as [in, out].
bool is_turned(const std::string& key) {
  return key.find(".c_") != std::string::npos && key.ends_with("weight");
}

/// Of every parameter, relative to the largest number of its tensor; NaN fails.
void expect_gradients(const std::string& name, Module& model, bool turned) {
  static const SafetensorsFile file = SafetensorsFile::open(golden_path("published_gradients.safetensors"));
  std::size_t compared = 0;
  for (const auto& [key, parameter] : model.named_parameters()) {
    const Tensor grad = parameter.grad();
    ASSERT_TRUE(grad.defined()) << name << ": " << key;
    const Tensor stored = file.load(name + "/" + key);
    const Tensor wanted = turned && is_turned(key) ? stored.t().contiguous() : stored;
    ASSERT_EQ(grad.shape(), wanted.shape()) << name << ": " << key;
    const std::vector<double> got = grad.to_vector<double>(), want = wanted.to_vector<double>();
    double scale = 0;
    for (const double g : want) scale = std::max(scale, std::abs(g));
    EXPECT_GT(scale, 1e-4) << name << ": " << key;
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(got[i], want[i], kTolerance * scale) << name << ": " << key << ", element " << i;
    ++compared;
  }
  const std::vector<std::string> stored = file.names();
  EXPECT_EQ(std::count_if(stored.begin(), stored.end(),
                          [&](const std::string& key) { return key.starts_with(name + "/"); }),
            compared)
      << name;
}

/// Loss and gradients, then the losses of training from the values that the model has.
void expect_training(const std::string& name, Module& model, const Loss& loss, bool turned = false) {
  const auto& lists = published_lists().at(name);
  const Tensor first = loss();
  EXPECT_NEAR(first.item(), lists.at("loss")[0], 1e-5 * lists.at("loss")[0]) << name;
  first.backward();
  expect_gradients(name, model, turned);

  Adam steps(model.parameters(), {.lr = 0.01});
  const std::vector<double>& want = lists.at("losses");
  ASSERT_EQ(want.size(), 10U);
  // The emulated device is slow.
  const std::size_t count = model.parameters().front().device().is_cpu() ? want.size() : 2;
  for (std::size_t i = 0; i < count; ++i) {
    steps.zero_grad();
    const Tensor now = loss();
    EXPECT_NEAR(now.item(), want[i], 5e-5 * want[i]) << name << ", step " << i;
    now.backward();
    steps.step();
  }
}

class PublishedModelsTest : public testing::DeviceTest {
 protected:
  Tensor ids(const std::string& name, const std::string& part, const Shape& shape) const {
    return published_ids(name, part, shape, device());
  }
};
GPUNN_ON_EVERY_DEVICE(PublishedModelsTest);

TEST_P(PublishedModelsTest, Gpt2) {
  Gpt2 model(testing::small_gpt2());
  load_gpt2_weights(golden_path("gpt2.safetensors"), model);
  model.to(device());
  const Tensor tokens = ids("gpt2", "tokens", {2, 7}), targets = ids("gpt2", "targets", {2, 7});
  expect_values(model(tokens), published_lists().at("gpt2").at("logits"), "gpt2", kTolerance);
  expect_training("gpt2", model, [&] { return model.loss(tokens, targets); }, true);
}

TEST_P(PublishedModelsTest, Llama) {
  for (const std::int64_t window : {0, 3}) {
    const std::string name = window > 0 ? "llama-window" : "llama";
    Llama model(testing::small_llama(window));
    load_llama_weights(golden_path("llama.safetensors"), model);
    model.to(device());
    const Tensor tokens = ids(name, "tokens", {2, 9}), targets = ids(name, "targets", {2, 9});
    expect_values(model(tokens), published_lists().at(name).at("logits"), name, kTolerance);
    expect_training(name, model, [&] { return model.loss(tokens, targets); });
  }
}

TEST_P(PublishedModelsTest, T5) {
  T5 model(testing::small_t5());
  load_t5_weights(golden_path("t5.safetensors"), model);
  model.to(device());
  const Tensor source = ids("t5", "source", {2, 23}), lengths = ids("t5", "lengths", {2}),
               target = ids("t5", "target", {2, 8}), wanted = ids("t5", "wanted", {2, 8});
  expect_values(model.forward(source, target, lengths), published_lists().at("t5").at("logits"), "t5",
                kTolerance);
  expect_training("t5", model, [&] {
    return cross_entropy(model.forward(source, target, lengths).reshape({16, 12}), wanted.reshape({16}));
  });
}

TEST_P(PublishedModelsTest, Bert) {
  Bert model(testing::small_bert());
  testing::fill_state(model);
  model.to(device());
  const Tensor tokens = ids("bert", "tokens", {3, 11}), segments = ids("bert", "segments", {3, 11}),
               places = ids("bert", "places", {7}), hidden = ids("bert", "hidden", {7}),
               follows = ids("bert", "follows", {3});
  std::vector<std::uint8_t> hide;
  std::vector<std::int64_t> real;
  for (std::int64_t b = 0; b < 3; ++b)
    for (std::int64_t i = 0; i < 11; ++i) {
      hide.push_back(i >= static_cast<std::int64_t>(
                              published_lists().at("bert").at("lengths")[static_cast<std::size_t>(b)]));
      if (!hide.back()) real.push_back(b * 11 + i);
    }
  const Tensor padding = Tensor::from(hide, {3, 11}).to(DType::boolean).to(device());
  const auto rows = [&](const Tensor& features, const Tensor& index) {
    return index_select(features.reshape({33, 8}), 0, index);
  };
  {
    const NoGrad no_grad;
    const Tensor features = model.encode(tokens, segments, padding);
    const Tensor counted = Tensor::from(real, {static_cast<std::int64_t>(real.size())}).to(device());
    const auto& lists = published_lists().at("bert");
    expect_values(rows(features, counted), lists.at("features"), "features", kTolerance);
    expect_values(model.token_logits(rows(features, places)), lists.at("token logits"), "token logits",
                  kTolerance);
    const BertOutput both = model.heads(features);
    expect_values(both.next, lists.at("next logits"), "next logits", kTolerance);
    expect_values(index_select(both.tokens.reshape({33, 14}), 0, places), lists.at("token logits"),
                  "token logits of all", kTolerance);
  }
  expect_training("bert", model, [&] {
    const Tensor features = model.encode(tokens, segments, padding);
    return cross_entropy(model.token_logits(rows(features, places)), hidden) +
           cross_entropy(model.next_logits(features), follows);
  });
}

TEST_P(PublishedModelsTest, Vit) {
  Vit model(testing::small_vit());
  testing::fill_state(model);
  model.to(device());
  const Tensor pictures = testing::hashed({3, 2, 12, 12}, 120).to(device());
  const Tensor labels = ids("vit", "labels", {3});
  expect_values(model(pictures), published_lists().at("vit").at("logits"), "vit", kTolerance);
  expect_training("vit", model, [&] { return cross_entropy(model(pictures), labels); });
}

/// Row b of the table says b, so that the bias tells the bucket.
TEST(T5Buckets, AreTheAuthors) {
  std::size_t compared = 0;
  for (const auto& [buckets, most] : {std::pair<std::int64_t, std::int64_t>{32, 128}, {8, 20}, {10, 64}}) {
    T5Options options = testing::small_t5();
    options.heads = 1, options.buckets = buckets, options.max_distance = most;
    T5Attention attention(options, true);
    std::vector<float> numbers;
    for (std::int64_t b = 0; b < buckets; ++b) numbers.push_back(static_cast<float>(b));
    const NoGrad no_grad;
    attention.relative_attention_bias->weight.copy_(Tensor::from(numbers, {buckets, 1}));
    for (const auto& [part, want] :
         published_lists().at("buckets-" + std::to_string(buckets) + "-" + std::to_string(most))) {
      const Tensor bias = attention.bias(301, 301, part == "both");
      ASSERT_EQ(bias.shape(), Shape({1, 1, 301, 301}));
      // The last query sees distances -300 to 0, the first one 0 to 300.
      std::vector<double> got = bias.select(2, 300).contiguous().to_vector<double>();
      const std::vector<double> ahead = bias.select(2, 0).contiguous().to_vector<double>();
      got.insert(got.end(), ahead.begin() + 1, ahead.end());
      EXPECT_EQ(got, want) << buckets << ", " << most << ", " << part;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 6U);
}

}  // namespace
}  // namespace gpunn
