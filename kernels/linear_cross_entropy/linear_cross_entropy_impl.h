#pragma once
// Problems and entry points of what happens to a tile of logits.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

// "acc" is accumulator_of(dtype): f32, or f64 for f64 logits. A class outside [0, classes) that is not
// ignore_index makes NaN of its row and is never used as an index.

/// A tile: rows of logits of the classes [first, first + cols). Element (n, c) lies at n * ld + c.
struct LogitTile {
  std::int64_t rows, cols, ld, first;
};

/// Statistics of each row over the classes so far: those of the tile, joined with what stats holds where
/// first > 0. Of an ignored row: zeros.
struct LogitStatsProblem {
  DType dtype;                 // of the logits
  const void* logits;          // [rows, cols], see LogitTile
  const std::int64_t* target;  // [rows]
  // acc [rows, 4]: maximum m, sum of exp(z - m), logit of the target (0 before its tile), and with want_sum
  // the sum of z - m, else 0
  void* stats;
  LogitTile tile;
  std::int64_t ignore_index;
  bool want_sum;  // of z - m: for label smoothing
};

/// Logits of a tile to their gradients, in place: (exp(z - m) / sum - q) dloss / count.
struct LogitGradProblem {
  DType dtype;                 // of the logits
  void* logits;                // [rows, cols], see LogitTile; becomes the gradient
  const std::int64_t* target;  // [rows]
  const void* stats;           // acc [rows, 4], over all classes
  const void* count;           // acc [1]; null unless has_count: 1
  const void* dloss;           // acc [rows] with dloss_by_row, else acc [1]; null unless has_dloss: 1
  LogitTile tile;
  std::int64_t classes, ignore_index;
  double smoothing;
  bool has_count, has_dloss, dloss_by_row;
};

/// Statistics to losses. With `count_only` the labels are counted and nothing else happens.
struct RowLossProblem {
  DType dtype;                 // of the logits
  const void* stats;           // acc [rows, 4]; null with count_only
  const std::int64_t* target;  // [rows]
  void* loss;                  // acc [rows] for Reduction::none, else acc [1]; null with count_only
  void* count;                 // acc [1]: rows not ignored; null unless Reduction::mean
  std::int64_t rows, classes, ignore_index;
  double smoothing;
  Reduction reduction;
  bool count_only;
};

/// y *= factor[0]; for a factor of 1 y is not even read.
struct ScaleGradProblem {
  DType dtype;
  void* y;             // [n]
  const void* factor;  // acc [1]
  std::int64_t n;
};

std::vector<Operand> operands(LogitStatsProblem& p);
std::vector<Operand> operands(LogitGradProblem& p);
std::vector<Operand> operands(RowLossProblem& p);
std::vector<Operand> operands(ScaleGradProblem& p);
Cost cost(const LogitStatsProblem& p);
Cost cost(const LogitGradProblem& p);
Cost cost(const RowLossProblem& p);
Cost cost(const ScaleGradProblem& p);

extern const ImplementationList<LogitStatsProblem> kLogitStats;
extern const ImplementationList<LogitGradProblem> kLogitGrad;
extern const ImplementationList<RowLossProblem> kRowLoss;
extern const ImplementationList<ScaleGradProblem> kScaleGrad;

// Any floating dtype, host memory.
void logit_stats_ref(const LogitStatsProblem& p, const Exec& exec);
void logit_grad_ref(const LogitGradProblem& p, const Exec& exec);
void row_loss_ref(const RowLossProblem& p, const Exec& exec);
void scale_grad_ref(const ScaleGradProblem& p, const Exec& exec);
// f32, host memory.
void logit_stats_cpu(const LogitStatsProblem& p, const Exec& exec);
void logit_grad_cpu(const LogitGradProblem& p, const Exec& exec);
void scale_grad_cpu(const ScaleGradProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void logit_stats_cuda(const LogitStatsProblem& p, const Exec& exec);
void logit_grad_cuda(const LogitGradProblem& p, const Exec& exec);
void row_loss_cuda(const RowLossProblem& p, const Exec& exec);
void scale_grad_cuda(const ScaleGradProblem& p, const Exec& exec);

}  // namespace gpunn
