#include "gpunn/training/token_streams.h"

#include <cstring>
#include <utility>

#include "gpunn/core/random.h"

namespace gpunn {
namespace {

// Philox subsequences of their own; the epoch is added.
constexpr std::uint64_t kShiftStream = std::uint64_t{0x5453} << 48;
constexpr std::uint64_t kWindowStream = std::uint64_t{0x5457} << 48;

/// Rows of T tokens and of those one further; `start` gives each row's first.
template <class Start>
Batch windows_of(const std::vector<std::int64_t>& tokens, std::int64_t length,
                 std::span<const std::int64_t> indices, Start&& start) {
  const Shape shape{static_cast<std::int64_t>(indices.size()), length};
  Batch batch{empty(shape, {.dtype = DType::i64, .device = Device::cpu()}),
              empty(shape, {.dtype = DType::i64, .device = Device::cpu()})};
  auto *inputs = batch.inputs.host<std::int64_t>(), *targets = batch.targets.host<std::int64_t>();
  const std::size_t bytes = static_cast<std::size_t>(length) * sizeof(std::int64_t);
  for (const std::int64_t index : indices) {
    const std::int64_t* from = tokens.data() + start(index);
    std::memcpy(inputs, from, bytes);
    std::memcpy(targets, from + 1, bytes);
    inputs += length;
    targets += length;
  }
  return batch;
}

}  // namespace

TokenStreams::TokenStreams(std::vector<std::int64_t> tokens, TokenStreamOptions options)
    : tokens_(std::move(tokens)), options_(options) {
  GPUNN_CHECK(options.streams >= 1 && options.length >= 1, "expected streams and length of at least 1, got ",
              options.streams, " and ", options.length);
  const auto count = static_cast<std::int64_t>(tokens_.size());
  // One token more than inputs, and what the largest shift leaves out.
  const std::int64_t usable = count - 1 - (options.shift ? options.length - 1 : 0);
  stream_ = usable > 0 ? usable / options.streams : 0;
  windows_ = stream_ / options.length;
  GPUNN_CHECK(windows_ >= 1, "expected tokens for a window of ", options.length, " in each of ",
              options.streams, " streams, got ", count);
}

std::int64_t TokenStreams::shift(std::int64_t epoch) const {
  if (!options_.shift) return 0;
  PhiloxStream random(options_.seed, kShiftStream + static_cast<std::uint64_t>(epoch));
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(options_.length)));
}

Batch TokenStreams::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const {
  check_indices(indices);
  const std::int64_t first = shift(epoch), B = options_.streams;
  return windows_of(tokens_, options_.length, indices,
                    [&](std::int64_t row) { return first + row % B * stream_ + row / B * options_.length; });
}

TokenWindows::TokenWindows(std::vector<std::int64_t> tokens, TokenWindowOptions options)
    : tokens_(std::move(tokens)), options_(options) {
  GPUNN_CHECK(options.length >= 1 && options.windows >= 0,
              "expected a length of at least 1 and windows of at least 0, got ", options.length, " and ",
              options.windows);
  const auto count = static_cast<std::int64_t>(tokens_.size());
  GPUNN_CHECK(count > options.length, "expected more than ", options.length, " tokens for a window, got ",
              count);
  if (options_.windows == 0) options_.windows = (count - 1) / options.length;
}

std::int64_t TokenWindows::start(std::int64_t row, std::int64_t epoch) const {
  // A key for each pass and a stream for each row: no row shifts another's numbers.
  const std::uint64_t key = options_.seed + 0x9E3779B97F4A7C15U * static_cast<std::uint64_t>(epoch);
  PhiloxStream random(key, kWindowStream + static_cast<std::uint64_t>(row));
  const auto starts =
      static_cast<std::uint64_t>(tokens_.size()) - static_cast<std::uint64_t>(options_.length);
  return static_cast<std::int64_t>(random.below(starts));
}

Batch TokenWindows::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const {
  check_indices(indices);
  return windows_of(tokens_, options_.length, indices, [&](std::int64_t row) { return start(row, epoch); });
}

}  // namespace gpunn
