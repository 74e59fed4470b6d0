// Generation: each text equals a plain loop over the whole model, whatever shares the batch, with every
// cache; beams equal a search through all texts; stop strings, streaming and penalties.
#include "gpunn/models/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/layers/attention.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/positions.h"
#include "gpunn/models/char_rnn.h"
#include "gpunn/models/detail/generation.h"
#include "gpunn/training/utf8.h"
#include "tests/support/devices.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Tokens = std::vector<std::int64_t>;

/// The next token's logits are a row of a table: what comes out can be said by hand.
class TableLm : public CausalLm {
 public:
  TableLm(std::vector<std::vector<double>> rows, std::int64_t context = 64)
      : rows_(std::move(rows)), context_(context) {}

  Tensor forward(const Tensor& tokens) override {
    ++calls;
    std::vector<float> out;
    for (const std::int64_t token : tokens.to_vector<std::int64_t>())
      for (const double logit : rows_.at(static_cast<std::size_t>(token)))
        out.push_back(static_cast<float>(logit));
    return Tensor::from(out, {tokens.size(0), tokens.size(1), vocabulary()}, {.device = Device::cpu()});
  }
  Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) override {
    cache.begin(tokens.size(1), valid);
    const Tensor rows = zeros({tokens.size(0), tokens.size(1), 1, 1}, {.device = Device::cpu()});
    cache.append(0, rows, rows);
    cache.commit();
    return forward(tokens);
  }
  KvCacheOptions cache_options() const override { return {.head_dim = 1, .device = Device::cpu()}; }
  std::int64_t vocabulary() const noexcept override { return std::ssize(rows_); }
  std::int64_t context() const noexcept override { return context_; }
  void visit_members(MemberVisitor&) override {}
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<TableLm>(*this); }

  int calls = 0;

 private:
  std::vector<std::vector<double>> rows_;
  std::int64_t context_;
};

/// Token i is followed by token i + 1.
TableLm chain(std::size_t count) {
  std::vector<std::vector<double>> rows(count, std::vector<double>(count, 0.0));
  for (std::size_t i = 0; i < count; ++i) rows[i][(i + 1) % count] = 5;
  return TableLm(rows);
}

std::function<std::string(std::int64_t)> pieces(std::vector<std::string> of) {
  return [of](std::int64_t token) { return of.at(static_cast<std::size_t>(token)); };
}

/// One layer of attention: small, and everything before a token matters to it.
class TinyDecoder : public CausalLm {
 public:
  static constexpr std::int64_t kVocabulary = 11, kFeatures = 8, kContext = 12;

  Tensor forward(const Tensor& tokens) override {
    const std::int64_t T = tokens.size(1);
    const std::vector<std::int64_t> starts(static_cast<std::size_t>(tokens.size(0)), 0);
    const Tensor x = embed(tokens, positions_behind(starts, T, kContext, tokens.device()));
    MultiheadAttentionCall call;
    call.is_causal = true;
    return head(attention(x, x, x, call).y + x);
  }
  Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) override {
    const std::int64_t T = tokens.size(1);
    const Tensor x = embed(tokens, positions_behind(cache.lengths(), T, kContext, tokens.device()));
    cache.begin(T, valid);
    const Tensor y = attention(x, cache, 0);
    cache.commit();
    return head(y + x);
  }
  KvCacheOptions cache_options() const override {
    return {.kv_heads = 2, .head_dim = kFeatures / 2, .device = head.weight.device()};
  }
  std::int64_t vocabulary() const noexcept override { return kVocabulary; }
  std::int64_t context() const noexcept override { return kContext; }

  Embedding tokens_table{kVocabulary, kFeatures}, positions_table{kContext, kFeatures};
  MultiheadAttention attention{kFeatures, 2, {.batch_first = true}};
  Linear head{kFeatures, kVocabulary};
  GPUNN_MEMBERS(tokens_table, positions_table, attention, head)

 private:
  Tensor embed(const Tensor& tokens, const Tensor& positions) {
    return tokens_table(tokens) * 3.0 + positions_table(positions);
  }
};

class GenerationTest : public testing::DeviceTest {
 protected:
  GenerationTest() {
    testing::fill_state(model_);
    model_.to(device());
  }

  void SetUp() override {
    try {
      for (GenerationOptions options : caches()) {
        options.max_new_tokens = 2;
        generate(model_, Tokens{0}, options);
      }
    } catch (const Unsupported& error) {
      GTEST_SKIP() << error.what();
    }
  }

  /// Logits after the last token, everything read at once.
  std::vector<double> logits_after(const Tokens& window) {
    const NoGrad no_grad;
    const auto T = static_cast<std::int64_t>(window.size());
    return model_(Tensor::from(window, {1, T}, {.device = device()}))
        .select(0, 0)
        .select(0, T - 1)
        .to(Device::cpu())
        .to(DType::f64)
        .to_vector<double>();
  }

  /// The plain loop: the model reads its window again for each token, which slides by halves.
  Tokens plain(Tokens text, std::int64_t count, const SamplingOptions& sampling, std::uint64_t seed) {
    TokenSampler sampler(sampling, seed);
    Tokens out;
    std::size_t begin = text.size() - std::min<std::size_t>(text.size(), TinyDecoder::kContext);
    for (; count > 0; --count) {
      if (text.size() - begin > TinyDecoder::kContext) begin = text.size() - TinyDecoder::kContext / 2;
      const std::vector<double> logits =
          logits_after(Tokens(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end()));
      out.push_back(sampler.sample(logits));
      text.push_back(out.back());
    }
    return out;
  }

  static std::vector<GenerationOptions> caches() {
    GenerationOptions none, rooms, pages;
    none.use_cache = false;
    pages.page_size = 2;
    return {none, rooms, pages};
  }

  TinyDecoder model_;
};
GPUNN_ON_EVERY_DEVICE(GenerationTest);

const std::vector<Tokens> kPrompts{{3}, {1, 4, 1, 5, 9}, {2, 6, 5}};

TEST_P(GenerationTest, TextsOfABatchAreThoseOfTheirOwn) {
  for (GenerationOptions options : caches())
    for (const SamplingOptions& sampling : std::vector<SamplingOptions>{
             {.greedy = true}, {.temperature = 1.5}, {.top_k = 4, .top_p = 0.9, .min_p = 0.05}}) {
      options.max_new_tokens = 6;
      options.sampling = sampling;
      options.seed = 17;
      const std::vector<Generated> together = generate(model_, kPrompts, options);
      ASSERT_EQ(together.size(), kPrompts.size());
      for (std::size_t b = 0; b < kPrompts.size(); ++b) {
        const Tokens want = plain(kPrompts[b], 6, sampling, generation_seed(17, b));
        EXPECT_EQ(together[b].tokens, want) << b;
        GenerationOptions alone = options;
        alone.seed = generation_seed(17, b);
        EXPECT_EQ(generate(model_, kPrompts[b], alone).tokens, want) << b;
        EXPECT_EQ(together[b].stop, StopReason::length);
      }
    }
  EXPECT_TRUE(model_.is_training()) << "the mode is restored";
}

TEST_P(GenerationTest, TheDeviceDoesNotMatter) {
  TinyDecoder host;
  testing::fill_state(host);
  host.to(Device::cpu());
  GenerationOptions options{.max_new_tokens = 7, .sampling = {.temperature = 1.2}, .seed = 3};
  for (const Tokens& prompt : kPrompts)
    EXPECT_EQ(generate(model_, prompt, options).tokens, generate(host, prompt, options).tokens);
}

TEST_P(GenerationTest, TextsThatEndEarlierLeaveTheOthersAlone) {
  const SamplingOptions sampling{.temperature = 1.5};
  const Tokens first = plain(kPrompts[0], 7, sampling, generation_seed(5, 0)),
               second = plain(kPrompts[1], 7, sampling, generation_seed(5, 1));
  // A token of the first text that the second one has later or never.
  GenerationOptions options{.max_new_tokens = 7, .sampling = sampling, .seed = 5};
  options.stop_tokens = {first[1]};
  for (const GenerationOptions& cache : caches()) {
    options.use_cache = cache.use_cache;
    options.page_size = cache.page_size;
    const std::vector<Generated> texts =
        generate(model_, std::vector<Tokens>{kPrompts[0], kPrompts[1]}, options);
    for (std::size_t b = 0; b < 2; ++b) {
      const Tokens& all = b == 0 ? first : second;
      const auto end = std::find(all.begin(), all.end(), first[1]);
      EXPECT_EQ(texts[b].stop, end == all.end() ? StopReason::length : StopReason::token);
      EXPECT_EQ(texts[b].tokens, Tokens(all.begin(), end == all.end() ? end : end + 1)) << b;
    }
  }
}

TEST_P(GenerationTest, TextsSlideBeyondTheContext) {
  Tokens longer(30);
  for (std::size_t i = 0; i < longer.size(); ++i) longer[i] = static_cast<std::int64_t>(i * i % 11);
  const std::vector<Tokens> prompts{longer, {1, 2, 3}, Tokens(longer.begin(), longer.begin() + 12)};
  for (GenerationOptions options : caches()) {
    options.max_new_tokens = 16;
    options.sampling = {.temperature = 1.5};
    EXPECT_THAT([&] { generate(model_, prompts, options); },
                ThrowsMessage<InvalidArgument>(AllOf(HasSubstr("at most 12 tokens"), HasSubstr("prompt 0"))));
    options.beyond_context = BeyondContext::slide;
    const std::vector<Generated> texts = generate(model_, prompts, options);
    for (std::size_t b = 0; b < prompts.size(); ++b) {
      EXPECT_EQ(texts[b].tokens, plain(prompts[b], 16, options.sampling, generation_seed(0, b))) << b;
      EXPECT_EQ(texts[b].stop, StopReason::length);
    }
    // Otherwise the text ends: the last token needs no position any more.
    options.beyond_context = BeyondContext::stop;
    const Generated text = generate(model_, prompts[1], options);
    EXPECT_EQ(text.stop, StopReason::context);
    EXPECT_EQ(text.tokens.size(), 10U);
    EXPECT_EQ(generate(model_, prompts[2], options).tokens.size(), 1U) << "a prompt as long as the context";
  }
}

/// Sum of log-probabilities of `tokens` behind `prompt`.
double log_probability(const std::function<std::vector<double>(const Tokens&)>& logits_of, Tokens prompt,
                       const Tokens& tokens) {
  double sum = 0;
  for (const std::int64_t token : tokens) {
    const std::vector<double> logits = logits_of(prompt);
    double total = 0;
    for (const double logit : logits) total += std::exp(logit);
    sum += logits[static_cast<std::size_t>(token)] - std::log(total);
    prompt.push_back(token);
  }
  return sum;
}

TEST_P(GenerationTest, BeamsKeepTheirOwnPast) {
  std::vector<Tokens> first;
  for (GenerationOptions options : caches()) {
    options.max_new_tokens = 6;
    options.num_beams = 4;
    options.num_results = 4;
    const std::vector<Generated> texts = generate(model_, std::span(kPrompts).subspan(1), options);
    ASSERT_EQ(texts.size(), 8U);
    std::vector<Tokens> found;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const double want = log_probability([&](const Tokens& t) { return logits_after(t); },
                                          kPrompts[1 + i / 4], texts[i].tokens);
      EXPECT_NEAR(texts[i].log_probability, want, 1e-4);
      EXPECT_NEAR(texts[i].score, want / 6, 1e-4);
      if (i % 4 > 0) {
        EXPECT_LE(texts[i].score, texts[i - 1].score);
      }
      found.push_back(texts[i].tokens);
    }
    if (first.empty()) first = found;
    EXPECT_EQ(found, first) << "the cache changes nothing";
    const Tokens greedy = plain(kPrompts[1], 6, {.greedy = true}, 0);
    EXPECT_GE(texts[0].log_probability + 1e-6,
              log_probability([&](const Tokens& t) { return logits_after(t); }, kPrompts[1], greedy));
    // Across the context's end all beams are read anew.
    options.max_new_tokens = 14;
    EXPECT_THAT(generate(model_, kPrompts[1], options).tokens, ::testing::SizeIs(8));
    options.beyond_context = BeyondContext::slide;
    EXPECT_THAT(generate(model_, kPrompts[1], options).tokens, ::testing::SizeIs(14));
  }
}

class CharGenerationTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(CharGenerationTest);

TEST_P(CharGenerationTest, CarriesTheStateOfEachText) {
  for (const RnnMode mode : {RnnMode::lstm, RnnMode::gru}) {
    CharRnn model(
        {.vocabulary = 11, .embedding = 4, .hidden = 6, .mode = mode, .num_layers = 2, .dropout = 0.5});
    testing::fill_state(model);
    model.to(device());
    const SamplingOptions sampling{.temperature = 0.5};
    GenerationOptions options{.max_new_tokens = 8, .sampling = sampling, .seed = 2};
    const std::vector<Generated> together = generate(model, kPrompts, options);
    for (std::size_t b = 0; b < kPrompts.size(); ++b) {
      TokenSampler sampler(sampling, generation_seed(2, b));
      EXPECT_EQ(together[b].tokens, model.generate(kPrompts[b], 8, sampler)) << b;
    }
    model.eval();
    const auto logits_of = [&](const Tokens& text) {
      const NoGrad no_grad;
      const auto T = static_cast<std::int64_t>(text.size());
      const Tensor logits = model(Tensor::from(text, {1, T}, {.device = device()}));
      return logits.select(0, 0).select(0, T - 1).to(Device::cpu()).to(DType::f64).to_vector<double>();
    };
    GenerationOptions beams{.max_new_tokens = 5, .num_beams = 3, .num_results = 3};
    for (const Generated& text : generate(model, std::span(&kPrompts[1], 1), beams))
      EXPECT_NEAR(text.log_probability, log_probability(logits_of, kPrompts[1], text.tokens), 1e-4);
  }
}

// ---- what can be said by hand

TEST(BeamSearchTest, EnoughBeamsFindTheBestOfAllTexts) {
  const std::vector<std::vector<double>> rows{
      {0.1, 1.2, -0.3}, {0.9, -0.2, 0.8}, {0.5, 0.4, -1.5}};  // token 2 ends a text
  TableLm model(rows);
  for (const double length_penalty : {1.0, 0.0, 2.0, -1.0}) {
    std::map<Tokens, double> all;  // with scores
    const std::function<void(const Tokens&)> extend = [&](const Tokens& text) {
      for (std::int64_t token = 0; token < 3; ++token) {
        Tokens next = text;
        next.push_back(token);
        if (token < 2 && next.size() < 4) {
          extend(next);
          continue;
        }
        const double sum = log_probability(
            [&](const Tokens& t) { return rows[static_cast<std::size_t>(t.back())]; }, {0}, next);
        all.emplace(next, sum / std::pow(static_cast<double>(next.size()), length_penalty));
      }
    };
    extend({});
    GenerationOptions options{.max_new_tokens = 4, .num_beams = 40, .length_penalty = length_penalty};
    options.num_results = 31;
    options.stop_tokens = {2};
    const std::vector<Generated> texts = generate(model, std::vector<Tokens>{{0}}, options);
    ASSERT_EQ(texts.size(), all.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_NEAR(texts[i].score, all.at(texts[i].tokens), 1e-6);
      EXPECT_LE(texts[i].score, texts[i == 0 ? 0 : i - 1].score + 1e-12) << "best first";
      EXPECT_EQ(texts[i].stop, texts[i].tokens.back() == 2 ? StopReason::token : StopReason::length);
      all.erase(texts[i].tokens);
    }
    EXPECT_TRUE(all.empty()) << "every text once";
  }
}

TEST(BeamSearchTest, FindsWhatGreedyMisses) {
  // 0 -> 1 is the likelier step, 0 -> 2 -> 3 the likelier way.
  const auto logs = [](std::vector<double> p) {
    for (double& v : p) v = std::log(v);
    return p;
  };
  TableLm model({logs({0.1, 0.5, 0.39, 0.01}), logs({0.25, 0.25, 0.25, 0.25}), logs({0.03, 0.03, 0.04, 0.9}),
                 logs({0.25, 0.25, 0.25, 0.25})});
  GenerationOptions options{.max_new_tokens = 2};
  EXPECT_THAT(generate(model, Tokens{0}, options).tokens, ElementsAre(1, 0));
  options.num_beams = 2;
  const Generated best = generate(model, Tokens{0}, options);
  EXPECT_THAT(best.tokens, ElementsAre(2, 3));
  EXPECT_NEAR(best.log_probability, std::log(0.39 * 0.9), 1e-6);
}

TEST(BeamSearchTest, EndsWhenNothingCanBecomeBetter) {
  // Token 1 ends a text and is nearly certain; the rest is hopeless.
  TableLm model({{0, 6, 0}, {0, 0, 0}, {0, 6, 0}});
  GenerationOptions options{.max_new_tokens = 50, .num_beams = 2, .length_penalty = 0};
  options.stop_tokens = {1};
  EXPECT_THAT(generate(model, Tokens{0}, options).tokens, ElementsAre(1));
  EXPECT_LT(model.calls, 5) << "not all 50 tokens";
  // With a premium on length the search goes on unless told to stop with the first texts at hand.
  options.length_penalty = 3;
  model.calls = 0;
  const Generated patient = generate(model, Tokens{0}, options);
  EXPECT_EQ(model.calls, 50);
  options.early_stopping = true;
  model.calls = 0;
  EXPECT_LT(generate(model, Tokens{0}, options).tokens.size(), patient.tokens.size());
  EXPECT_LT(model.calls, 5);
}

TEST(GenerationTextTest, StopStringsAreFoundAcrossTokens) {
  TableLm model = chain(6);
  GenerationOptions options{.max_new_tokens = 5};
  options.piece = pieces({"?", "the ", "en", "d of", " it", "!"});
  std::vector<std::string> stream;
  options.on_token = [&](const GenerationEvent& e) {
    stream.emplace_back(e.text);
    return true;
  };
  const auto run = [&](std::vector<std::string> stops) {
    options.stop_strings = std::move(stops);
    stream.clear();
    return generate(model, Tokens{0}, options);
  };
  Generated text = run({});
  EXPECT_EQ(text.text, "the end of it!");
  EXPECT_THAT(stream, ElementsAre("the ", "en", "d of", " it", "!"));
  text = run({"end"});
  EXPECT_EQ(text.text, "the ");
  EXPECT_EQ(text.stop, StopReason::text);
  EXPECT_THAT(text.tokens, ElementsAre(1, 2, 3)) << "all that was drawn";
  // What may be the beginning is held back until it is known.
  EXPECT_THAT(stream, ElementsAre("the ", "", ""));
  text = run({"endless", "nnn"});
  EXPECT_EQ(text.text, "the end of it!");
  EXPECT_THAT(stream, ElementsAre("the ", "", "end of", " it", "!"));
  // The earliest one in the text wins, also over one that is longer or complete earlier in the list.
  EXPECT_EQ(run({"d o", "e end of"}).text, "th");
  EXPECT_EQ(run({"it!"}).text, "the end of ");
  EXPECT_THAT(stream, ElementsAre("the ", "en", "d of", " ", ""));
  EXPECT_EQ(run({"t!?"}).text, "the end of it!");
  EXPECT_THAT(stream, ElementsAre("the ", "en", "d of", " i", "t!"))
      << "the end gives out what was held back";
  EXPECT_EQ(run({"the"}).text, "");
  // Beams end at them as well.
  options.on_token = {};
  options.num_beams = 2;
  EXPECT_EQ(run({"end"}).text, "the ");
  options.piece = {};
  EXPECT_THAT([&] { run({"end"}); }, ThrowsMessage<InvalidArgument>(HasSubstr("piece")));
  options.piece = pieces({"?"});
  EXPECT_THROW(run({""}), InvalidArgument);
}

TEST(GenerationTextTest, StreamsWholeCharactersOnly) {
  TableLm model = chain(6);
  GenerationOptions options{.max_new_tokens = 6};
  options.piece = pieces({"\xC3", "a\xF0", "\x9F\x98", "\x80z", "\xFF", "\xE2\x82"});
  std::string stream;
  int last = 0;
  options.on_token = [&](const GenerationEvent& e) {
    EXPECT_NO_THROW(check_utf8(e.text, "event"));
    stream += e.text;
    last += e.last ? 1 : 0;
    return true;
  };
  const Generated text = generate(model, Tokens{0}, options);
  EXPECT_EQ(text.text, "a😀z\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(stream, text.text);
  EXPECT_EQ(last, 1);
  // A stop token gives no text, and what is left comes with it.
  options.stop_tokens = {3};
  stream.clear();
  EXPECT_EQ(generate(model, Tokens{0}, options).text, "a\uFFFD");
  EXPECT_EQ(stream, "a\uFFFD");
}

TEST(GenerationTextTest, TheCallerEndsATextAndTheOthersGoOn) {
  TableLm model = chain(5);
  GenerationOptions options{.max_new_tokens = 4};
  std::vector<std::pair<std::size_t, std::int64_t>> events;
  options.on_token = [&](const GenerationEvent& e) {
    events.emplace_back(e.prompt, e.token);
    return e.prompt != 1 || e.token != 4;
  };
  const std::vector<Generated> texts = generate(model, std::vector<Tokens>{{0}, {2}}, options);
  EXPECT_THAT(texts[0].tokens, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(texts[0].stop, StopReason::length);
  EXPECT_THAT(texts[1].tokens, ElementsAre(3, 4));
  EXPECT_EQ(texts[1].stop, StopReason::caller);
  using P = std::pair<std::size_t, std::int64_t>;
  EXPECT_THAT(events, ElementsAre(P{0, 1}, P{1, 3}, P{0, 2}, P{1, 4}, P{0, 3}, P{0, 4}));
}

TEST(GenerationPenaltyTest, AreThePublishedRules) {
  const auto after = [](GenerationOptions options) {
    std::vector<double> logits{2, -2, 3, 4, 0};
    // Prompt 0, 1; new text 2, 2, 1.
    detail::penalise(logits, options, Tokens{0, 1, 2, 2, 1}, 2);
    return logits;
  };
  EXPECT_THAT(after({}), ElementsAre(2, -2, 3, 4, 0));
  EXPECT_THAT(after({.repetition_penalty = 2}), ElementsAre(1, -4, 1.5, 4, 0));
  EXPECT_THAT(after({.frequency_penalty = 0.5}), ElementsAre(2, -2.5, 2, 4, 0));
  EXPECT_THAT(after({.presence_penalty = 0.5}), ElementsAre(2, -2.5, 2.5, 4, 0));
  EXPECT_THAT(after({.repetition_penalty = 2, .frequency_penalty = 1, .presence_penalty = -3}),
              ElementsAre(1, -2, 2.5, 4, 0));
  // In a text: 0 is followed by 0 unless that has been said.
  TableLm model({{3, 2, 1}, {3, 2, 1}, {3, 2, 1}});
  GenerationOptions options{.max_new_tokens = 3};
  EXPECT_THAT(generate(model, Tokens{0}, options).tokens, ElementsAre(0, 0, 0));
  options.repetition_penalty = 10;
  EXPECT_THAT(generate(model, Tokens{0}, options).tokens, ElementsAre(1, 2, 0));
  options.repetition_penalty = 1;
  options.presence_penalty = 10;
  EXPECT_THAT(generate(model, Tokens{0}, options).tokens, ElementsAre(0, 1, 2))
      << "the prompt does not count";
}

TEST(GenerationErrorTest, PromptsAndOptions) {
  TableLm model = chain(4);
  const auto refuses = [&](const GenerationOptions& options, const std::vector<Tokens>& prompts,
                           const std::string& message) {
    EXPECT_THAT([&] { generate(model, prompts, options); },
                ThrowsMessage<InvalidArgument>(HasSubstr(message)));
  };
  refuses({}, {{1}, {}}, "at least one token, got prompt 1 without any");
  refuses({}, {{1}, {2, 4}}, "in [0, 4), got 4 as token 1 of prompt 1");
  refuses({}, {{-1}}, "in [0, 4), got -1 as token 0 of prompt 0");
  refuses({}, {Tokens(65, 0)}, "at most 64 tokens, which the model reads, got 65 in prompt 0");
  refuses({.max_new_tokens = -1}, {{1}}, "max_new_tokens of at least 0");
  refuses({.sampling = {.temperature = 0}}, {{1}}, "temperature above 0");
  refuses({.repetition_penalty = 0}, {{1}}, "repetition penalty above 0");
  refuses({.presence_penalty = std::numeric_limits<double>::infinity()}, {{1}}, "finite penalties");
  refuses({.num_beams = 0}, {{1}}, "at least 1 beam");
  refuses({.num_results = 2}, {{1}}, "results from 1 to the 1 beams");
  refuses({.sampling = {}, .num_beams = 2}, {{1}}, "greedy sampling with beams");
  refuses({.stop_tokens = {4}}, {{1}}, "got 4 as stop token");
  refuses({.start_token = 4}, {{1}}, "got 4 as start token");
  refuses({.page_size = -1}, {{1}}, "page size of at least 0");
  GenerationOptions options{.num_beams = 2};
  options.on_token = [](const GenerationEvent&) { return true; };
  refuses(options, {{1}}, "no on_token with beams");

  EXPECT_TRUE(generate(model, std::vector<Tokens>{}, {}).empty());
  EXPECT_TRUE(generate(model, Tokens{1}, {.max_new_tokens = 0}).tokens.empty());
  EXPECT_THAT(generate(model, Tokens{}, {.max_new_tokens = 2, .start_token = 3}).tokens, ElementsAre(0, 1));

  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  TableLm broken({{0, 1, 0}, {0, 0, 1}, {0, kNan, 0}});
  EXPECT_THAT(
      [&] { generate(broken, std::vector<Tokens>{{0}, {1}}, {}); },
      ThrowsMessage<InvalidArgument>(AllOf(HasSubstr("prompt 1, token 1"), HasSubstr("nan for token 1"))));
  EXPECT_THAT([&] { generate(broken, Tokens{1}, {.num_beams = 2}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("finite logits")));
}

TEST(GenerationErrorTest, SeedsOfRows) {
  EXPECT_EQ(generation_seed(5, 0), 5U);
  EXPECT_NE(generation_seed(5, 1), generation_seed(5, 2));
  EXPECT_NE(generation_seed(5, 1), generation_seed(6, 1));
  EXPECT_STREQ(to_string(StopReason::context), "context");
}

}  // namespace
}  // namespace gpunn
