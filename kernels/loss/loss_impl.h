#pragma once
// Problems and entry points of the element-wise losses.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {

enum class LossKind : std::uint8_t {
  mse,
  l1,
  smooth_l1,  // parameter: beta
  huber,      // parameter: delta
  bce,
  bce_with_logits,
  kl_div,            // x: log-probabilities, y: probabilities
  kl_div_log,        // both log-probabilities
  hinge_embedding,   // parameter: margin; y: 1 or -1
  margin,            // max(0, parameter - x y)
  cosine_embedding,  // x: a cosine, y: 1 or -1; parameter: margin
};
inline constexpr int kLossKinds = 11;

// "acc" is accumulator_of(dtype): f32, or f64 for f64.

/// Loss of each element, or reduced over all.
struct LossProblem {
  DType dtype;             // of x and y
  const void* x;           // [n]
  const void* y;           // [n]
  const void* weight;      // [n], factor of each loss; null unless has_weight
  const void* pos_weight;  // [n], factor of y in bce_with_logits; null unless has_pos_weight
  void* loss;              // acc [n] for Reduction::none, else acc [1]
  std::int64_t n;
  LossKind kind;
  Reduction reduction;
  double parameter;
  bool has_weight, has_pos_weight;
};

/// Gradients of x and of y.
struct LossBackwardProblem {
  DType dtype;
  const void* x;           // [n]
  const void* y;           // [n]
  const void* weight;      // [n]; null unless has_weight
  const void* pos_weight;  // [n]; null unless has_pos_weight
  const void* dloss;       // acc [n] for Reduction::none, else acc [1]
  void* dx;                // [n]; null unless want_dx
  void* dy;                // [n]; null unless want_dy
  std::int64_t n;
  LossKind kind;
  Reduction reduction;
  double parameter;
  bool has_weight, has_pos_weight;
  bool want_dx, want_dy;
};

enum class PairKind : std::uint8_t { cosine, distance };

/// One number for each pair of rows.
///   cosine    dot / (n1 n2),  n_i = max(|x_i|, eps)
///   distance  (sum |x1 - x2 + eps|^p)^(1/p)
struct PairProblem {
  DType dtype;     // of x1 and x2
  const void* x1;  // [rows, cols]
  const void* x2;  // [rows, cols]
  void* y;         // acc [rows]
  void* norms;     // acc [rows, 2]: n1, n2; null unless cosine
  std::int64_t rows, cols;
  PairKind kind;
  double p, eps;
};

struct PairBackwardProblem {
  DType dtype;
  const void* x1;     // [rows, cols]
  const void* x2;     // [rows, cols]
  const void* y;      // acc [rows], from forward
  const void* norms;  // acc [rows, 2], from forward; null unless cosine
  const void* dy;     // acc [rows]
  void* dx1;          // [rows, cols]
  void* dx2;          // [rows, cols]
  std::int64_t rows, cols;
  PairKind kind;
  double p, eps;
};

std::vector<Operand> operands(PairProblem& p);
std::vector<Operand> operands(PairBackwardProblem& p);
Cost cost(const PairProblem& p);
Cost cost(const PairBackwardProblem& p);
std::vector<Operand> operands(LossProblem& p);
std::vector<Operand> operands(LossBackwardProblem& p);
Cost cost(const LossProblem& p);
Cost cost(const LossBackwardProblem& p);

extern const ImplementationList<LossProblem> kLossForward;
extern const ImplementationList<LossBackwardProblem> kLossBackward;
extern const ImplementationList<PairProblem> kPairForward;
extern const ImplementationList<PairBackwardProblem> kPairBackward;

// A reduction adds the sums of fixed chunks, kept in the workspace.
inline constexpr std::int64_t kLossChunk = 1 << 14;
std::size_t loss_fwd_workspace(const LossProblem& p);

// Any floating dtype, host memory.
void loss_fwd_ref(const LossProblem& p, const Exec& exec);
void loss_bwd_ref(const LossBackwardProblem& p, const Exec& exec);
void pair_fwd_ref(const PairProblem& p, const Exec& exec);
void pair_bwd_ref(const PairBackwardProblem& p, const Exec& exec);
// f32, host memory.
void loss_fwd_cpu(const LossProblem& p, const Exec& exec);
void loss_bwd_cpu(const LossBackwardProblem& p, const Exec& exec);
void pair_fwd_cpu(const PairProblem& p, const Exec& exec);
void pair_bwd_cpu(const PairBackwardProblem& p, const Exec& exec);
// f32, f16, bf16, device memory.
void loss_fwd_cuda(const LossProblem& p, const Exec& exec);
void loss_bwd_cuda(const LossBackwardProblem& p, const Exec& exec);
void pair_fwd_cuda(const PairProblem& p, const Exec& exec);
void pair_bwd_cuda(const PairBackwardProblem& p, const Exec& exec);

}  // namespace gpunn
