#pragma once
// A chain of element-wise steps, chosen at run time and evaluated in one pass over memory.
//
//   Tensor y = chain(x).mul(scale).add(bias).gelu().add(residual);
//
// Each step takes the value so far, v, which begins as x:
//   add v+b   sub v-b   rsub b-v   mul v*b   div v/b   rdiv b/v   maximum   minimum
//                                              with a tensor or a number b
//   neg exp log relu sigmoid tanh gelu silu abs square sqrt rsqrt clamp leaky_relu
//                                              as the functions of that name
// Composed ops read and write memory once per step; a chain reads x and each tensor once and writes y once.
//
// Shapes: x and the tensors broadcast together; the result is a new contiguous tensor of their common shape.
// At most 16 steps and 6 tensors beside x. dtypes: all of one dtype and device, f32, f16, bf16, f64 (on the
// CPU). Everything between x and y is computed in float (f64: in double) and rounded once at the end, so for
// f16 and bf16 a chain is more exact than the composed ops. A chain without a step is x itself.
//
// Backward keeps x and the tensors and is one pass as well: it computes the values again and walks the steps
// in reverse, for x and for every tensor that wants a gradient. A broadcast tensor's gradient is summed to
// its shape in a fixed order. At kinks as the composed ops; a number in maximum or minimum is like a tensor
// of that value. Second derivatives: all, through the composed ops. Determinism: bitwise on one machine type,
// for any number of threads. Errors: InvalidArgument for undefined tensors, other dtypes, differing dtype or
// device, shapes that do not broadcast, more steps or tensors than above, clamp without a bound or with NaN.
#include <optional>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/chain/chain_program.h"
#include "gpunn/kernels/elementwise/activations.h"

namespace gpunn {

/// The steps recorded so far. Nothing is computed before eval(); the tensors are kept, not copied.
class GPUNN_API Chain {
 public:
  explicit Chain(const Tensor& x);

  Chain& add(const Tensor& b) { return push(ChainFunction::add, b); }
  Chain& sub(const Tensor& b) { return push(ChainFunction::sub, b); }
  Chain& rsub(const Tensor& b) { return push(ChainFunction::rsub, b); }
  Chain& mul(const Tensor& b) { return push(ChainFunction::mul, b); }
  Chain& div(const Tensor& b) { return push(ChainFunction::div, b); }
  Chain& rdiv(const Tensor& b) { return push(ChainFunction::rdiv, b); }
  Chain& maximum(const Tensor& b) { return push(ChainFunction::maximum, b); }
  Chain& minimum(const Tensor& b) { return push(ChainFunction::minimum, b); }
  Chain& add(double b) { return push(ChainFunction::add, b); }
  Chain& sub(double b) { return push(ChainFunction::sub, b); }
  Chain& rsub(double b) { return push(ChainFunction::rsub, b); }
  Chain& mul(double b) { return push(ChainFunction::mul, b); }
  Chain& div(double b) { return push(ChainFunction::div, b); }
  Chain& rdiv(double b) { return push(ChainFunction::rdiv, b); }
  Chain& maximum(double b) { return push(ChainFunction::maximum, b); }
  Chain& minimum(double b) { return push(ChainFunction::minimum, b); }

  Chain& neg() { return push(ChainFunction::neg); }
  Chain& exp() { return push(ChainFunction::exp); }
  Chain& log() { return push(ChainFunction::log); }
  Chain& relu() { return push(ChainFunction::relu); }
  Chain& sigmoid() { return push(ChainFunction::sigmoid); }
  Chain& tanh() { return push(ChainFunction::tanh); }
  Chain& gelu(GeluApproximate approximate = GeluApproximate::none) {
    return push(approximate == GeluApproximate::none ? ChainFunction::gelu : ChainFunction::gelu_tanh);
  }
  Chain& silu() { return push(ChainFunction::silu); }
  Chain& abs() { return push(ChainFunction::abs); }
  Chain& square() { return push(ChainFunction::square); }
  Chain& sqrt() { return push(ChainFunction::sqrt); }
  Chain& rsqrt() { return push(ChainFunction::rsqrt); }
  Chain& leaky_relu(double negative_slope = 0.01) { return push(ChainFunction::leaky_relu, negative_slope); }
  /// v within [min, max]; a bound that is not given does not bind, but one must be.
  Chain& clamp(std::optional<double> min, std::optional<double> max = std::nullopt);

  /// Runs the chain; it can run again, and steps can be added before that.
  Tensor eval() const;
  operator Tensor() const { return eval(); }

  const ChainProgram& program() const noexcept { return program_; }

 private:
  Chain& push(ChainFunction function, const Tensor& b);
  Chain& push(ChainFunction function, double s = 0, double t = 0);

  ChainProgram program_;
  Tensor x_;
  Tensor operands_[kChainOperands];
};

/// Begins a chain with x. The Chain lives on its own: `Chain c = chain(x); if (…) c.relu(); y = c.eval();`.
GPUNN_API Chain chain(const Tensor& x);

}  // namespace gpunn
