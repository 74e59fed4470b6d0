#pragma once
// The innermost loops of the reductions on the CPU, chosen for the machine at run time.
#include <cstddef>
#include <cstdint>

namespace gpunn {

/// What f in f(x) op f(x) op … may depend on, per output: its first element, and what an earlier pass found
/// (null where there was none).
struct ReduceShift {
  const float *first, *shift;
};
/// What a target offers for one way to reduce.
struct ReduceLeaves {
  float (*row)(const float* x, std::size_t n, ReduceShift s);
  /// acc[c] = f(x[offsets[0] + c]) op … op f(x[offsets[rows - 1] + c]), rows >= 1. acc is written up to a
  /// whole vector.
  void (*columns)(const float* x, const std::int64_t* offsets, std::size_t rows, ReduceShift s, float* acc,
                  std::size_t width);
  /// acc[c] = acc[c] op other[c], up to a whole vector
  void (*merge)(float* acc, const float* other, std::size_t width);
  float (*combine)(float a, float b);
};
enum class ReduceLeaf : std::uint8_t {
  sum,
  max,
  min,
  prod,
  sum_magnitude,
  sum_square,
  sum_offset,       // x - first
  sum_deviation,    // ((x - first) - shift)^2
  sum_exponential,  // exp(x - shift)
  max_magnitude,
  min_magnitude,
};

ReduceLeaves reduce_leaves(ReduceLeaf leaf);
/// Index of the first of n elements that is `value`, or the first NaN; one of them exists.
std::int64_t find_first(const float* x, std::int64_t n, float value);

}  // namespace gpunn
