#include "gpunn/training/sequence_batches.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <utility>

#include "gpunn/core/random.h"

namespace gpunn {
namespace {

// Philox subsequences of their own; the epoch is added.
constexpr std::uint64_t kSequenceStream = std::uint64_t{0x4253} << 48;
constexpr std::uint64_t kBatchStream = std::uint64_t{0x4242} << 48;

std::vector<std::int64_t> cut_lengths(std::span<const TokenSequence> sequences, std::int64_t max_length) {
  GPUNN_CHECK(!sequences.empty(), "expected at least one sequence, got none");
  GPUNN_CHECK(max_length >= 0, "expected max_length of at least 0, got ", max_length);
  std::vector<std::int64_t> lengths;
  lengths.reserve(sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto length = static_cast<std::int64_t>(sequences[i].size());
    GPUNN_CHECK(length > 0, "expected sequences of at least one token, got none in sequence ", i);
    lengths.push_back(max_length > 0 ? std::min(length, max_length) : length);
  }
  return lengths;
}

/// Indices by falling length, equal ones in order.
std::vector<std::int64_t> longest_first(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
  });
  return order;
}

std::vector<std::int64_t> taken(const std::vector<std::int64_t>& values,
                                const std::vector<std::int64_t>& order) {
  std::vector<std::int64_t> out;
  out.reserve(order.size());
  for (const std::int64_t i : order) out.push_back(values[static_cast<std::size_t>(i)]);
  return out;
}

/// Fisher-Yates; std::shuffle may differ from one library to the next.
template <class T>
void shuffle(std::vector<T>& values, PhiloxStream& random) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<std::size_t>(random.below(i))]);
}

}  // namespace

PaddedTokens pad_tokens(std::span<const TokenSequence> sequences, const PadOptions& options) {
  std::vector<std::int64_t> lengths = cut_lengths(sequences, options.max_length), order(lengths.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (options.sorted) order = longest_first(lengths);
  const auto B = static_cast<std::int64_t>(lengths.size());
  const std::int64_t T = *std::max_element(lengths.begin(), lengths.end());
  PaddedTokens out{
      empty(options.batch_first ? Shape{B, T} : Shape{T, B}, {.dtype = DType::i64, .device = Device::cpu()}),
      taken(lengths, order), order};
  auto* to = out.tokens.host<std::int64_t>();
  const std::int64_t row = options.batch_first ? T : 1, step = options.batch_first ? 1 : B;
  for (std::int64_t b = 0; b < B; ++b) {
    const TokenSequence& sequence = sequences[static_cast<std::size_t>(order[static_cast<std::size_t>(b)])];
    const std::int64_t length = out.lengths[static_cast<std::size_t>(b)];
    for (std::int64_t t = 0; t < T; ++t)
      to[b * row + t * step] = t < length ? sequence[static_cast<std::size_t>(t)] : options.padding;
  }
  return out;
}

PackedTokens pack_tokens(std::span<const TokenSequence> sequences, std::int64_t max_length) {
  const std::vector<std::int64_t> lengths = cut_lengths(sequences, max_length);
  PackedTokens out{{}, {}, longest_first(lengths)};
  out.lengths = taken(lengths, out.order);
  std::vector<std::int64_t> tokens;
  tokens.reserve(static_cast<std::size_t>(std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0})));
  // Lengths fall, so those that still have a token at step t are the first ones.
  for (std::int64_t t = 0; t < out.lengths[0]; ++t)
    for (std::size_t b = 0; b < out.lengths.size() && out.lengths[b] > t; ++b)
      tokens.push_back(sequences[static_cast<std::size_t>(out.order[b])][static_cast<std::size_t>(t)]);
  out.tokens = Tensor::from(tokens, {static_cast<std::int64_t>(tokens.size())}, {.device = Device::cpu()});
  return out;
}

std::vector<std::int64_t> padded_lengths(const Tensor& tokens, std::int64_t padding) {
  GPUNN_CHECK(tokens.defined() && tokens.dim() == 2 && tokens.dtype() == DType::i64,
              "expected tokens i64 [B, T], got ",
              tokens.defined() ? detail::concat(tokens.dtype(), " ", tokens.shape()) : "nothing");
  const std::vector<std::int64_t> values = tokens.to_vector<std::int64_t>();
  const std::int64_t B = tokens.size(0), T = tokens.size(1);
  std::vector<std::int64_t> lengths;
  for (std::int64_t b = 0; b < B; ++b) {
    std::int64_t length = T;
    while (length > 0 && values[static_cast<std::size_t>(b * T + length - 1)] == padding) --length;
    GPUNN_CHECK(length > 0, "expected a token in each row, got padding only in row ", b);
    lengths.push_back(length);
  }
  return lengths;
}

std::vector<std::int64_t> bucket_order(std::span<const std::int64_t> lengths, const BucketOptions& options,
                                       std::int64_t epoch) {
  GPUNN_CHECK(options.batch_size >= 1 && options.pool >= 1,
              "expected batch_size and pool of at least 1, got ", options.batch_size, " and ", options.pool);
  std::vector<std::int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  PhiloxStream sequences(options.seed, kSequenceStream + static_cast<std::uint64_t>(epoch)),
      batches(options.seed, kBatchStream + static_cast<std::uint64_t>(epoch));
  shuffle(order, sequences);
  const std::size_t batch = static_cast<std::size_t>(options.batch_size), count = order.size();
  const std::size_t pool = static_cast<std::size_t>(options.pool) >= count / batch + 1
                               ? count
                               : batch * static_cast<std::size_t>(options.pool);
  // Sorting stays within the full batches: the last one must not gather the shortest sequences.
  const std::size_t full = count - count % batch;
  for (std::size_t first = 0; first < full; first += pool)
    std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(first),
                     order.begin() + static_cast<std::ptrdiff_t>(std::min(first + pool, full)),
                     [&](std::int64_t a, std::int64_t b) {
                       return lengths[static_cast<std::size_t>(a)] < lengths[static_cast<std::size_t>(b)];
                     });
  std::vector<std::size_t> starts;
  for (std::size_t first = 0; first < full; first += batch) starts.push_back(first);
  shuffle(starts, batches);
  std::vector<std::int64_t> out;
  out.reserve(count);
  for (const std::size_t first : starts)
    out.insert(out.end(), order.begin() + static_cast<std::ptrdiff_t>(first),
               order.begin() + static_cast<std::ptrdiff_t>(first + batch));
  out.insert(out.end(), order.begin() + static_cast<std::ptrdiff_t>(full), order.end());
  return out;
}

struct LabelledSequences::EpochOrder {
  std::mutex mutex;
  std::int64_t epoch = -1;
  std::shared_ptr<const std::vector<std::int64_t>> order;
};

LabelledSequences::~LabelledSequences() = default;

LabelledSequences::LabelledSequences(std::vector<TokenSequence> sequences, std::vector<std::int64_t> labels,
                                     LabelledSequencesOptions options)
    : sequences_(std::move(sequences)),
      labels_(std::move(labels)),
      options_(options),
      order_(std::make_unique<EpochOrder>()) {
  GPUNN_CHECK(sequences_.size() == labels_.size(), "expected as many labels as sequences, got ",
              labels_.size(), " and ", sequences_.size());
  GPUNN_CHECK(options.bucket_batch >= 0, "expected bucket_batch of at least 0, got ", options.bucket_batch);
  if (!sequences_.empty()) lengths_ = cut_lengths(sequences_, options.max_length);
  // padded_lengths() must find each row's end, wherever it is cut.
  for (std::size_t i = 0; i < sequences_.size(); ++i)
    for (const std::int64_t token : sequences_[i])
      GPUNN_CHECK(token != options.padding, "expected tokens other than the padding ", options.padding,
                  ", got it in sequence ", i);
}

Batch LabelledSequences::get(std::span<const std::int64_t> indices) const {
  check_indices(indices);
  std::vector<TokenSequence> rows;
  std::vector<std::int64_t> labels;
  for (const std::int64_t index : indices) {
    rows.push_back(sequences_[static_cast<std::size_t>(index)]);
    labels.push_back(labels_[static_cast<std::size_t>(index)]);
  }
  // A batch of nothing has no longest sequence.
  if (rows.empty())
    return {empty({0, 0}, {.dtype = DType::i64, .device = Device::cpu()}),
            empty({0}, {.dtype = DType::i64, .device = Device::cpu()})};
  return {pad_tokens(rows, {.padding = options_.padding, .max_length = options_.max_length}).tokens,
          Tensor::from(labels, {static_cast<std::int64_t>(labels.size())}, {.device = Device::cpu()})};
}

Batch LabelledSequences::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const {
  if (options_.bucket_batch == 0) return get(indices);
  check_indices(indices);
  std::shared_ptr<const std::vector<std::int64_t>> order;
  {
    const std::lock_guard lock(order_->mutex);
    if (order_->epoch != epoch) {
      order_->order = std::make_shared<const std::vector<std::int64_t>>(
          bucket_order(lengths_, {.batch_size = options_.bucket_batch, .seed = options_.seed}, epoch));
      order_->epoch = epoch;
    }
    order = order_->order;
  }
  std::vector<std::int64_t> rows;
  for (const std::int64_t index : indices) rows.push_back((*order)[static_cast<std::size_t>(index)]);
  return get(rows);
}

}  // namespace gpunn
