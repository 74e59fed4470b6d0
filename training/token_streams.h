#pragma once
// Batches of one long sequence of tokens for language models: parallel streams whose windows follow each
// other (truncated back-propagation with carried state), and windows from random places.
#include <cstdint>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

struct TokenStreamOptions {
  std::int64_t streams = 1;  // B, the batch size to load them with
  std::int64_t length = 1;   // T, tokens a window
  /// Begins each epoch up to T - 1 tokens later, drawn from (seed, epoch), so that windows do not always end
  /// at the same places.
  bool shift = false;
  std::uint64_t seed = 0;
};

/// The tokens cut into B contiguous streams of equal length, and each stream into windows of T. Row r is
/// window r / B of stream r mod B: a DataLoader with batch_size B and without shuffling gives window after
/// window, each row the continuation of the same row before, so that the state of one step is that of the
/// next; it starts anew where step mod windows() is 0. Inputs i64 [n, T]; targets i64 [n, T] are the tokens
/// that follow. Tokens at the end that fill no window of all streams are left out.
class GPUNN_API TokenStreams final : public Dataset {
 public:
  /// Throws InvalidArgument for sizes below 1, or when the tokens are too few for a window of each stream.
  TokenStreams(std::vector<std::int64_t> tokens, TokenStreamOptions options);

  const TokenStreamOptions& options() const noexcept { return options_; }
  /// Steps of an epoch; the same in all epochs.
  std::int64_t windows() const noexcept { return windows_; }
  std::int64_t size() const override { return windows_ * options_.streams; }
  Batch get(std::span<const std::int64_t> indices) const override { return get_in_epoch(indices, 0); }
  Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const override;
  /// Tokens that epoch `epoch` leaves out at the start.
  std::int64_t shift(std::int64_t epoch) const;

 private:
  std::vector<std::int64_t> tokens_;
  TokenStreamOptions options_;
  std::int64_t stream_ = 0, windows_ = 0;
};

struct TokenWindowOptions {
  std::int64_t length = 1;   // T, tokens a window
  std::int64_t windows = 0;  // rows of an epoch; 0: as many as fit beside each other
  std::uint64_t seed = 0;
};

/// Windows from places drawn from (seed, epoch, row), each start equally likely. Inputs and targets as
/// TokenStreams'. Nothing is carried from row to row; the order of rows does not matter.
class GPUNN_API TokenWindows final : public Dataset {
 public:
  /// Throws InvalidArgument for sizes out of range and for fewer than T + 1 tokens.
  TokenWindows(std::vector<std::int64_t> tokens, TokenWindowOptions options);

  std::int64_t size() const override { return options_.windows; }
  Batch get(std::span<const std::int64_t> indices) const override { return get_in_epoch(indices, 0); }
  Batch get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const override;
  /// Where window `row` of an epoch begins.
  std::int64_t start(std::int64_t row, std::int64_t epoch) const;

 private:
  std::vector<std::int64_t> tokens_;
  TokenWindowOptions options_;
};

}  // namespace gpunn
