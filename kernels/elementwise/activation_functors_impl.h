#pragma once
// Activations and their gradients, one functor each for the reference (double), the CPU's scalar path and the
// GPU (float). Formulas are arranged so that nothing overflows or cancels where PyTorch's value is finite;
// NaN gives NaN.
#include <cmath>
#include <type_traits>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/elementwise/functions_impl.h"

namespace gpunn::elementwise {

/// A functor of inputs (…; s, t).
#define GPUNN_FUNCTOR_1(Name, ...)                                             \
  struct Name {                                                                \
    template <class T>                                                         \
    static GPUNN_HD T apply(T x, [[maybe_unused]] T s, [[maybe_unused]] T t) { \
      __VA_ARGS__                                                              \
    }                                                                          \
  }
#define GPUNN_FUNCTOR_2(Name, a, b, ...)                                                      \
  struct Name {                                                                               \
    template <class T>                                                                        \
    static GPUNN_HD T apply([[maybe_unused]] T a, [[maybe_unused]] T b, [[maybe_unused]] T s, \
                            [[maybe_unused]] T t) {                                           \
      __VA_ARGS__                                                                             \
    }                                                                                         \
  }
#define GPUNN_FUNCTOR_3(Name, a, b, c, ...)                                                   \
  struct Name {                                                                               \
    template <class T>                                                                        \
    static GPUNN_HD T apply([[maybe_unused]] T a, [[maybe_unused]] T b, [[maybe_unused]] T c, \
                            [[maybe_unused]] T s, [[maybe_unused]] T t) {                     \
      __VA_ARGS__                                                                             \
    }                                                                                         \
  }

// Self-normalising units (Klambauer et al., 2017): alpha and the scale.
inline constexpr double kSeluAlpha = 1.6732632423543772848170429916717;
inline constexpr double kSeluScale = 1.0507009873554804934193349852946;
// The tanh form of gelu (Hendrycks and Gimpel, 2016): tanh(kGeluScale (x + kGeluCubic x^3)).
inline constexpr double kGeluScale = 0.79788456080286535587989211986876;  // sqrt(2 / pi)
inline constexpr double kGeluCubic = 0.044715;
inline constexpr double kSqrtHalf = 0.70710678118654752440084436210485;
inline constexpr double kNormalDensity = 0.3989422804014326779399460599344;  // 1 / sqrt(2 pi)
// From here on mish(x) is x, and beyond the other bound gelu's tanh is 1, in every dtype.
inline constexpr double kMishLinear = 22;
inline constexpr double kGeluLinear = 50;

template <class T>
GPUNN_HD bool is_nan(T x) {
  if constexpr (std::is_integral_v<T>)
    return false;
  else
    return x != x;
}
template <class T>
GPUNN_HD T logistic(T x) {
  const T e = std::exp(x < T(0) ? x : -x);
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}
/// logistic(x) (1 - logistic(x)), without the cancellation.
template <class T>
GPUNN_HD T logistic_slope(T x) {
  const T e = std::exp(x < T(0) ? x : -x);
  return e / ((T(1) + e) * (T(1) + e));
}
/// ln(1 + e^x)
template <class T>
GPUNN_HD T log_one_plus_exp(T x) {
  return (x < T(0) ? T(0) : x) + std::log1p(std::exp(x < T(0) ? x : -x));
}
/// P(X <= x) of the standard normal distribution, exact in the lower tail too.
template <class T>
GPUNN_HD T normal_cdf(T x) {
  return T(0.5) * std::erfc(x * T(-kSqrtHalf));
}
/// twice the argument of the tanh in gelu's tanh form: (1 + tanh u) / 2 is logistic(2 u).
template <class T>
GPUNN_HD T gelu_argument(T x) {
  return T(2 * kGeluScale) * (x + T(kGeluCubic) * x * x * x);
}
/// x + 3 within [0, 6]
template <class T>
GPUNN_HD T hard_gate(T x) {
  const T v = x + T(3);
  return v < T(0) ? T(0) : v > T(6) ? T(6) : v;
}

GPUNN_FUNCTOR_1(LeakyRelu, return x > T(0) ? x : x * s;);
GPUNN_FUNCTOR_1(Elu, return x > T(0) ? x : s * std::expm1(x););
GPUNN_FUNCTOR_1(Selu, return T(kSeluScale) * (x > T(0) ? x : T(kSeluAlpha) * std::expm1(x)););
GPUNN_FUNCTOR_1(Celu, return x > T(0) ? x : s * std::expm1(x / s););
GPUNN_FUNCTOR_1(Gelu, return x * normal_cdf(x););
GPUNN_FUNCTOR_1(GeluTanh, return x * logistic(gelu_argument(x)););
GPUNN_FUNCTOR_1(Silu, return x * logistic(x););
// tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2)
GPUNN_FUNCTOR_1(Mish, if (x >= T(kMishLinear)) return x; const T e = std::exp(x); const T n = e * (e + T(2));
                return x * (n / (n + T(2))););
GPUNN_FUNCTOR_1(Softplus, return x * s > t ? x : log_one_plus_exp(x * s) / s;);
GPUNN_FUNCTOR_1(Softsign, return x / (T(1) + std::fabs(x)););
GPUNN_FUNCTOR_1(Hardtanh, return x < s ? s : x > t ? t : x;);
GPUNN_FUNCTOR_1(Hardsigmoid, return hard_gate(x) / T(6););
GPUNN_FUNCTOR_1(Hardswish, return x * (hard_gate(x) / T(6)););
GPUNN_FUNCTOR_1(LogSigmoid, return (x < T(0) ? x : T(0)) - std::log1p(std::exp(x < T(0) ? x : -x)););

// At kinks and at NaN the gradients are PyTorch's.
GPUNN_FUNCTOR_2(LeakyReluGrad, dy, x, return x > T(0) ? dy : dy * s;);
GPUNN_FUNCTOR_2(EluGrad, dy, x, return x <= T(0) ? dy * s * std::exp(x) : dy;);
GPUNN_FUNCTOR_2(SeluGrad, dy, x,
                return x <= T(0) ? dy * T(kSeluScale * kSeluAlpha) * std::exp(x) : dy * T(kSeluScale););
GPUNN_FUNCTOR_2(CeluGrad, dy, x, return x <= T(0) ? dy * std::exp(x / s) : dy;);
GPUNN_FUNCTOR_2(GeluGrad, dy, x,
                return dy * (normal_cdf(x) + x * T(kNormalDensity) * std::exp(T(-0.5) * x * x)););
// Beyond the bound only the gate is left; the product of infinite and vanished factors would be NaN.
GPUNN_FUNCTOR_2(GeluTanhGrad, dy, x,
                const T v = x > T(kGeluLinear)    ? T(kGeluLinear)
                            : x < T(-kGeluLinear) ? T(-kGeluLinear)
                                                  : x;
                const T u = gelu_argument(v);
                const T slope = T(2 * kGeluScale) * (T(1) + T(3 * kGeluCubic) * v * v);
                return dy * (logistic(u) + v * slope * logistic_slope(u)););
GPUNN_FUNCTOR_2(SiluGrad, dy, x, return dy * (logistic(x) + x * logistic_slope(x)););
GPUNN_FUNCTOR_2(MishGrad, dy, x, if (x >= T(kMishLinear)) return dy; const T e = std::exp(x);
                const T n = e * (e + T(2)); const T w = n / (n + T(2));
                return dy * (w + x * (T(4) * e / (n + T(2))) * ((e + T(1)) / (n + T(2)))););
GPUNN_FUNCTOR_2(SoftplusGrad, dy, x, return x * s > t ? dy : dy * logistic(x * s););
GPUNN_FUNCTOR_2(SoftsignGrad, dy, x, const T d = T(1) + std::fabs(x); return dy / (d * d););
GPUNN_FUNCTOR_2(HardtanhGrad, dy, x, return x <= s || x >= t ? T(0) : dy;);
GPUNN_FUNCTOR_2(HardsigmoidGrad, dy, x, return x > T(-3) && x < T(3) ? dy / T(6) : T(0););
GPUNN_FUNCTOR_2(HardswishGrad, dy, x, return x <= T(-3) ? T(0) : x < T(3) ? dy * (x / T(3) + T(0.5)) : dy;);
GPUNN_FUNCTOR_2(LogSigmoidGrad, dy, x, return dy * logistic(-x););

GPUNN_FUNCTOR_2(Glu, gate, up, return logistic(gate) * up;);
GPUNN_FUNCTOR_2(Swiglu, gate, up, return gate * logistic(gate) * up;);
GPUNN_FUNCTOR_2(Geglu, gate, up, return gate * normal_cdf(gate) * up;);
GPUNN_FUNCTOR_3(GluGrad, dy, gate, up, return dy * up * logistic_slope(gate););
GPUNN_FUNCTOR_3(SwigluGrad, dy, gate, up, return SiluGrad::apply(dy * up, gate, T(0), T(0)););
GPUNN_FUNCTOR_3(GegluGrad, dy, gate, up, return GeluGrad::apply(dy * up, gate, T(0), T(0)););

GPUNN_MAP_VISIT(ActivationFunction, GPUNN_MAP_NONE, GPUNN_ACTIVATIONS)
GPUNN_MAP_VISIT(ActivationGrad, GPUNN_MAP_NONE, GPUNN_ACTIVATION_GRADS)
GPUNN_MAP_VISIT(GatedFunction, GPUNN_MAP_NONE, GPUNN_GATED)
GPUNN_MAP_VISIT(GatedGrad, GPUNN_MAP_NONE, GPUNN_GATED_GRADS)

}  // namespace gpunn::elementwise
