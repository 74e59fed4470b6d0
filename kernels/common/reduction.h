#pragma once
// Words that losses and reductions share.
#include <cstdint>

#include "gpunn/core/dtype.h"

namespace gpunn {

/// How a loss folds its elements: keep them, average them, add them.
enum class Reduction : std::uint8_t { none, mean, sum };

/// "none", "mean", "sum".
constexpr const char* name_of(Reduction reduction) {
  constexpr const char* names[] = {"none", "mean", "sum"};
  return names[static_cast<int>(reduction)];
}

/// The dtype in which sums, statistics and losses over elements of `dtype` are kept: f32, and f64 for f64.
constexpr DType accumulator_of(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

}  // namespace gpunn
