#include "gpunn/training/masked_tokens.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"

namespace gpunn {
namespace {

constexpr std::uint64_t kStream = std::uint64_t{0x4D4C} << 48;

/// Numbers of one row of one epoch.
PhiloxStream stream_of(std::uint64_t seed, std::int64_t epoch, std::int64_t rows, std::int64_t row) {
  return {seed, kStream + static_cast<std::uint64_t>(epoch * rows + row)};
}

std::int64_t below(PhiloxStream& random, std::int64_t n) {
  return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
}

}  // namespace

MaskedPassages::MaskedPassages(std::vector<std::int64_t> tokens, MaskedPassagesOptions options)
    : tokens_(std::move(tokens)), options_(options) {
  GPUNN_CHECK(options.length >= 8 && options.rows >= 1 && options.vocabulary >= 1,
              "expected a length of at least 8, rows and a vocabulary of at least 1, got ", options.length,
              ", ", options.rows, " and ", options.vocabulary);
  GPUNN_CHECK(options.hidden_share > 0 && options.hidden_share < 1, "expected a hidden_share in (0, 1), got ",
              options.hidden_share);
  GPUNN_CHECK(std::ssize(tokens_) >= 2 * options.length, "expected at least ", 2 * options.length,
              " tokens, got ", tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i)
    GPUNN_CHECK(tokens_[i] >= 0 && tokens_[i] < options.vocabulary, "expected tokens in [0, ",
                options.vocabulary, "), got ", tokens_[i], " at ", i);
  const double share = options.hidden_share * static_cast<double>(options.length - kMarks);
  hidden_ = std::max<std::int64_t>(1, std::llround(share));
}

Batch MaskedPassages::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const {
  check_indices(indices);
  const std::int64_t T = options_.length, V = options_.vocabulary, K = hidden_;
  const std::int64_t first = (T - kMarks) / 2, second = T - kMarks - first;
  const std::int64_t starts = std::ssize(tokens_) - (first + second) + 1;
  std::vector<std::int64_t> inputs, targets, places(static_cast<std::size_t>(T - kMarks));
  for (std::size_t b = 0; b < indices.size(); ++b) {
    PhiloxStream random = stream_of(options_.seed, epoch, options_.rows, indices[b]);
    const std::int64_t a = below(random, starts);
    const bool follows = random.below(2) == 1;
    // Another start than the one that follows, each as likely.
    const std::int64_t others = std::ssize(tokens_) - second;
    std::int64_t at = follows ? a + first : below(random, others);
    if (!follows && at >= a + first) ++at;
    std::vector<std::int64_t> row{V + kClassMark};
    row.insert(row.end(), tokens_.begin() + a, tokens_.begin() + a + first);
    row.push_back(V + kSeparatorMark);
    row.insert(row.end(), tokens_.begin() + at, tokens_.begin() + at + second);
    row.push_back(V + kSeparatorMark);
    // The first K of a shuffle of all places that hold no mark.
    std::iota(places.begin(), places.end(), 1);
    for (std::int64_t& place : places) place += place > first ? 1 : 0;
    for (std::int64_t i = 0; i < K; ++i)
      std::swap(places[static_cast<std::size_t>(i)],
                places[static_cast<std::size_t>(i + below(random, std::ssize(places) - i))]);
    std::sort(places.begin(), places.begin() + K);
    targets.push_back(follows ? 1 : 0);
    for (std::int64_t i = 0; i < K; ++i)
      targets.push_back(static_cast<std::int64_t>(b) * T + places[static_cast<std::size_t>(i)]);
    for (std::int64_t i = 0; i < K; ++i) {
      std::int64_t& token = row[static_cast<std::size_t>(places[static_cast<std::size_t>(i)])];
      targets.push_back(token);
      const std::uint64_t what = random.below(10);
      if (what < 8) token = V + kMaskMark;
      if (what == 8) token = below(random, V);
    }
    inputs.insert(inputs.end(), row.begin(), row.end());
    for (std::int64_t t = 0; t < T; ++t) inputs.push_back(t > first + 1 ? 1 : 0);
  }
  const auto n = std::ssize(indices);
  return {Tensor::from(inputs, {n, 2, T}, {.device = Device::cpu()}),
          Tensor::from(targets, {n, 1 + 2 * K}, {.device = Device::cpu()})};
}

MaskedBatch split_masked(const Batch& batch) {
  const Tensor &x = batch.inputs, &y = batch.targets;
  GPUNN_CHECK(x.defined() && y.defined() && x.dim() == 3 && x.size(1) == 2 && y.dim() == 2 &&
                  y.size(0) == x.size(0) && y.size(1) >= 3 && y.size(1) % 2 == 1,
              "expected a batch of masked passages");
  const std::int64_t K = y.size(1) / 2, n = y.size(0);
  return {.tokens = x.select(1, 0).contiguous(),
          .segments = x.select(1, 1).contiguous(),
          .places = y.narrow(1, 1, K).reshape({n * K}),
          .hidden = y.narrow(1, 1 + K, K).reshape({n * K}),
          .follows = y.select(1, 0).contiguous()};
}

}  // namespace gpunn
