#pragma once
// Dropout for ops that have it in the same pass: they take its numbers of the stream and draw its mask.
#include <cstdint>

#include "gpunn/core/tensor.h"
#include "gpunn/kernels/random/random_impl.h"

namespace gpunn::detail {

/// Takes the range of the Runtime's generator that dropout() of n > 0 elements with 0 < p <= 1 would take.
DropoutMask draw_dropout(std::int64_t n, double p);

/// x times the mask, in x's order of rows; differentiable any number of times.
Tensor drop(const Tensor& x, const DropoutMask& mask);

}  // namespace gpunn::detail
