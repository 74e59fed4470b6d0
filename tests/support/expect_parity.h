#pragma once
// Parity as GoogleTest assertions: what tests/kernels/<op>_test.cpp calls.
#include "tests/support/parity.h"

namespace gpunn::parity {

/// Runs the cases that `add` registers on the CPU; each failure is a test failure.
void expect_parity_on_cpu(void (*add)(Suite&));
/// The same on cuda:0 (16 thread orders for small cases when it is emulated). Skips on a machine without a
/// GPU, and says so; in a build without CUDA there is nothing to call.
void expect_parity_on_cuda(void (*add)(Suite&));

}  // namespace gpunn::parity
