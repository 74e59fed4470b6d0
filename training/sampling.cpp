#include "gpunn/training/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "gpunn/core/error.h"
#include "gpunn/core/philox.h"

namespace gpunn {
namespace {

// A Philox subsequence of its own; the row is added.
constexpr std::uint64_t kTokenStream = std::uint64_t{0x544B} << 48;

/// [0, 1) with 53 bits: 24 would leave tokens below 6e-8 undrawn.
double uniform(std::uint64_t seed, std::uint64_t draw, std::uint64_t row) {
  const Philox4 words = philox_at(seed, draw, kTokenStream + row);
  const std::uint64_t bits = (std::uint64_t{words.v[0]} << 32 | words.v[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

/// Tokens that may be drawn, the most probable first, with their probabilities.
struct Candidates {
  std::vector<std::size_t> tokens;
  std::vector<double> probabilities;

  void keep(std::size_t count) {
    tokens.resize(count);
    probabilities.resize(count);
    const double total = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
    for (double& p : probabilities) p /= total;
  }
};

void check_logits(std::span<const double> logits) {
  GPUNN_CHECK(!logits.empty(), "expected logits of at least one token, got none");
  bool any = false;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const bool none = logits[i] == -std::numeric_limits<double>::infinity();
    GPUNN_CHECK(std::isfinite(logits[i]) || none, "expected finite logits or minus infinity, got ", logits[i],
                " for token ", i);
    any = any || !none;
  }
  GPUNN_CHECK(any, "expected a token with a finite logit, got minus infinity for all ", logits.size());
}

Candidates candidates(std::span<const double> logits, const SamplingOptions& options) {
  check_logits(logits);
  Candidates c;
  if (options.greedy) {
    c.tokens = {static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
    c.probabilities = {1};
    return c;
  }
  c.tokens.resize(logits.size());
  std::iota(c.tokens.begin(), c.tokens.end(), std::size_t{0});
  const auto before = [&](std::size_t a, std::size_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  std::size_t count = c.tokens.size();
  if (options.top_k && *options.top_k < static_cast<std::int64_t>(count)) {
    // Vocabularies are large and top-k is small: the rest needs no order.
    count = static_cast<std::size_t>(*options.top_k);
    std::partial_sort(c.tokens.begin(), c.tokens.begin() + static_cast<std::ptrdiff_t>(count), c.tokens.end(),
                      before);
    c.tokens.resize(count);
  } else {
    std::sort(c.tokens.begin(), c.tokens.end(), before);
  }
  const double top = logits[c.tokens[0]];
  // The difference first: a logit divided by a small temperature may overflow, this can only go to -inf.
  for (const std::size_t token : c.tokens)
    c.probabilities.push_back(std::exp((logits[token] - top) / options.temperature));
  c.keep(count);
  if (options.top_p < 1) {
    double sum = 0;
    for (count = 0; count < c.tokens.size() && sum < options.top_p; ++count) sum += c.probabilities[count];
    c.keep(count);
  }
  if (options.min_p > 0) {
    const double least = options.min_p * c.probabilities[0];
    for (count = 1; count < c.tokens.size() && c.probabilities[count] >= least; ++count) {
    }
    c.keep(count);
  }
  return c;
}

std::size_t draw_token(const Candidates& c, double u) {
  double sum = 0;
  for (std::size_t i = 0; i < c.tokens.size(); ++i) {
    sum += c.probabilities[i];
    if (u < sum) return c.tokens[i];
  }
  // Rounding left the sum just below 1: the last token that can be drawn at all.
  std::size_t last = c.tokens.size() - 1;
  while (last > 0 && c.probabilities[last] == 0) --last;
  return c.tokens[last];
}

}  // namespace

void check_sampling(const SamplingOptions& options) {
  GPUNN_CHECK(std::isfinite(options.temperature) && options.temperature > 0,
              "expected a temperature above 0, got ", options.temperature,
              "; greedy is an option of its own");
  GPUNN_CHECK(!options.top_k || *options.top_k >= 1, "expected top_k of at least 1, got ",
              options.top_k.value_or(0));
  GPUNN_CHECK(options.top_p > 0 && options.top_p <= 1, "expected top_p in (0, 1], got ", options.top_p);
  GPUNN_CHECK(options.min_p >= 0 && options.min_p <= 1, "expected min_p in [0, 1], got ", options.min_p);
}

std::vector<double> sampling_probabilities(std::span<const double> logits, const SamplingOptions& options) {
  check_sampling(options);
  const Candidates c = candidates(logits, options);
  std::vector<double> out(logits.size());
  for (std::size_t i = 0; i < c.tokens.size(); ++i) out[c.tokens[i]] = c.probabilities[i];
  return out;
}

TokenSampler::TokenSampler(const SamplingOptions& options, std::uint64_t seed)
    : options_(options), seed_(seed) {
  check_sampling(options);
}

std::vector<std::int64_t> TokenSampler::sample(const Tensor& logits) {
  GPUNN_CHECK(logits.defined() && (logits.dim() == 1 || logits.dim() == 2) && is_floating(logits.dtype()),
              "expected floating logits [B, V] or [V], got ",
              logits.defined() ? detail::concat(logits.dtype(), " ", logits.shape()) : "nothing");
  const std::int64_t V = logits.size(logits.dim() - 1), B = logits.dim() == 2 ? logits.size(0) : 1;
  GPUNN_CHECK(V > 0, "expected logits of at least one token, got none");
  const std::vector<double> values = logits.detach().to(Device::cpu()).to(DType::f64).to_vector<double>();
  std::vector<std::int64_t> tokens;
  for (std::int64_t b = 0; b < B; ++b) {
    const std::span row(values.data() + b * V, static_cast<std::size_t>(V));
    try {
      const Candidates c = candidates(row, options_);
      tokens.push_back(
          static_cast<std::int64_t>(draw_token(c, uniform(seed_, draws_, static_cast<std::uint64_t>(b)))));
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(detail::concat("row ", b, ": ", error.what()));
    }
  }
  ++draws_;
  return tokens;
}

std::int64_t TokenSampler::sample_row(std::span<const double> logits) {
  const auto token =
      static_cast<std::int64_t>(draw_token(candidates(logits, options_), uniform(seed_, draws_, 0)));
  ++draws_;
  return token;
}

}  // namespace gpunn
