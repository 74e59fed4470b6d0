#include "gpunn/training/translation_pairs.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"

namespace gpunn {
namespace {

constexpr std::string_view kCharacters = " -0123456789:abcdefghijklmnopqrstuvwxyz";
constexpr std::uint64_t kStream = std::uint64_t{0x5450} << 48;
constexpr const char* kMonths[] = {"january", "february", "march",     "april",   "may",      "june",
                                   "july",    "august",   "september", "october", "november", "december"};
constexpr const char* kSmall[] = {"zero",    "one",     "two",       "three",    "four",
                                  "five",    "six",     "seven",     "eight",    "nine",
                                  "ten",     "eleven",  "twelve",    "thirteen", "fourteen",
                                  "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr const char* kTens[] = {"twenty", "thirty",  "forty",  "fifty",
                                 "sixty",  "seventy", "eighty", "ninety"};

std::string below_thousand(std::int64_t n) {
  std::string words;
  const auto add = [&](const char* word) { words += (words.empty() ? "" : " ") + std::string(word); };
  if (n >= 100) {
    add(kSmall[n / 100]);
    add("hundred");
    n %= 100;
  }
  if (n >= 20) {
    add(kTens[n / 10 - 2]);
    n %= 10;
  }
  if (n > 0) add(kSmall[n]);
  return words;
}

std::int64_t below(PhiloxStream& random, std::int64_t n) {
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
}

TranslationPair reversed_word(PhiloxStream& random) {
  std::string word;
  const std::int64_t length = 3 + below(random, 6);
  for (std::int64_t i = 0; i < length; ++i) word += static_cast<char>('a' + below(random, 26));
  return {"reverse: " + word, std::string(word.rbegin(), word.rend())};
}

TranslationPair written_date(PhiloxStream& random) {
  const std::int64_t year = 1900 + below(random, 200), month = below(random, 12);
  constexpr std::array<std::int64_t, 12> kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  const std::int64_t days = kDays[static_cast<std::size_t>(month)] + (month == 1 && leap ? 1 : 0);
  const std::int64_t day = 1 + below(random, days);
  char digits[32];
  std::snprintf(digits, sizeof digits, "%04d-%02d-%02d", static_cast<int>(year), static_cast<int>(month + 1),
                static_cast<int>(day));
  return {std::string("date: ") + digits,
          std::to_string(day) + " " + kMonths[month] + " " + std::to_string(year)};
}

/// Every length of number is as likely.
TranslationPair written_number(PhiloxStream& random) {
  std::int64_t most = 10;
  for (std::int64_t digits = below(random, 6); digits > 0; --digits) most *= 10;
  const std::int64_t number = below(random, most);
  return {"number: " + std::to_string(number), number_in_words(number)};
}

TranslationPair draw(TranslationTask task, PhiloxStream& random) {
  switch (task) {
    case TranslationTask::reverse:
      return reversed_word(random);
    case TranslationTask::date:
      return written_date(random);
    default:
      return written_number(random);
  }
}

/// One source in ten belongs to test sets (FNV-1a, the same everywhere).
bool is_for_test(const std::string& source) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : source) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return (hash >> 32) % 10 == 0;
}

std::int64_t token_of(char c) {
  return TranslationPairs::kMarks + static_cast<std::int64_t>(kCharacters.find(c));
}

}  // namespace

std::string number_in_words(std::int64_t number) {
  GPUNN_CHECK(number >= 0 && number <= 999'999, "expected a number from 0 to 999999, got ", number);
  if (number == 0) return kSmall[0];
  const std::int64_t thousands = number / 1000, rest = number % 1000;
  if (thousands == 0) return below_thousand(rest);
  const std::string words = below_thousand(thousands) + " thousand";
  return rest == 0 ? words : words + " " + below_thousand(rest);
}

TranslationPairs::TranslationPairs(TranslationPairsOptions options) : options_(std::move(options)) {
  GPUNN_CHECK(!options_.tasks.empty(), "expected at least one task");
  GPUNN_CHECK(options_.rows >= 1, "expected at least one row, got ", options_.rows);
}

TranslationTask TranslationPairs::task(std::int64_t row) const {
  check_indices(std::span(&row, 1));
  return options_.tasks[static_cast<std::size_t>(row % std::ssize(options_.tasks))];
}

TranslationPair TranslationPairs::pair(std::int64_t row, std::int64_t epoch) const {
  const TranslationTask kind = task(row);
  const std::uint64_t pass = options_.test ? 0 : static_cast<std::uint64_t>(epoch);
  PhiloxStream random(
      options_.seed + 0x9E3779B97F4A7C15U * pass,
      kStream + (options_.test ? std::uint64_t{1} << 47 : 0) + static_cast<std::uint64_t>(row));
  for (;;) {
    TranslationPair p = draw(kind, random);
    if (is_for_test(p.source) == options_.test) return p;
  }
}

Batch TranslationPairs::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const {
  check_indices(indices);
  std::vector<TranslationPair> pairs;
  std::size_t source = 0, target = 0;
  for (const std::int64_t row : indices) {
    pairs.push_back(pair(row, epoch));
    source = std::max(source, pairs.back().source.size());
    target = std::max(target, pairs.back().target.size() + 1);
  }
  std::vector<std::int64_t> inputs, targets;
  for (const TranslationPair& p : pairs) {
    inputs.push_back(std::ssize(p.source));
    for (const char c : p.source) inputs.push_back(token_of(c));
    inputs.resize(inputs.size() + source - p.source.size(), kPadding);
    for (const char c : p.target) targets.push_back(token_of(c));
    targets.push_back(kEnd);
    targets.resize(targets.size() + target - 1 - p.target.size(), -100);
  }
  const auto n = std::ssize(indices);
  return {Tensor::from(inputs, {n, 1 + static_cast<std::int64_t>(source)}, {.device = Device::cpu()}),
          Tensor::from(targets, {n, static_cast<std::int64_t>(target)}, {.device = Device::cpu()})};
}

std::int64_t TranslationPairs::vocabulary() { return kMarks + std::ssize(kCharacters); }

std::string TranslationPairs::text_of(const std::vector<std::int64_t>& tokens) {
  std::string text;
  for (const std::int64_t token : tokens) {
    if (token < kMarks || token >= vocabulary()) continue;
    text += kCharacters[static_cast<std::size_t>(token - kMarks)];
  }
  return text;
}

}  // namespace gpunn
