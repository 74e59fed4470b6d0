#pragma once
// Sampling: the next token from a model's logits.
//
// Everything from the logits on is computed on the host in double, with numbers that depend on (seed, draw,
// row) only: equal logits give equal tokens on every device.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// What may be drawn. The rules are applied in this order, each to the probabilities that the one before
/// leaves (renormalised); of equal logits the lower token counts as the more probable one.
struct SamplingOptions {
  bool greedy = false;                  // always the most probable token; the others say nothing then
  double temperature = 1;               // softmax(logits / temperature)
  std::optional<std::int64_t> top_k{};  // only the k most probable tokens; more than there are: all
  double top_p = 1;                     // only the fewest most probable tokens with at least this sum
  double min_p = 0;                     // only tokens with at least this part of the largest probability
};

/// Throws InvalidArgument naming the option: temperature that is not positive and finite, top_k below 1,
/// top_p outside (0, 1], min_p outside [0, 1].
GPUNN_API void check_sampling(const SamplingOptions& options);

/// The distribution that a token is drawn from: one probability for each logit, 0 for those left out. A logit
/// of minus infinity has none. Throws InvalidArgument for bad options, for no logits, for NaN and plus
/// infinity with their place, and when all are minus infinity.
GPUNN_API std::vector<double> sampling_probabilities(std::span<const double> logits,
                                                     const SamplingOptions& options);

/// Draws tokens. Not to be shared between threads.
class GPUNN_API TokenSampler {
 public:
  /// Throws InvalidArgument as check_sampling() does.
  explicit TokenSampler(const SamplingOptions& options = {}, std::uint64_t seed = 0);

  /// One token for each row of logits [B, V] (or [V]: one token), floating, on any device; waits for them.
  /// Row b's number is that of (seed, draws(), b). Throws InvalidArgument for other tensors, V = 0, and as
  /// sampling_probabilities() does, naming the row; no draw is counted then.
  std::vector<std::int64_t> sample(const Tensor& logits);

  /// One token for logits on the host: what sample() gives for a tensor of them.
  std::int64_t sample_row(std::span<const double> logits);

  /// Calls of sample() so far. With set_draws() a text goes on where it was.
  std::uint64_t draws() const noexcept { return draws_; }
  void set_draws(std::uint64_t draws) noexcept { draws_ = draws; }
  const SamplingOptions& options() const noexcept { return options_; }

 private:
  SamplingOptions options_;
  std::uint64_t seed_, draws_ = 0;
};

}  // namespace gpunn
