#pragma once
// Forward and backward variables of one sample on the host, in double (reference) or float (CPU path).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gpunn/kernels/ctc/ctc_impl.h"

namespace gpunn {

/// ln(e^a + e^b + e^c)
template <class F>
F log_add(F a, F b, F c) {
  const F max = std::max(a, std::max(b, c));
  if (max == -std::numeric_limits<F>::infinity()) return max;
  return max + std::log(std::exp(a - max) + std::exp(b - max) + std::exp(c - max));
}

/// alpha(t, s) for all steps and symbols; returns the loss, infinite where no alignment exists.
template <class F, class Read, class Write>
F ctc_forward_sample(const CtcProblem& p, std::int64_t n, const Read& log_prob, const Write& alpha) {
  constexpr F kNever = -std::numeric_limits<F>::infinity();
  const CtcSymbols symbols = ctc_symbols(p, n);
  const std::int64_t length = p.input_lengths[n], all = 2 * p.width + 1, count = symbols.count;
  std::vector<F> before(static_cast<std::size_t>(all), kNever), now = before;
  for (std::int64_t t = 0; t < p.steps; ++t) {
    std::fill(now.begin(), now.end(), kNever);
    for (std::int64_t s = 0; s < count && t < length; ++s) {
      const auto at = [&](std::int64_t i) { return i >= 0 ? before[static_cast<std::size_t>(i)] : kNever; };
      const F reach = t == 0 ? (s < 2 ? F(0) : kNever)
                             : log_add(at(s), at(s - 1), symbols.skips_to(s) ? at(s - 2) : kNever);
      now[static_cast<std::size_t>(s)] = reach == kNever ? kNever : reach + log_prob(t, symbols[s]);
    }
    for (std::int64_t s = 0; s < all; ++s) alpha(t, s, now[static_cast<std::size_t>(s)]);
    if (t + 1 == length) before = now;  // stays: later steps are padding
    if (t + 1 < length) std::swap(before, now);
  }
  return -log_add(before[static_cast<std::size_t>(count - 1)],
                  count > 1 ? before[static_cast<std::size_t>(count - 2)] : kNever, kNever);
}

/// Probability of each class at each step, given the target: `add(t, c, probability)`, from the last step to
/// the first. `loss` is the sample's, finite.
template <class F, class Read, class Alpha, class Add>
void ctc_posteriors_of_sample(const CtcBackwardProblem& p, std::int64_t n, F loss, const Read& log_prob,
                              const Alpha& alpha, const Add& add) {
  constexpr F kNever = -std::numeric_limits<F>::infinity();
  const CtcSymbols symbols = ctc_symbols(p, n);
  const std::int64_t length = p.input_lengths[n], count = symbols.count;
  std::vector<F> after(static_cast<std::size_t>(count), kNever), now = after;
  for (std::int64_t t = length - 1; t >= 0; --t) {
    for (std::int64_t s = 0; s < count; ++s) {
      const auto at = [&](std::int64_t i) { return i < count ? after[static_cast<std::size_t>(i)] : kNever; };
      const F reach = t + 1 == length
                          ? (s >= count - 2 ? F(0) : kNever)
                          : log_add(at(s), at(s + 1), symbols.skips_to(s + 2) ? at(s + 2) : kNever);
      const F own = reach == kNever ? kNever : reach + log_prob(t, symbols[s]);
      now[static_cast<std::size_t>(s)] = own;
      // Both variables contain the step's own probability.
      if (own != kNever && alpha(t, s) != kNever) add(t, symbols[s], std::exp(alpha(t, s) + reach + loss));
    }
    std::swap(after, now);
  }
}

/// The loss from the last forward variables.
template <class F, class Alpha>
F ctc_loss_of_sample(const CtcBackwardProblem& p, std::int64_t n, const Alpha& alpha) {
  constexpr F kNever = -std::numeric_limits<F>::infinity();
  const std::int64_t last = p.input_lengths[n] - 1, count = 2 * p.target_lengths[n] + 1;
  return -log_add<F>(alpha(last, count - 1), count > 1 ? alpha(last, count - 2) : kNever, kNever);
}

}  // namespace gpunn
