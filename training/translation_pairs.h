#pragma once
// Generated pairs of short texts for models that read one and write another: words backwards, dates, numbers.
//
//   "reverse: stone"    -> "enots"
//   "date: 2026-11-22"  -> "22 november 2026"
//   "number: 347"       -> "three hundred forty seven"
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

enum class TranslationTask : std::uint8_t { reverse, date, number };

struct TranslationPair {
  std::string source, target;
};

/// English of 0 to 999,999, without "and" and hyphens. Throws InvalidArgument for others.
GPUNN_API std::string number_in_words(std::int64_t number);

struct TranslationPairsOptions {
  std::vector<TranslationTask> tasks{TranslationTask::reverse, TranslationTask::date,
                                     TranslationTask::number};
  std::int64_t rows = 1;  // of an epoch
  std::uint64_t seed = 0;
  bool test = false;  // pairs of their own: no pair is in both a training and a test set
};

/// Row `row` of an epoch belongs to task row mod tasks; words of 3 to 8 letters, days from 1900 to 2099,
/// numbers up to 999,999, drawn from (seed, epoch, row) (test sets: from (seed, row)). A hash of the source
/// says to which set a pair may belong. Inputs i64 [n, 1 + S]: the source's length, then its characters,
/// padded to the longest of the batch; targets i64 [n, T]: characters and the end, then -100.
class GPUNN_API TranslationPairs final : public Dataset {
 public:
  static constexpr std::int64_t kPadding = 0, kEnd = 1, kMarks = 2;  // characters follow
  static constexpr std::int64_t kLongest = 72;                       // tokens of a target, the end included

  /// Throws InvalidArgument for no tasks and fewer than one row.
  explicit TranslationPairs(TranslationPairsOptions options);
  std::int64_t size() const override { return options_.rows; }
  Batch get(std::span<const std::int64_t> indices) const override { return get_in_epoch(indices, 0); }
  Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const override;
  /// Throws InvalidArgument, as task(), for a row outside [0, size()).
  TranslationPair pair(std::int64_t row, std::int64_t epoch = 0) const;
  TranslationTask task(std::int64_t row) const;

  /// Tokens with the marks: characters of a source or target.
  static std::int64_t vocabulary();
  static std::string text_of(const std::vector<std::int64_t>& tokens);

 private:
  TranslationPairsOptions options_;
};

}  // namespace gpunn
