// Generated pairs of texts: that the answers are right, what a batch looks like, that training and test sets
// share nothing, and bad input.
#include "gpunn/training/translation_pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

using Ids = std::vector<std::int64_t>;

TranslationPairs pairs(std::int64_t rows, bool test = false, std::uint64_t seed = 3) {
  return TranslationPairs({.rows = rows, .seed = seed, .test = test});
}

TEST(NumberInWords, IsEnglish) {
  const std::map<std::int64_t, std::string> words{
      {0, "zero"},
      {7, "seven"},
      {10, "ten"},
      {13, "thirteen"},
      {19, "nineteen"},
      {20, "twenty"},
      {42, "forty two"},
      {90, "ninety"},
      {100, "one hundred"},
      {101, "one hundred one"},
      {115, "one hundred fifteen"},
      {347, "three hundred forty seven"},
      {1000, "one thousand"},
      {1001, "one thousand one"},
      {20'000, "twenty thousand"},
      {100'010, "one hundred thousand ten"},
      {999'999, "nine hundred ninety nine thousand nine hundred ninety nine"}};
  for (const auto& [number, text] : words) EXPECT_EQ(number_in_words(number), text);
  EXPECT_THAT(message_of([] { number_in_words(-1); }), HasSubstr("got -1"));
  EXPECT_THAT(message_of([] { number_in_words(1'000'000); }), HasSubstr("got 1000000"));
}

/// The number that words say.
std::int64_t number_of(const std::string& words) {
  static const std::map<std::string, std::int64_t> values = [] {
    std::map<std::string, std::int64_t> v;
    for (std::int64_t n = 0; n < 100; ++n)
      if (number_in_words(n).find(' ') == std::string::npos) v[number_in_words(n)] = n;
    return v;
  }();
  std::int64_t total = 0, part = 0;
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    const std::string word = words.substr(at, end - at);
    if (word == "hundred")
      part *= 100;
    else if (word == "thousand")
      total = part * 1000, part = 0;
    else
      part += values.at(word);
    at = end + 1;
  }
  return total + part;
}

TEST(NumberInWords, SaysEveryNumber) {
  for (std::int64_t n = 0; n <= 999'999; n += n < 2000 ? 1 : 997) ASSERT_EQ(number_of(number_in_words(n)), n);
}

void expect_date(const TranslationPair& p) {
  int year = 0, month = 0, day = 0;
  char rest = 0;
  ASSERT_EQ(std::sscanf(p.source.c_str(), "date: %4d-%2d-%2d%c", &year, &month, &day, &rest), 3) << p.source;
  EXPECT_EQ(p.source.size(), 16U) << p.source;
  static const std::array<const char*, 12> months{"january",   "february", "march",    "april",
                                                  "may",       "june",     "july",     "august",
                                                  "september", "october",  "november", "december"};
  ASSERT_TRUE(year >= 1900 && year <= 2099 && month >= 1 && month <= 12) << p.source;
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year == 2000;
  const int days = month == 2                                              ? (leap ? 29 : 28)
                   : month == 4 || month == 6 || month == 9 || month == 11 ? 30
                                                                           : 31;
  EXPECT_TRUE(day >= 1 && day <= days) << p.source;
  EXPECT_EQ(p.target, std::to_string(day) + " " + months[static_cast<std::size_t>(month - 1)] + " " +
                          std::to_string(year));
}

TEST(TranslationPairsTest, AnswersAreRight) {
  const TranslationPairs data = pairs(3000);
  std::map<std::size_t, std::int64_t> lengths, digits;
  std::set<std::string> months;
  for (std::int64_t row = 0; row < 3000; ++row) {
    const TranslationPair p = data.pair(row);
    EXPECT_LT(std::ssize(p.target), TranslationPairs::kLongest);
    switch (data.task(row)) {
      case TranslationTask::reverse: {
        ASSERT_TRUE(p.source.starts_with("reverse: ")) << p.source;
        const std::string word = p.source.substr(9);
        EXPECT_EQ(p.target, std::string(word.rbegin(), word.rend()));
        EXPECT_TRUE(std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; }));
        ++lengths[word.size()];
        break;
      }
      case TranslationTask::date:
        expect_date(p);
        months.insert(p.source.substr(11, 2));
        break;
      case TranslationTask::number:
        ASSERT_TRUE(p.source.starts_with("number: ")) << p.source;
        EXPECT_EQ(std::to_string(number_of(p.target)), p.source.substr(8));
        ++digits[p.source.size() - 8];
    }
  }
  EXPECT_EQ(lengths.size(), 6U);
  EXPECT_EQ(lengths.begin()->first, 3U);
  EXPECT_EQ(months.size(), 12U);
  ASSERT_EQ(digits.size(), 6U);
  for (const auto& [count, n] : digits) EXPECT_GT(n, 80) << count << " digits, of 1000";
}

TEST(TranslationPairsTest, TheLongestTargetFits) {
  std::size_t longest = 0;
  for (std::int64_t n = 0; n < 1000; ++n) longest = std::max(longest, number_in_words(n).size());
  // "... thousand ..." and the end.
  EXPECT_LE(2 * longest + std::string(" thousand ").size() + 1,
            static_cast<std::size_t>(TranslationPairs::kLongest));
}

TEST(TranslationPairsTest, BatchesArePaddedWithMarksThatDoNotCount) {
  const TranslationPairs data = pairs(60);
  const Ids rows{4, 0, 31, 59, 5};
  const Batch batch = data.get_in_epoch(rows, 2);
  const std::int64_t S = batch.inputs.size(1) - 1, T = batch.targets.size(1);
  const Ids inputs = batch.inputs.to_vector<std::int64_t>(),
            targets = batch.targets.to_vector<std::int64_t>();
  std::int64_t longest_source = 0, longest_target = 0;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    const TranslationPair p = data.pair(rows[b], 2);
    const auto in = inputs.begin() + static_cast<std::ptrdiff_t>(b) * (1 + S);
    const auto out = targets.begin() + static_cast<std::ptrdiff_t>(b) * T;
    const std::int64_t n = std::ssize(p.source), m = std::ssize(p.target);
    longest_source = std::max(longest_source, n);
    longest_target = std::max(longest_target, m + 1);
    EXPECT_EQ(*in, n);
    EXPECT_EQ(TranslationPairs::text_of(Ids(in + 1, in + 1 + n)), p.source);
    EXPECT_TRUE(
        std::all_of(in + 1 + n, in + 1 + S, [](std::int64_t t) { return t == TranslationPairs::kPadding; }));
    EXPECT_EQ(TranslationPairs::text_of(Ids(out, out + m)), p.target);
    EXPECT_EQ(out[m], TranslationPairs::kEnd);
    EXPECT_TRUE(std::all_of(out + m + 1, out + T, [](std::int64_t t) { return t == -100; }))
        << "ignored by losses";
    for (auto t = in + 1; t != in + 1 + n; ++t)
      EXPECT_TRUE(*t >= TranslationPairs::kMarks && *t < TranslationPairs::vocabulary());
  }
  EXPECT_EQ(S, longest_source);
  EXPECT_EQ(T, longest_target);
  EXPECT_EQ(TranslationPairs::text_of(
                {TranslationPairs::kPadding, TranslationPairs::kEnd, -100, TranslationPairs::vocabulary()}),
            "");
  const Batch none = data.get({});
  EXPECT_EQ(none.inputs.shape(), Shape({0, 1}));
  EXPECT_EQ(none.targets.shape(), Shape({0, 0}));
}

std::set<std::string> sources(const TranslationPairs& data, std::int64_t epoch = 0) {
  std::set<std::string> all;
  for (std::int64_t row = 0; row < data.size(); ++row) all.insert(data.pair(row, epoch).source);
  return all;
}

TEST(TranslationPairsTest, NoPairIsInBothSets) {
  // One-digit numbers come up in every set: it is the source that decides, not the row.
  std::set<std::string> train = sources(pairs(2000));
  train.merge(sources(pairs(2000), 1));
  const std::set<std::string> test = sources(pairs(2000, true));
  EXPECT_GT(test.size(), 1000U);
  for (const std::string& source : test) EXPECT_FALSE(train.count(source)) << source;
}

TEST(TranslationPairsTest, DependOnSeedEpochAndRowOnly) {
  const TranslationPairs data = pairs(60), test = pairs(60, true);
  EXPECT_EQ(sources(data), sources(pairs(60)));
  EXPECT_EQ(data.pair(7).source, pairs(10).pair(7).source) << "however many rows there are";
  EXPECT_NE(sources(data, 1), sources(data));
  EXPECT_EQ(sources(test, 1), sources(test)) << "a test set stays as it is";
  EXPECT_NE(sources(pairs(60, false, 4)), sources(data));
  const Batch one = data.get(Ids{8}), two = data.get(Ids{30, 8});
  EXPECT_EQ(one.inputs.to_vector<std::int64_t>(),
            two.inputs.select(0, 1).narrow(0, 0, one.inputs.size(1)).contiguous().to_vector<std::int64_t>());
}

TEST(TranslationPairsTest, TasksTakeTurns) {
  const TranslationPairs data({.tasks = {TranslationTask::number, TranslationTask::date}, .rows = 5});
  for (std::int64_t row = 0; row < 5; ++row) {
    EXPECT_EQ(data.task(row), row % 2 ? TranslationTask::date : TranslationTask::number);
    EXPECT_TRUE(data.pair(row).source.starts_with(row % 2 ? "date: " : "number: "));
  }
}

TEST(TranslationPairsTest, Refuses) {
  EXPECT_THAT(message_of([] { TranslationPairs({.tasks = {}}); }), HasSubstr("at least one task"));
  EXPECT_THAT(message_of([] { TranslationPairs({.rows = 0}); }), HasSubstr("at least one row, got 0"));
  const TranslationPairs data = pairs(5);
  EXPECT_THAT(message_of([&] { data.get(Ids{0, 5}); }), HasSubstr("[0, 5), got 5"));
  EXPECT_THAT(message_of([&] { data.pair(-1); }), HasSubstr("got -1"));
  EXPECT_THAT(message_of([&] { data.task(5); }), HasSubstr("got 5"));
}

}  // namespace
}  // namespace gpunn
