#pragma once
// A kernel with a barrier of all its blocks, started by launch_coresident().
#include "gpunn/core/exec.h"

namespace gpunn::testing {

inline constexpr int kRotateThreads = 64;

/// y[b] = x[(b + rounds) % blocks] for each block's kRotateThreads elements, by a barrier a step.
/// values [blocks * kRotateThreads]; counter as GridBarrier wants it, zeroed here if `zero`.
void launch_rotate(const float* x, float* values, float* y, unsigned* counter, int blocks, int rounds,
                   bool zero, const Exec& exec);
/// How many of its blocks the device holds with `shared_bytes` of dynamic shared memory each.
int rotate_blocks(std::size_t shared_bytes, const Exec& exec);

}  // namespace gpunn::testing
