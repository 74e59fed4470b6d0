#pragma once
// Which rows a step shares with its neighbours in the order of computation, for host and device.
#include "gpunn/kernels/rnn/rnn_impl.h"

namespace gpunn {

/// `before` and `next` are the steps computed before and after `now` in forward; none: {0, 0}. Sequences
/// stand in order of falling length, so sequence b began earlier iff b < before.batch, and goes on iff b <
/// next.batch.
struct RnnRows {
  RnnStep before, now, next;
};

/// Of the step that forward computes as number s; s may be one before the first or one after the last.
template <class P>
GPUNN_HD RnnRows rnn_rows(const P& p, const std::int64_t* first_row, std::int64_t s) {
  const auto step = [&](std::int64_t i) {
    if (i < 0 || i >= p.sizes.T) return RnnStep{0, 0};
    return rnn_step(p, first_row, p.sizes.reverse ? p.sizes.T - 1 - i : i);
  };
  return {step(s - 1), step(s), step(s + 1)};
}

}  // namespace gpunn
