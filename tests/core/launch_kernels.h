#pragma once
// Kernels of launch_kernels.cu, behind plain functions.
#include "gpunn/core/exec.h"

namespace gpunn::testing {

/// c = a + b for `n` floats in device memory; one thread an element, blocks of 32.
void launch_add(const float* a, const float* b, float* c, int n, const Exec& exec);
/// Asks for more threads a block than any device has.
void launch_too_large(const Exec& exec);
/// Writes the sum of `n` floats, computed in dynamic shared memory by one block.
void launch_shared_sum(const float* a, float* sum, int n, const Exec& exec);

}  // namespace gpunn::testing
