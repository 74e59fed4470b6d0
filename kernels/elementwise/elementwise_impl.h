#pragma once
// Problems and entry points of the element-wise ops: y[i] = f(x[i]) and y[i] = f(a[i], b[i]) over broadcast
// operands.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"

namespace gpunn {

class Tensor;

enum class UnaryFunction : std::uint8_t {
  neg,
  exp,
  log,
  relu,
  sigmoid,
  tanh,
  add_scalar,   // x + s
  mul_scalar,   // x * s
  div_scalar,   // x / s
  rsub_scalar,  // s - x
  rdiv_scalar,  // s / x
};
inline constexpr int kUnaryFunctions = 11;

enum class BinaryFunction : std::uint8_t {
  add,
  sub,
  mul,
  div,
  neg_mul,       // -a * b, for the gradient of a divisor
  relu_grad,     // a where b > 0 (or b is NaN), else 0: (dy, y)
  sigmoid_grad,  // a * b * (1 - b): (dy, y)
  tanh_grad,     // a * (1 - b^2): (dy, y)
};
inline constexpr int kBinaryFunctions = 8;

/// The integer dtypes that some functions take.
constexpr bool is_wide_integer(DType t) { return t == DType::i32 || t == DType::i64; }
/// Does the function take i32 and i64 (wrapping)? The others are for floating dtypes.
constexpr bool takes_integers(UnaryFunction f) {
  return f == UnaryFunction::neg || f == UnaryFunction::add_scalar || f == UnaryFunction::mul_scalar ||
         f == UnaryFunction::rsub_scalar;
}
constexpr bool takes_integers(BinaryFunction f) { return f <= BinaryFunction::mul; }

/// Dimensions are coalesced (rank >= 1, extents > 0).
struct UnaryProblem {
  DType dtype;
  UnaryFunction function;
  const void* x;  // strided, extents of 0 stride repeat
  void* y;        // dense; may be x when x is
  double scalar;  // s; rounded to float for f32 and the halves
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t x_strides[kMaxRank];  // elements
};

struct BinaryProblem {
  DType dtype;
  BinaryFunction function;
  const void* a;  // strided, extents of 0 stride repeat
  const void* b;  // likewise
  void* y;        // dense; may be a or b where that one is in the same order
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t a_strides[kMaxRank];  // elements
  std::int64_t b_strides[kMaxRank];
};

inline std::int64_t numel_of(const UnaryProblem& p) {
  std::int64_t n = 1;
  for (int i = 0; i < p.rank; ++i) n *= p.shape[i];
  return n;
}
inline std::int64_t numel_of(const BinaryProblem& p) {
  std::int64_t n = 1;
  for (int i = 0; i < p.rank; ++i) n *= p.shape[i];
  return n;
}

std::vector<Operand> operands(UnaryProblem& p);
std::vector<Operand> operands(BinaryProblem& p);
Cost cost(const UnaryProblem& p);
Cost cost(const BinaryProblem& p);

void unary_ref(const UnaryProblem& p, const Exec& exec);
void unary_cpu(const UnaryProblem& p, const Exec& exec);
void unary_cuda(const UnaryProblem& p, const Exec& exec);
void binary_ref(const BinaryProblem& p, const Exec& exec);
void binary_cpu(const BinaryProblem& p, const Exec& exec);
void binary_cuda(const BinaryProblem& p, const Exec& exec);

/// One list per function, indexed by it; they share their entries.
extern const ImplementationList<UnaryProblem> kUnary[kUnaryFunctions];
extern const ImplementationList<BinaryProblem> kBinary[kBinaryFunctions];

}  // namespace gpunn
