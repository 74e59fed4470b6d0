#pragma once
// Sequences of tokens of unequal length as batches: padded, packed, and grouped by length.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

using TokenSequence = std::vector<std::int64_t>;

struct PadOptions {
  std::int64_t padding = 0;     // the token behind a sequence's end
  std::int64_t max_length = 0;  // longer sequences lose their end; 0: none
  bool batch_first = true;      // [B, T], else [T, B]
  bool sorted = false;          // the longest sequence first, equal ones in the caller's order
};

struct PaddedTokens {
  Tensor tokens;                      // i64 [B, T] or [T, B] on the CPU, T the longest length
  std::vector<std::int64_t> lengths;  // [B], of the rows
  std::vector<std::int64_t> order;    // [B]: row b is the caller's sequence order[b]
};
/// Throws InvalidArgument for no sequences, an empty one (with its place) and a negative max_length.
GPUNN_API PaddedTokens pad_tokens(std::span<const TokenSequence> sequences, const PadOptions& options = {});

/// All first tokens, then all second ones, and so on, the longest sequence first: the rows that a packing of
/// these lengths has, without padding. An embedding of `tokens` is the packed sequence's data.
struct PackedTokens {
  Tensor tokens;                      // i64 [sum of lengths] on the CPU
  std::vector<std::int64_t> lengths;  // [B], falling
  std::vector<std::int64_t> order;    // as PaddedTokens::order
};
/// Errors as pad_tokens(). A `max_length` of 0 cuts nothing.
GPUNN_API PackedTokens pack_tokens(std::span<const TokenSequence> sequences, std::int64_t max_length = 0);

/// Lengths of the rows of i64 [B, T] on any device: T less the padding at each end. Throws InvalidArgument
/// for other tensors and, with its row, for a row of padding only.
GPUNN_API std::vector<std::int64_t> padded_lengths(const Tensor& tokens, std::int64_t padding = 0);

struct BucketOptions {
  std::int64_t batch_size = 1;
  std::int64_t pool = 50;  // batches whose sequences are sorted together: more save padding, fewer mix better
  std::uint64_t seed = 0;
};
/// An order of sequences in which the `batch_size` ones that stand together have similar lengths: shuffled by
/// (seed, epoch), sorted by length within pools, the full batches then shuffled again. Every index occurs
/// once; a last batch that is not full stays last. Throws InvalidArgument for options below 1.
GPUNN_API std::vector<std::int64_t> bucket_order(std::span<const std::int64_t> lengths,
                                                 const BucketOptions& options, std::int64_t epoch);

struct LabelledSequencesOptions {
  std::int64_t padding = 0;
  std::int64_t max_length = 0;  // 0: none
  /// Size of the batches to order by bucket_order(); load them with the same batch_size and without
  /// shuffling. 0: rows are the sequences in their order.
  std::int64_t bucket_batch = 0;
  std::uint64_t seed = 0;
};

/// Sequences with a class each. A batch is padded to its own longest sequence: inputs i64 [n, T], targets
/// i64 [n].
class GPUNN_API LabelledSequences final : public Dataset {
 public:
  /// Throws InvalidArgument for unequal counts, and for sequences that are empty or hold the padding, with
  /// their place.
  LabelledSequences(std::vector<TokenSequence> sequences, std::vector<std::int64_t> labels,
                    LabelledSequencesOptions options = {});
  ~LabelledSequences() override;
  std::int64_t size() const override { return static_cast<std::int64_t>(sequences_.size()); }
  Batch get(std::span<const std::int64_t> indices) const override;
  Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const override;

 private:
  std::vector<TokenSequence> sequences_;
  std::vector<std::int64_t> labels_, lengths_;
  LabelledSequencesOptions options_;
  struct EpochOrder;
  std::unique_ptr<EpochOrder> order_;  // of the pass that was asked for last
};

}  // namespace gpunn
