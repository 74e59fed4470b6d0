#pragma once
// A chain of element-wise steps as data: what chain.h records and the kernels walk.
#include <cstdint>

namespace gpunn {

inline constexpr int kChainSteps = 16;
inline constexpr int kChainOperands = 6;

/// X(function, Functor): v is the value so far, b the step's tensor or number, s and t its parameters.
/// Functions of v and b stand first.
#define GPUNN_CHAIN_BINARY(X)         \
  X(add, Add)         /* v + b */     \
  X(sub, Sub)         /* v - b */     \
  X(rsub, RSub)       /* b - v */     \
  X(mul, Mul)         /* v * b */     \
  X(div, Div)         /* v / b */     \
  X(rdiv, RDiv)       /* b / v */     \
  X(maximum, Maximum) /* max(v, b) */ \
  X(minimum, Minimum) /* min(v, b) */
#define GPUNN_CHAIN_UNARY(X)                     \
  X(neg, Neg)                                    \
  X(exp, Exp)                                    \
  X(log, Log)                                    \
  X(relu, Relu)                                  \
  X(sigmoid, Sigmoid)                            \
  X(tanh, Tanh)                                  \
  X(gelu, Gelu)                                  \
  X(gelu_tanh, GeluTanh)                         \
  X(silu, Silu)                                  \
  X(abs, Abs)                                    \
  X(square, Square)                              \
  X(sqrt, Sqrt)                                  \
  X(rsqrt, Rsqrt)                                \
  X(clamp, Clamp)          /* v within [s, t] */ \
  X(leaky_relu, LeakyRelu) /* v > 0 ? v : s * v */

#define GPUNN_CHAIN_ENUMERATOR(name, Functor) name,
#define GPUNN_CHAIN_COUNT(name, Functor) +1
enum class ChainFunction : std::uint8_t {
  GPUNN_CHAIN_BINARY(GPUNN_CHAIN_ENUMERATOR) GPUNN_CHAIN_UNARY(GPUNN_CHAIN_ENUMERATOR)
};
inline constexpr int kChainBinaryFunctions = 0 GPUNN_CHAIN_BINARY(GPUNN_CHAIN_COUNT);
inline constexpr int kChainFunctions = kChainBinaryFunctions GPUNN_CHAIN_UNARY(GPUNN_CHAIN_COUNT);
#undef GPUNN_CHAIN_ENUMERATOR
#undef GPUNN_CHAIN_COUNT

constexpr bool is_binary(ChainFunction f) { return static_cast<int>(f) < kChainBinaryFunctions; }

/// Does the step hand its gradient on to v unchanged?
constexpr bool passes(ChainFunction f) { return f == ChainFunction::add || f == ChainFunction::sub; }
/// Which values the gradient of v takes: the value before the step, or the one after it.
constexpr bool needs_before(ChainFunction f) {
  using F = ChainFunction;
  return f == F::rdiv || f == F::maximum || f == F::minimum || f == F::log || f == F::gelu ||
         f == F::gelu_tanh || f == F::silu || f == F::abs || f == F::square || f == F::clamp ||
         f == F::leaky_relu;
}
constexpr bool needs_after(ChainFunction f) {
  using F = ChainFunction;
  return f == F::rdiv || f == F::exp || f == F::relu || f == F::sigmoid || f == F::tanh || f == F::sqrt ||
         f == F::rsqrt;
}
/// Which ones the gradient of b takes.
constexpr bool operand_needs_before(ChainFunction f) {
  using F = ChainFunction;
  return f == F::mul || f == F::rdiv || f == F::maximum || f == F::minimum;
}
constexpr bool operand_needs_after(ChainFunction f) { return f == ChainFunction::div; }

struct ChainStep {
  ChainFunction function = ChainFunction::add;
  std::int8_t operand = -1;  // which tensor b is; -1: the number s
  double s = 0, t = 0;       // rounded to float where floats are computed
};

struct ChainProgram {
  int steps = 0;
  int operands = 0;
  ChainStep step[kChainSteps];
};

}  // namespace gpunn
