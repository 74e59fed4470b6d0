#pragma once
// Connectionist temporal classification: the loss of a sequence of labels against longer sequences of
// predictions, summed over all alignments.
//
//   loss_n = -ln sum over alignments of prod_t p_t(symbol),   an alignment being one symbol per step that
//            becomes the target when repeats are merged and blanks dropped
//   none: loss_n;   sum: their sum;   mean: the mean of loss_n / max(target length, 1), as PyTorch
//
// Shapes: log_probs [T, N, C], logarithms of probabilities (log_softmax over C); targets i64 [N, S], rows
// padded with anything, or [sum of the target lengths], one after the other; lengths i64 [N]. The result is
// [N] for none, a scalar otherwise.
// dtypes: f32, f16, bf16 (computed in f32), f64 on the CPU; the loss is f32 (f64 for f64).
// Special values: a target that no alignment reaches (longer than its input, repeats counted twice) gives
// inf, and NaN as gradient; with zero_infinity it gives 0 and gradient 0.
//
// Backward keeps log_probs and the forward variables (T (2 S + 1) numbers per sample):
//   d loss_n / d log_probs[t, n, c] = -P(symbol at t is c | target)
// This is the derivative itself. PyTorch adds exp(log_probs), which log_softmax's gradient takes off again:
// gradients of logits are the same. Second derivatives: none, Unsupported.
// Determinism: bitwise. Targets and lengths are read and checked on the host: on a GPU the call waits.
// Errors: InvalidArgument for ranks, dtypes and devices that do not fit, labels outside [0, C) or equal to
// blank, blank outside [0, C), input lengths outside [1, T], target lengths beyond the targets.
//
// Source: Graves et al., "Connectionist Temporal Classification" (2006), in logarithms.

#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

struct CtcLossOptions {
  std::int64_t blank = 0;
  Reduction reduction = Reduction::mean;
  bool zero_infinity = false;
};

GPUNN_API Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                          const Tensor& target_lengths, const CtcLossOptions& options = {});

}  // namespace gpunn
