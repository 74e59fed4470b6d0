#pragma once
// Batches for models that guess hidden tokens (BERT): two passages of a text in a row, some tokens hidden.
#include <cstdint>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

/// Marks stand behind the vocabulary: token id vocabulary + mark.
inline constexpr std::int64_t kClassMark = 0, kSeparatorMark = 1, kMaskMark = 2, kMarks = 3;

struct MaskedPassagesOptions {
  std::int64_t length = 64;     // T, tokens of a row with its three marks
  std::int64_t rows = 1;        // of an epoch
  std::int64_t vocabulary = 0;  // tokens without marks
  double hidden_share = 0.15;   // of the passages' tokens that are to be guessed
  std::uint64_t seed = 0;
};

/// Rows "class A separator B separator": A from a place drawn from (seed, epoch, row); B is what follows it
/// in one half of the rows, a passage from elsewhere in the others. Of the tokens that are to be guessed 80 %
/// become the mask mark, 10 % any token, 10 % stay, as in J. Devlin et al., "BERT", 2019. Inputs i64 [n,
/// 2, T]: tokens, and segments (0: up to the first separator, then 1). Targets i64 [n, 1 + 2 K], K hidden
/// tokens a row: 1 where B follows, the hidden places counted over the batch (row T + place), and what stood
/// there.
class GPUNN_API MaskedPassages final : public Dataset {
 public:
  /// Throws InvalidArgument for a length below 8, other sizes below 1, a share outside (0, 1), tokens outside
  /// the vocabulary (with their place), and fewer than 2 T tokens.
  MaskedPassages(std::vector<std::int64_t> tokens, MaskedPassagesOptions options);

  std::int64_t size() const override { return options_.rows; }
  /// K.
  std::int64_t hidden() const noexcept { return hidden_; }
  Batch get(std::span<const std::int64_t> indices) const override { return get_in_epoch(indices, 0); }
  Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const override;

 private:
  std::vector<std::int64_t> tokens_;
  MaskedPassagesOptions options_;
  std::int64_t hidden_;
};

/// A batch in parts, on its device.
struct MaskedBatch {
  Tensor tokens, segments;  // i64 [n, T]
  Tensor places, hidden;    // i64 [n K]
  Tensor follows;           // i64 [n]
};
GPUNN_API MaskedBatch split_masked(const Batch& batch);

}  // namespace gpunn
