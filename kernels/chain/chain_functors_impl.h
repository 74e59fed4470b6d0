#pragma once
// The steps of a chain, one functor each for the reference (double) and the GPU (float), made of the functors
// of the element-wise ops.
#include "gpunn/kernels/chain/chain_program.h"
#include "gpunn/kernels/elementwise/math_functors_impl.h"

namespace gpunn::chains {

namespace ew = elementwise;

/// value(v, b, s, t); grad(g, v, b, y, s, t), the gradient of v when y = value(...) has the gradient g; and
/// for steps of v and b, operand_grad likewise for b.
#define GPUNN_CHAIN_STEP(Name, value_of, grad_of, operand_grad_of)                                          \
  struct Name {                                                                                             \
    template <class T>                                                                                      \
    static GPUNN_HD T value(T v, [[maybe_unused]] T b, [[maybe_unused]] T s, [[maybe_unused]] T t) {        \
      return value_of;                                                                                      \
    }                                                                                                       \
    template <class T>                                                                                      \
    static GPUNN_HD T grad(T g, [[maybe_unused]] T v, [[maybe_unused]] T b, [[maybe_unused]] T y,           \
                           [[maybe_unused]] T s, [[maybe_unused]] T t) {                                    \
      return grad_of;                                                                                       \
    }                                                                                                       \
    template <class T>                                                                                      \
    static GPUNN_HD T operand_grad(T g, [[maybe_unused]] T v, [[maybe_unused]] T b, [[maybe_unused]] T y) { \
      return operand_grad_of;                                                                               \
    }                                                                                                       \
  }

GPUNN_CHAIN_STEP(Add, v + b, g, g);
GPUNN_CHAIN_STEP(Sub, v - b, g, -g);
GPUNN_CHAIN_STEP(RSub, b - v, -g, g);
GPUNN_CHAIN_STEP(Mul, v* b, g* b, g* v);
GPUNN_CHAIN_STEP(Div, v / b, g / b, -(g / b) * y);
GPUNN_CHAIN_STEP(RDiv, b / v, -(g / v) * y, g / v);
GPUNN_CHAIN_STEP(Maximum, ew::Maximum::apply(v, b, s, t), ew::MaximumGrad::apply(g, v, b, s, t),
                 ew::MaximumGrad::apply(g, b, v, g, g));
GPUNN_CHAIN_STEP(Minimum, ew::Minimum::apply(v, b, s, t), ew::MinimumGrad::apply(g, v, b, s, t),
                 ew::MinimumGrad::apply(g, b, v, g, g));
GPUNN_CHAIN_STEP(Neg, -v, -g, g);
GPUNN_CHAIN_STEP(Exp, std::exp(v), g* y, g);
GPUNN_CHAIN_STEP(Log, std::log(v), g / v, g);
GPUNN_CHAIN_STEP(Relu, ew::Relu::apply(v, s), ew::ReluGrad::apply(g, y), g);
GPUNN_CHAIN_STEP(Sigmoid, ew::Sigmoid::apply(v, s), ew::SigmoidGrad::apply(g, y), g);
GPUNN_CHAIN_STEP(Tanh, std::tanh(v), ew::TanhGrad::apply(g, y), g);
GPUNN_CHAIN_STEP(Gelu, ew::Gelu::apply(v, s, t), ew::GeluGrad::apply(g, v, s, t), g);
GPUNN_CHAIN_STEP(GeluTanh, ew::GeluTanh::apply(v, s, t), ew::GeluTanhGrad::apply(g, v, s, t), g);
GPUNN_CHAIN_STEP(Silu, ew::Silu::apply(v, s, t), ew::SiluGrad::apply(g, v, s, t), g);
GPUNN_CHAIN_STEP(Abs, std::fabs(v), ew::AbsGrad::apply(g, v, s, t), g);
GPUNN_CHAIN_STEP(Square, v* v, ew::SquareGrad::apply(g, v, s, t), g);
GPUNN_CHAIN_STEP(Sqrt, std::sqrt(v), ew::SqrtGrad::apply(g, y, s, t), g);
GPUNN_CHAIN_STEP(Rsqrt, ew::Rsqrt::apply(v, s, t), ew::RsqrtGrad::apply(g, y, s, t), g);
GPUNN_CHAIN_STEP(Clamp, ew::Clamp::apply(v, s, t), ew::ClampGrad::apply(g, v, s, t), g);
GPUNN_CHAIN_STEP(LeakyRelu, ew::LeakyRelu::apply(v, s, t), ew::LeakyReluGrad::apply(g, v, s, t), g);
#undef GPUNN_CHAIN_STEP

#define GPUNN_CHAIN_CASE(name, Functor) \
  case ChainFunction::name:             \
    return f(Functor{});

/// Calls f(Functor{}) with the functor of `function`.
template <class F>
GPUNN_HD void visit(ChainFunction function, F&& f) {
  switch (function) { GPUNN_CHAIN_BINARY(GPUNN_CHAIN_CASE) GPUNN_CHAIN_UNARY(GPUNN_CHAIN_CASE) }
}
/// Likewise for a function of v and b.
template <class F>
GPUNN_HD void visit_binary(ChainFunction function, F&& f) {
  switch (function) {
    GPUNN_CHAIN_BINARY(GPUNN_CHAIN_CASE)
    default:
      break;
  }
}
#undef GPUNN_CHAIN_CASE

}  // namespace gpunn::chains
