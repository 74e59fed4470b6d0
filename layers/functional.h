#pragma once
// The ops that models call, in one include: torch.nn.functional's place.
#include "gpunn/kernels/attention/attention.h"                        // IWYU pragma: export
#include "gpunn/kernels/conv2d/conv2d.h"                              // IWYU pragma: export
#include "gpunn/kernels/cross_entropy/cross_entropy.h"                // IWYU pragma: export
#include "gpunn/kernels/elementwise/activations.h"                    // IWYU pragma: export
#include "gpunn/kernels/elementwise/compare.h"                        // IWYU pragma: export
#include "gpunn/kernels/elementwise/elementwise.h"                    // IWYU pragma: export
#include "gpunn/kernels/elementwise/math_functions.h"                 // IWYU pragma: export
#include "gpunn/kernels/indexing/indexing.h"                          // IWYU pragma: export
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy.h"  // IWYU pragma: export
#include "gpunn/kernels/loss/loss.h"                                  // IWYU pragma: export
#include "gpunn/kernels/matmul/matmul.h"                              // IWYU pragma: export
#include "gpunn/kernels/movement/movement.h"                          // IWYU pragma: export
#include "gpunn/kernels/norm/norm.h"                                  // IWYU pragma: export
#include "gpunn/kernels/pool/pool.h"                                  // IWYU pragma: export
#include "gpunn/kernels/random/random.h"                              // IWYU pragma: export
#include "gpunn/kernels/reduce/reduce.h"                              // IWYU pragma: export
#include "gpunn/kernels/resize/resize.h"                              // IWYU pragma: export
#include "gpunn/kernels/rnn/packed.h"                                 // IWYU pragma: export
#include "gpunn/kernels/rnn/rnn.h"                                    // IWYU pragma: export
#include "gpunn/kernels/rotary/rotary.h"                              // IWYU pragma: export
#include "gpunn/kernels/scan/scan.h"                                  // IWYU pragma: export
#include "gpunn/kernels/softmax/softmax.h"                            // IWYU pragma: export
