// Batches with hidden tokens: how rows are built, the shares of what happens to hidden tokens, that they
// depend on seed, epoch and row only, and bad input.
#include "gpunn/training/masked_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "gpunn/core/error.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kVocabulary = 500, kLength = 43;

/// Token i is i: a row says where its passages come from.
Ids counting(std::int64_t n = kVocabulary) {
  Ids tokens(static_cast<std::size_t>(n));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}
MaskedPassagesOptions options(std::int64_t rows = 400) {
  return {.length = kLength, .rows = rows, .vocabulary = kVocabulary, .seed = 7};
}
Ids all_rows(std::int64_t rows) { return counting(rows); }

std::vector<Ids> rows_of(const Tensor& x) {
  std::vector<Ids> rows;
  for (std::int64_t i = 0; i < x.size(0); ++i)
    rows.push_back(x.select(0, i).contiguous().to_vector<std::int64_t>());
  return rows;
}

/// A batch with what was hidden put back.
struct Restored {
  std::vector<Ids> tokens, segments, places;
  Ids follows;
};
Restored restored(const Batch& batch) {
  const MaskedBatch parts = split_masked(batch);
  Restored r{rows_of(parts.tokens), rows_of(parts.segments), {}, parts.follows.to_vector<std::int64_t>()};
  const std::int64_t T = parts.tokens.size(1);
  const Ids places = parts.places.to_vector<std::int64_t>(), hidden = parts.hidden.to_vector<std::int64_t>();
  r.places.resize(r.tokens.size());
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto b = static_cast<std::size_t>(places[i] / T);
    const std::int64_t t = places[i] % T;
    r.places.at(b).push_back(t);
    r.tokens[b][static_cast<std::size_t>(t)] = hidden[i];
  }
  return r;
}

TEST(MaskedPassages, RowsArePassagesOfTheText) {
  const MaskedPassages data(counting(), options());
  EXPECT_EQ(data.size(), 400);
  const Batch batch = data.get(all_rows(400));
  const std::int64_t K = data.hidden(), first = 20, second = 20;
  EXPECT_EQ(K, 6) << "15 % of 40";
  EXPECT_EQ(batch.inputs.shape(), Shape({400, 2, kLength}));
  EXPECT_EQ(batch.targets.shape(), Shape({400, 1 + 2 * K}));
  const Restored r = restored(batch);
  std::set<std::int64_t> starts;
  std::int64_t following = 0;
  for (std::size_t b = 0; b < 400; ++b) {
    const Ids& row = r.tokens[b];
    EXPECT_EQ(row[0], kVocabulary + kClassMark);
    EXPECT_EQ(row[21], kVocabulary + kSeparatorMark);
    EXPECT_EQ(row[42], kVocabulary + kSeparatorMark);
    for (std::size_t i = 2; i <= 20; ++i) ASSERT_EQ(row[i], row[1] + static_cast<std::int64_t>(i) - 1) << b;
    for (std::size_t i = 23; i <= 41; ++i)
      ASSERT_EQ(row[i], row[22] + static_cast<std::int64_t>(i) - 22) << b;
    EXPECT_EQ(r.follows[b], row[22] == row[1] + first ? 1 : 0) << b;
    following += r.follows[b];
    starts.insert(row[1]);
    Ids segments(22, 0);
    segments.resize(43, 1);
    EXPECT_EQ(r.segments[b], segments);
    EXPECT_EQ(r.places[b].size(), static_cast<std::size_t>(K));
    EXPECT_TRUE(std::is_sorted(r.places[b].begin(), r.places[b].end()));
    EXPECT_EQ(std::set(r.places[b].begin(), r.places[b].end()).size(), static_cast<std::size_t>(K));
    for (const std::int64_t place : r.places[b])
      EXPECT_TRUE(place != 0 && place != 21 && place != 42) << place;
  }
  // Four deviations of 400 fair draws are 40.
  EXPECT_NEAR(static_cast<double>(following), 200, 40);
  EXPECT_GT(starts.size(), 200U) << "of " << kVocabulary - first - second + 1;
}

// 12,000 hidden tokens: the shares within four deviations.
TEST(MaskedPassages, SharesOfWhatBecomesOfHiddenTokens) {
  constexpr std::int64_t kRows = 2000;
  const MaskedPassages data(counting(), options(kRows));
  const Batch batch = data.get(all_rows(kRows));
  const MaskedBatch parts = split_masked(batch);
  const Ids tokens = parts.tokens.to_vector<std::int64_t>(), places = parts.places.to_vector<std::int64_t>(),
            hidden = parts.hidden.to_vector<std::int64_t>();
  ASSERT_EQ(places.size(), 12000U);
  std::vector<std::int64_t> at_place(kLength, 0);
  double marks = 0, others = 0, same = 0;
  std::set<std::int64_t> replacements;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::int64_t now = tokens[static_cast<std::size_t>(places[i])];
    ++at_place[static_cast<std::size_t>(places[i] % kLength)];
    if (now == kVocabulary + kMaskMark)
      ++marks;
    else if (now == hidden[i])
      ++same;
    else
      ++others, replacements.insert(now);
  }
  EXPECT_NEAR(marks / 12000, 0.8, 0.015);
  EXPECT_NEAR(others / 12000, 0.1, 0.011);
  EXPECT_NEAR(same / 12000, 0.1, 0.011);
  EXPECT_GT(replacements.size(), 400U);
  EXPECT_GE(*replacements.begin(), 0);
  EXPECT_LT(*replacements.rbegin(), kVocabulary) << "no marks";
  for (std::size_t t = 0; t < kLength; ++t) {
    if (t == 0 || t == 21 || t == 42)
      EXPECT_EQ(at_place[t], 0);
    else
      EXPECT_NEAR(static_cast<double>(at_place[t]), 300, 70) << "place " << t;
  }
  // What is not hidden stays: counting rows, in which nothing else is out of line.
  const Restored r = restored(batch);
  for (const Ids& row : r.tokens)
    for (std::size_t i = 2; i <= 20; ++i) ASSERT_EQ(row[i], row[i - 1] + 1);
}

TEST(MaskedPassages, DependOnSeedEpochAndRowOnly) {
  const MaskedPassages data(counting(), options(10));
  const auto inputs = [](const MaskedPassages& d, const Ids& rows, std::int64_t epoch) {
    return rows_of(d.get_in_epoch(rows, epoch).inputs);
  };
  const std::vector<Ids> all = inputs(data, all_rows(10), 0);
  EXPECT_EQ(inputs(data, all_rows(10), 0), all);
  EXPECT_EQ(rows_of(data.get(all_rows(10)).inputs), all);
  EXPECT_EQ(inputs(data, {7, 2}, 0), (std::vector<Ids>{all[7], all[2]})) << "whatever shares the batch";
  const Batch two = data.get(Ids{7, 2});
  const Ids targets = two.targets.select(0, 1).contiguous().to_vector<std::int64_t>(),
            alone = data.get(Ids{2}).targets.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < targets.size(); ++i)
    EXPECT_EQ(targets[i], alone[i] + (i >= 1 && i <= 6 ? kLength : 0))
        << "places count over the batch, " << i;
  const std::vector<Ids> later = inputs(data, all_rows(10), 1);
  for (std::size_t b = 0; b < 10; ++b) EXPECT_NE(later[b], all[b]);
  std::set<Ids> different(all.begin(), all.end());
  different.insert(later.begin(), later.end());
  EXPECT_EQ(different.size(), 20U);
  MaskedPassagesOptions other = options(10);
  other.seed = 8;
  EXPECT_NE(inputs(MaskedPassages(counting(), other), all_rows(10), 0), all);
}

TEST(MaskedPassages, Edges) {
  // The shortest row: two tokens, then three; at least one is hidden.
  const MaskedPassages least(counting(16), {.length = 8, .rows = 60, .vocabulary = 16, .hidden_share = 0.01});
  EXPECT_EQ(least.hidden(), 1);
  const Restored r = restored(least.get(all_rows(60)));
  std::int64_t highest = 0, lowest = 16;
  for (std::size_t b = 0; b < 60; ++b) {
    const Ids& row = r.tokens[b];
    EXPECT_EQ(row[3], 16 + kSeparatorMark);
    EXPECT_EQ(row[7], 16 + kSeparatorMark);
    EXPECT_EQ(row[6], row[4] + 2);
    EXPECT_EQ(r.follows[b], row[4] == row[1] + 2 ? 1 : 0);
    highest = std::max({highest, row[2], row[6]});
    lowest = std::min({lowest, row[1], row[4]});
  }
  EXPECT_EQ(highest, 15) << "the text's last token is read";
  EXPECT_EQ(lowest, 0);
  const MaskedPassages most(counting(16), {.length = 8, .rows = 2, .vocabulary = 16, .hidden_share = 0.99});
  EXPECT_EQ(most.hidden(), 5) << "every token, no mark";
  EXPECT_EQ(restored(most.get(Ids{1})).places[0], (Ids{1, 2, 4, 5, 6}));
  const Batch none = most.get({});
  EXPECT_EQ(none.inputs.shape(), Shape({0, 2, 8}));
  EXPECT_EQ(split_masked(none).places.shape(), Shape({0}));
}

TEST(MaskedPassages, Refuses) {
  const auto refused = [](Ids tokens, const MaskedPassagesOptions& o) {
    return message_of([&] { MaskedPassages(tokens, o); });
  };
  const MaskedPassagesOptions good{.length = 8, .rows = 1, .vocabulary = 16};
  EXPECT_EQ(refused(counting(16), good), "no error");
  const auto with = [&](auto change) {
    MaskedPassagesOptions o = good;
    change(o);
    return refused(counting(16), o);
  };
  EXPECT_THAT(with([](auto& o) { o.length = 7; }), HasSubstr("length of at least 8"));
  EXPECT_THAT(with([](auto& o) { o.rows = 0; }), HasSubstr("rows"));
  EXPECT_THAT(with([](auto& o) { o.vocabulary = 0; }), HasSubstr("vocabulary"));
  EXPECT_THAT(with([](auto& o) { o.vocabulary = 15; }), HasSubstr("tokens in [0, 15), got 15 at 15"));
  EXPECT_THAT(with([](auto& o) { o.hidden_share = 0; }), HasSubstr("hidden_share in (0, 1), got 0"));
  EXPECT_THAT(with([](auto& o) { o.hidden_share = 1; }), HasSubstr("hidden_share"));
  EXPECT_THAT(refused(counting(15), good), HasSubstr("at least 16 tokens, got 15"));
  Ids negative = counting(16);
  negative[3] = -1;
  EXPECT_THAT(refused(negative, good), HasSubstr("got -1 at 3"));
  const MaskedPassages data(counting(16), good);
  EXPECT_THAT(message_of([&] { data.get(Ids{1}); }), HasSubstr("[0, 1), got 1"));
  EXPECT_THAT(message_of([&] { data.get(Ids{-1}); }), HasSubstr("got -1"));
  EXPECT_THAT(message_of([] { split_masked({}); }), HasSubstr("masked passages"));
  EXPECT_THAT(message_of([] { split_masked({zeros({1, 2, 8}), zeros({1, 4})}); }),
              HasSubstr("masked passages"));
  EXPECT_THAT(message_of([] { split_masked({zeros({2, 2, 8}), zeros({1, 5})}); }),
              HasSubstr("masked passages"));
}

}  // namespace
}  // namespace gpunn
