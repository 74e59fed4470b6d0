// GPT-2, Llama and T5 with a cache beside the same without: equal logits, whatever the pieces, lengths and
// pages; each token costs the same however many stand before it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/profiler.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/generation.h"
#include "tests/models/published_testing.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using testing::expect_values;
using testing::golden_path;
using ::testing::HasSubstr;
using testing::message_of;

using Counts = std::vector<std::int64_t>;

constexpr double kTolerance = 1e-5;

struct NamedLm {
  std::string name;
  std::unique_ptr<CausalLm> model;
};

/// With the weights of the golden files; GPT-2 with dropout, which evaluation leaves out.
std::vector<NamedLm> language_models(Device device) {
  std::vector<NamedLm> models;
  Gpt2Options options = testing::small_gpt2();
  options.dropout = 0.5;
  auto gpt2 = std::make_unique<Gpt2>(options);
  load_gpt2_weights(golden_path("gpt2.safetensors"), *gpt2);
  models.push_back({"gpt2", std::move(gpt2)});
  for (const std::int64_t window : {0, 3}) {
    auto llama = std::make_unique<Llama>(testing::small_llama(window));
    load_llama_weights(golden_path("llama.safetensors"), *llama);
    models.push_back({window ? "llama with a window" : "llama", std::move(llama)});
  }
  for (NamedLm& m : models) {
    m.model->to(device);
    m.model->eval();
  }
  return models;
}

/// i64 [B, T].
Tensor text(std::int64_t B, std::int64_t T, std::int64_t vocabulary, Device device) {
  Counts ids;
  for (std::int64_t i = 0; i < B * T; ++i) ids.push_back((i * i + 3 * i / 2 + 1) % vocabulary);
  return Tensor::from(ids, {B, T}).to(device);
}

KvCache cache_of(const CausalLm& model, std::int64_t batch, std::int64_t page_size) {
  KvCacheOptions options = model.cache_options();
  options.batch = batch;
  options.page_size = page_size;
  return KvCache(options);
}

class DecoderCacheTest : public testing::DeviceTest {
 protected:
  /// Rooms, pages that a text ends in, pages that it fills; one of them on the slow device.
  std::vector<std::int64_t> page_sizes() const {
    return device().is_cpu() ? std::vector<std::int64_t>{0, 2, 16} : std::vector<std::int64_t>{0, 2};
  }
};
GPUNN_ON_EVERY_DEVICE(DecoderCacheTest);

TEST_P(DecoderCacheTest, PiecesEqualTheWhole) {
  const NoGrad no_grad;
  for (const NamedLm& m : language_models(device())) {
    const Tensor tokens = text(2, 10, m.model->vocabulary(), device());
    const std::vector<double> want = (*m.model)(tokens).to_vector<double>();
    for (const std::int64_t page_size : page_sizes())
      for (const Counts& pieces : {Counts{10}, Counts{4, 1, 1, 3, 1}}) {
        SCOPED_TRACE(m.name + ", pages of " + std::to_string(page_size));
        KvCache cache = cache_of(*m.model, 2, page_size);
        std::vector<Tensor> parts;
        std::int64_t at = 0;
        for (const std::int64_t n : pieces) {
          parts.push_back((*m.model)(tokens.narrow(1, at, n).contiguous(), cache));
          at += n;
        }
        EXPECT_THAT(cache.lengths(), ElementsAre(10, 10));
        expect_values(cat(parts, 1), want, "logits", kTolerance);
      }
  }
}

// Prompts of 4 and 7 tokens, then a step in which one of them rests, up to the last position.
TEST_P(DecoderCacheTest, UnequalLengths) {
  const NoGrad no_grad;
  for (const NamedLm& m : language_models(device())) {
    const std::int64_t V = m.model->vocabulary();
    const Tensor tokens = text(2, 10, V, device());
    const Tensor whole = (*m.model)(tokens);
    for (const std::int64_t page_size : page_sizes()) {
      SCOPED_TRACE(m.name + ", pages of " + std::to_string(page_size));
      KvCache cache = cache_of(*m.model, 2, page_size);
      Counts at{0, 0};
      for (const Counts& counts : {Counts{4, 7}, Counts{1, 0}, Counts{3, 3}, Counts{2, 0}}) {
        const std::int64_t T = *std::max_element(counts.begin(), counts.end());
        const Tensor piece = zeros({2, T}, {.dtype = DType::i64, .device = device()});
        for (std::int64_t b = 0; b < 2; ++b) {
          const std::int64_t n = counts[static_cast<std::size_t>(b)];
          const std::int64_t first = at[static_cast<std::size_t>(b)];
          piece.select(0, b).narrow(0, 0, n).copy_(tokens.select(0, b).narrow(0, first, n));
        }
        const Tensor logits = (*m.model)(piece, cache, counts);
        ASSERT_EQ(logits.shape(), Shape({2, T, V}));
        for (std::int64_t b = 0; b < 2; ++b) {
          const std::int64_t n = counts[static_cast<std::size_t>(b)];
          std::int64_t& first = at[static_cast<std::size_t>(b)];
          expect_values(logits.select(0, b).narrow(0, 0, n),
                        whole.select(0, b).narrow(0, first, n).contiguous().to_vector<double>(),
                        "row " + std::to_string(b) + " from " + std::to_string(first), kTolerance);
          first += n;
        }
      }
      EXPECT_THAT(cache.lengths(), ElementsAre(10, 10));
    }
  }
}

TEST_P(DecoderCacheTest, GeneratesTheSameWithEveryCache) {
  for (const NamedLm& m : language_models(device())) {
    const std::vector<std::vector<std::int64_t>> prompts{{1, 2, 3}, {4}};
    const std::int64_t count = device().is_cpu() ? 5 : 2;
    GenerationOptions options{.max_new_tokens = count, .use_cache = false};
    const std::vector<Generated> want = generate(*m.model, prompts, options);
    options.use_cache = true;
    for (const std::int64_t page_size : page_sizes()) {
      options.page_size = page_size;
      const std::vector<Generated> got = generate(*m.model, prompts, options);
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        EXPECT_EQ(std::ssize(got[i].tokens), count);
        EXPECT_EQ(got[i].tokens, want[i].tokens) << m.name << ", prompt " << i << ", pages of " << page_size;
      }
    }
  }
}

TEST(DecoderCacheModes, AModelInTrainingIsReadWithoutDropoutAndGradients) {
  for (const NamedLm& m : language_models(Device::cpu())) {
    const Tensor tokens = text(1, 6, m.model->vocabulary(), Device::cpu());
    const std::vector<double> want = (*m.model)(tokens).detach().to_vector<double>();
    m.model->train();
    KvCache cache = cache_of(*m.model, 1, 0);
    const Tensor logits = (*m.model)(tokens, cache);
    expect_values(logits, want, m.name, kTolerance);
    EXPECT_FALSE(logits.requires_grad()) << m.name;
    EXPECT_TRUE(m.model->is_training()) << m.name;
  }
  Gpt2Options options = testing::small_gpt2();
  options.dropout = 0.5;
  Gpt2 model(options);
  testing::fill_state(model);
  const Tensor tokens = text(1, 6, 13, Device::cpu());
  EXPECT_NE(model(tokens).detach().to_vector<double>(), model(tokens).detach().to_vector<double>())
      << "dropout does something";
}

TEST(DecoderCacheErrors, LeaveTheCacheAsItWas) {
  for (const NamedLm& m : language_models(Device::cpu())) {
    SCOPED_TRACE(m.name);
    CausalLm& model = *m.model;
    const std::int64_t V = model.vocabulary(), context = model.context();
    const Tensor tokens = text(2, context, V, Device::cpu());
    KvCache cache = cache_of(model, 2, 0);
    const auto refused = [&](const Tensor& t, const Counts& valid = {}) {
      return message_of([&] { model(t, cache, valid); });
    };
    model(tokens.narrow(1, 0, 4).contiguous(), cache, Counts{4, 3});
    EXPECT_THAT(refused(tokens.narrow(1, 0, context - 3).contiguous()),
                HasSubstr("the context of the model, got " + std::to_string(context + 1) + " in sequence 0"));
    EXPECT_THAT(refused(full({2, context + 1}, 1, {.dtype = DType::i64})), HasSubstr("at most"));
    EXPECT_THAT(refused(tokens.narrow(0, 0, 1).contiguous()), HasSubstr("2 sequences"));
    EXPECT_THAT(refused(tokens.narrow(1, 0, 2).contiguous(), {1}), HasSubstr("2 numbers of valid tokens"));
    EXPECT_THAT(refused(tokens.narrow(1, 0, 2).contiguous(), {1, 3}), HasSubstr("from 0 to 2"));
    EXPECT_THAT(refused(tokens.narrow(1, 0, 0).contiguous()), HasSubstr("at least one new position"));
    EXPECT_THAT(refused(full({2, 1}, static_cast<double>(V), {.dtype = DType::i64})),
                HasSubstr("got " + std::to_string(V)));
    EXPECT_THAT(refused(full({2, 1}, -1, {.dtype = DType::i64})), HasSubstr("got -1"));
    EXPECT_THAT(refused(zeros({2, 1})), HasSubstr("tokens i64 [B, T]"));
    EXPECT_THAT(refused(Tensor()), HasSubstr("undefined"));
    EXPECT_THAT(cache.lengths(), ElementsAre(4, 3));
    const NoGrad no_grad;
    expect_values(model(tokens.narrow(1, 4, 1).contiguous(), cache, Counts{1, 0}).select(0, 0),
                  model(tokens.narrow(1, 0, 5).contiguous()).select(0, 0).select(0, 4).to_vector<double>(),
                  "logits afterwards", kTolerance);
  }
}

// ---- T5

T5 small_t5(Device device) {
  T5 model(testing::small_t5());
  load_t5_weights(golden_path("t5.safetensors"), model);
  model.to(device);
  model.eval();
  return model;
}

TEST_P(DecoderCacheTest, T5PiecesEqualTheWhole) {
  const NoGrad no_grad;
  T5 model = small_t5(device());
  const Tensor lengths = Tensor::from(Counts{5, 3}, {2}).to(device());
  const Tensor memory = model.encode(text(2, 5, 12, device()), lengths);
  // Longer than the distances that have a bucket each.
  const std::int64_t T = device().is_cpu() ? 24 : 9;
  const Tensor target = text(2, T, 12, device());
  const std::vector<double> want = model.decode(target, memory, lengths).to_vector<double>();
  for (const Counts& pieces : {Counts{T}, Counts{T - 5, 1, 1, 3}}) {
    T5Cache cache = model.begin(memory, lengths, T);
    std::vector<Tensor> parts;
    for (const std::int64_t n : pieces)
      parts.push_back(model.decode(target.narrow(1, cache.length(), n).contiguous(), cache));
    EXPECT_EQ(cache.length(), T);
    EXPECT_EQ(cache.capacity(), T);
    expect_values(cat(parts, 1), want, "logits", kTolerance);
  }
}

TEST_P(DecoderCacheTest, T5GreedyIsThePlainLoop) {
  T5 model = small_t5(device());
  const Tensor source = text(3, 6, 12, device()), lengths = Tensor::from(Counts{6, 2, 4}, {3}).to(device());
  constexpr std::int64_t kMost = 6;
  std::vector<Counts> plain;  // without an end
  {
    const NoGrad no_grad;
    const Tensor memory = model.encode(source, lengths);
    Tensor target = zeros({3, 1}, {.dtype = DType::i64, .device = device()});
    for (std::int64_t t = 0; t < kMost; ++t)
      target = cat({target, argmax(model.decode(target, memory, lengths).select(1, t), 1, true)}, 1);
    for (std::int64_t b = 0; b < 3; ++b)
      plain.push_back(target.select(0, b).narrow(0, 1, kMost).contiguous().to_vector<std::int64_t>());
  }
  model.train();
  // A token that is written somewhere as the end: rows stop at different times.
  const std::int64_t end = plain[0][2];
  std::vector<Counts> want = plain;
  for (Counts& row : want) row.erase(std::find(row.begin(), row.end(), end), row.end());
  EXPECT_LE(want[0].size(), 2U);
  EXPECT_EQ(model.greedy(source, lengths, kMost, 0, end), want);
  EXPECT_EQ(model.greedy(source, lengths, kMost, 0, -1), plain);
  EXPECT_EQ(model.greedy(source, lengths, 0, 0, -1), std::vector<Counts>(3));
  EXPECT_TRUE(model.is_training());
}

TEST(DecoderCacheErrors, T5) {
  T5 model = small_t5(Device::cpu());
  const Tensor source = text(2, 5, 12, Device::cpu()), memory = model.encode(source);
  EXPECT_THAT(message_of([&] { model.begin(memory, {}, 0); }), HasSubstr("room for at least one token"));
  EXPECT_THAT(message_of([&] { model.begin({}, {}, 1); }), HasSubstr("undefined"));
  EXPECT_THAT(message_of([&] { model.begin(zeros({2, 5, 9}), {}, 1); }), HasSubstr("[B, S, 10]"));
  EXPECT_THAT(message_of([&] { model.greedy(source, {}, -1, 0, 1); }), HasSubstr("at least 0 tokens"));
  EXPECT_THAT(message_of([&] { model.greedy(source, {}, 3, 12, 1); }), HasSubstr("got 12"));

  T5Cache cache = model.begin(memory, {}, 3);
  const Tensor tokens = text(2, 3, 12, Device::cpu());
  model.decode(tokens.narrow(1, 0, 1).contiguous(), cache);
  const auto refused = [&](const Tensor& t) { return message_of([&] { model.decode(t, cache); }); };
  EXPECT_THAT(refused(tokens), HasSubstr("at most 2 positions"));
  EXPECT_THAT(refused(tokens.narrow(0, 0, 1).narrow(1, 0, 1).contiguous()), HasSubstr("2 rows"));
  EXPECT_THAT(refused(full({2, 1}, 12, {.dtype = DType::i64})), HasSubstr("got 12"));
  EXPECT_THAT(refused(tokens.narrow(1, 0, 0).contiguous()), HasSubstr("at least one"));
  EXPECT_THAT(refused(zeros({2, 1})), HasSubstr("tokens i64 [B, T]"));
  EXPECT_EQ(cache.length(), 1);
  const Tensor got = model.decode(tokens.narrow(1, 1, 2).contiguous(), cache);
  EXPECT_FALSE(got.requires_grad());
  expect_values(got, model.decode(tokens, memory).narrow(1, 1, 2).contiguous().to_vector<double>(), "logits",
                kTolerance);
}

// ---- cost

struct Cost {
  std::size_t ops = 0;
  std::uint64_t bytes = 0;  // of the tensors that ops read and write
};

Cost cost_of(const std::function<void()>& f) {
  Profiler profiler;
  f();
  Cost cost;
  for (const ProfileRecord& r : profiler.stop().records)
    if (r.kind == ProfileKind::op) ++cost.ops, cost.bytes += r.bytes;
  return cost;
}

constexpr std::int64_t kFirst = 3, kLast = 60, kContext = 64;

/// step(t) reads one token behind t others; again(t) reads all t + 1.
void expect_flat(const std::string& name, const std::function<void(std::int64_t)>& step,
                 const std::function<void(std::int64_t)>& again) {
  const NoGrad no_grad;
  Cost first, last;
  for (std::int64_t t = 0; t <= kLast; ++t) {
    const Cost cost = cost_of([&] { step(t); });
    if (t == kFirst) first = cost;
    last = cost;
  }
  EXPECT_GT(first.ops, 10U) << name;
  EXPECT_EQ(last.ops, first.ops) << name;
  EXPECT_LE(static_cast<double>(last.bytes), 1.2 * static_cast<double>(first.bytes)) << name;
  // What the bound would not let pass.
  const auto bytes = [&](std::int64_t t) { return static_cast<double>(cost_of([&] { again(t); }).bytes); };
  EXPECT_GE(bytes(kLast), 2 * bytes(kFirst)) << name;
}

TEST(DecoderCacheCost, OfATokenIsFlatInTheLength) {
  Gpt2Options gpt2 = testing::small_gpt2();
  LlamaOptions llama = testing::small_llama();
  gpt2.context = llama.context = kContext;
  Gpt2 first(gpt2);
  Llama second(llama);
  const Tensor tokens = text(1, kContext, 11, Device::cpu());
  for (CausalLm* model : {static_cast<CausalLm*>(&first), static_cast<CausalLm*>(&second)})
    for (const std::int64_t page_size : {0, 64}) {
      model->eval();
      KvCache cache = cache_of(*model, 1, page_size);
      expect_flat(
          model->type_name(), [&](std::int64_t t) { (*model)(tokens.narrow(1, t, 1).contiguous(), cache); },
          [&](std::int64_t t) { (*model)(tokens.narrow(1, 0, t + 1).contiguous()); });
    }
  T5 third(testing::small_t5());
  third.eval();
  const NoGrad no_grad;
  const Tensor memory = third.encode(text(1, 5, 12, Device::cpu()));
  T5Cache cache = third.begin(memory, {}, kContext);
  expect_flat(
      "t5", [&](std::int64_t t) { third.decode(tokens.narrow(1, t, 1).contiguous(), cache); },
      [&](std::int64_t t) { third.decode(tokens.narrow(1, 0, t + 1).contiguous(), memory); });
}

}  // namespace
}  // namespace gpunn
