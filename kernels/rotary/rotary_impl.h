#pragma once
// Problem and entry points of rotary positions.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

/// Turns pairs of the first R features of every row (b, t, h), or with `back` turns them back.
struct RotaryProblem {
  DType dtype;
  const void* x;                  // (b, t, h, d) at b x_batch + t x_time + h x_head + d
  const void* cos;                // acc [P, R / 2]
  const void* sin;                // acc [P, R / 2]
  const std::int64_t* positions;  // (b, t) at b position_batch + t; null without: t
  void* y;                        // [B, T, H, D], contiguous; not x
  std::int64_t B, T, H, D, R, P;
  std::int64_t x_batch, x_time, x_head, position_batch;  // strides in elements
  bool has_positions, interleaved, back;
};

/// Position of a row; -1 outside of the table: the row becomes NaN.
GPUNN_HD std::int64_t rotary_position(const RotaryProblem& p, std::int64_t b, std::int64_t t) {
  const std::int64_t at = p.positions ? p.positions[b * p.position_batch + t] : t;
  return at < 0 || at >= p.P ? -1 : at;
}

std::vector<Operand> operands(RotaryProblem& p);
Cost cost(const RotaryProblem& p);

extern const ImplementationList<RotaryProblem> kRotary;  // "rotary", "forward"; its own backward with `back`

// Any floating dtype, host memory.
void rotary_ref(const RotaryProblem& p, const Exec& exec);
// f32, host memory: SIMD over the pairs of a row, rows shared out over the pool.
void rotary_cpu(const RotaryProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void rotary_cuda(const RotaryProblem& p, const Exec& exec);

}  // namespace gpunn
