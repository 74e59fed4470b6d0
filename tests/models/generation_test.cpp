// Generation: each text equals a plain loop over the whole model, whatever shares the batch, with every
// cache; beams equal a search through all texts; stop strings, streaming and penalties.
#include "gpunn/models/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/models/char_rnn.h"
#include "tests/models/generation_testing.h"
#include "tests/support/devices.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using testing::log_probability;
using testing::TinyDecoder;
using testing::Tokens;

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
      out.push_back(sampler.sample_row(logits));
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

}  // namespace
}  // namespace gpunn
