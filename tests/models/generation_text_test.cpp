// Generation, what can be said by hand: beams equal a search through all texts; stop strings, streaming,
// penalties, errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/models/detail/generation.h"
#include "gpunn/models/generation.h"
#include "gpunn/training/utf8.h"
#include "tests/models/generation_testing.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using testing::chain;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::log_probability;
using testing::pieces;
using testing::TableLm;
using ::testing::ThrowsMessage;
using testing::Tokens;

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

/// Beam search by its description: every step sorts all candidates, and nothing ends before the last step.
std::vector<std::pair<double, Tokens>> plain_beams(const std::vector<std::vector<double>>& rows, int beams,
                                                   std::size_t length, double length_penalty,
                                                   std::int64_t stop) {
  std::vector<std::pair<double, Tokens>> live{{0, {}}}, done;
  const auto finish = [&](double sum, const Tokens& text) {
    done.emplace_back(sum / std::pow(static_cast<double>(text.size()), length_penalty), text);
  };
  for (std::size_t step = 0; step < length; ++step) {
    std::vector<std::pair<double, Tokens>> all;
    for (const auto& [sum, text] : live) {
      const std::vector<double>& row = rows[static_cast<std::size_t>(text.empty() ? 0 : text.back())];
      double total = 0;
      for (const double logit : row) total += std::exp(logit);
      for (std::size_t v = 0; v < row.size(); ++v) {
        Tokens next = text;
        next.push_back(static_cast<std::int64_t>(v));
        all.emplace_back(sum + row[v] - std::log(total), next);
      }
    }
    std::sort(all.begin(), all.end(), std::greater<>());
    live.clear();
    for (const auto& [sum, text] : all) {
      if (std::ssize(live) == beams) break;
      if (text.back() == stop)
        finish(sum, text);
      else
        live.emplace_back(sum, text);
    }
  }
  for (const auto& [sum, text] : live) finish(sum, text);
  std::sort(done.begin(), done.end(), std::greater<>());
  return done;
}

TEST(BeamSearchTest, EqualsThePlainSearchThatNeverEndsEarly) {
  std::uint32_t state = 1;
  const auto random = [&] {
    state = state * 1664525 + 1013904223;
    return static_cast<double>(state >> 8) / 0x1p24 * 4 - 2;
  };
  int saved = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::vector<double>> rows(4, std::vector<double>(4));
    // Floats, as the model gives them; a stop token that is rare in some rounds and common in others.
    for (std::vector<double>& row : rows)
      for (double& logit : row) logit = static_cast<float>(random());
    for (std::vector<double>& row : rows) row[3] = static_cast<float>(row[3] + round % 4);
    TableLm model(rows);
    for (const double length_penalty : {0.0, 0.7, 1.0, 2.5, -0.5}) {
      GenerationOptions options{.max_new_tokens = 7, .num_beams = 3, .length_penalty = length_penalty};
      options.num_results = 3;
      options.stop_tokens = {3};
      model.calls = 0;
      const std::vector<Generated> texts = generate(model, std::vector<Tokens>{{0}}, options);
      const auto want = plain_beams(rows, 3, 7, length_penalty, 3);
      ASSERT_EQ(texts.size(), 3U);
      for (std::size_t i = 0; i < 3; ++i)
        EXPECT_NEAR(texts[i].score, want[i].first, 1e-9) << round << " " << length_penalty << " " << i;
      // The same steps in another order are equally probable but for rounding.
      if (want[0].first - want[1].first > 1e-9) {
        EXPECT_EQ(texts[0].tokens, want[0].second) << round << " " << length_penalty;
      }
      saved += model.calls < 7 ? 1 : 0;
    }
  }
  EXPECT_GT(saved, 30) << "the search does end early where it can";
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
