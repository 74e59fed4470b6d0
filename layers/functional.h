#pragma once
// The ops that models call, in one include: torch.nn.functional's place.
#include "gpunn/kernels/cross_entropy/cross_entropy.h"  // IWYU pragma: export
#include "gpunn/kernels/elementwise/compare.h"          // IWYU pragma: export
#include "gpunn/kernels/elementwise/elementwise.h"      // IWYU pragma: export
#include "gpunn/kernels/elementwise/math_functions.h"   // IWYU pragma: export
#include "gpunn/kernels/loss/loss.h"                    // IWYU pragma: export
#include "gpunn/kernels/matmul/matmul.h"                // IWYU pragma: export
#include "gpunn/kernels/reduce/reduce.h"                // IWYU pragma: export
#include "gpunn/kernels/softmax/softmax.h"              // IWYU pragma: export
