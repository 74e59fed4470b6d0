#pragma once
// The groups of element-wise functions: names, functors, operations. Functors are in *_functors_impl.h.
#include "gpunn/kernels/elementwise/map_impl.h"

namespace gpunn {

// Activations (x; s, t) and their gradients (dy, x; s, t).
#define GPUNN_ACTIVATIONS(X)                 \
  X(leaky_relu, LeakyRelu, "leaky_relu")     \
  X(elu, Elu, "elu")                         \
  X(selu, Selu, "selu")                      \
  X(celu, Celu, "celu")                      \
  X(gelu, Gelu, "gelu")                      \
  X(gelu_tanh, GeluTanh, "gelu_tanh")        \
  X(silu, Silu, "silu")                      \
  X(mish, Mish, "mish")                      \
  X(softplus, Softplus, "softplus")          \
  X(softsign, Softsign, "softsign")          \
  X(hardtanh, Hardtanh, "hardtanh")          \
  X(hardsigmoid, Hardsigmoid, "hardsigmoid") \
  X(hardswish, Hardswish, "hardswish")       \
  X(logsigmoid, LogSigmoid, "logsigmoid")
GPUNN_MAP_GROUP(ActivationFunction, GPUNN_MAP_NONE, GPUNN_ACTIVATIONS, 1, same, false, false);

#define GPUNN_ACTIVATION_GRADS(X)                \
  X(leaky_relu, LeakyReluGrad, "leaky_relu")     \
  X(elu, EluGrad, "elu")                         \
  X(selu, SeluGrad, "selu")                      \
  X(celu, CeluGrad, "celu")                      \
  X(gelu, GeluGrad, "gelu")                      \
  X(gelu_tanh, GeluTanhGrad, "gelu_tanh")        \
  X(silu, SiluGrad, "silu")                      \
  X(mish, MishGrad, "mish")                      \
  X(softplus, SoftplusGrad, "softplus")          \
  X(softsign, SoftsignGrad, "softsign")          \
  X(hardtanh, HardtanhGrad, "hardtanh")          \
  X(hardsigmoid, HardsigmoidGrad, "hardsigmoid") \
  X(hardswish, HardswishGrad, "hardswish")       \
  X(logsigmoid, LogSigmoidGrad, "logsigmoid")
GPUNN_MAP_GROUP(ActivationGrad, GPUNN_MAP_NONE, GPUNN_ACTIVATION_GRADS, 2, same, false, false);

// Gated units (gate, up): activation(gate) up, and the gradient of the gate (dy, gate, up). That of up is the
// function itself, of (gate, dy).
#define GPUNN_GATED(X)        \
  X(glu, Glu, "glu")          \
  X(swiglu, Swiglu, "swiglu") \
  X(geglu, Geglu, "geglu")
GPUNN_MAP_GROUP(GatedFunction, GPUNN_MAP_NONE, GPUNN_GATED, 2, same, false, false);

#define GPUNN_GATED_GRADS(X)      \
  X(glu, GluGrad, "glu")          \
  X(swiglu, SwigluGrad, "swiglu") \
  X(geglu, GegluGrad, "geglu")
GPUNN_MAP_GROUP(GatedGrad, GPUNN_MAP_NONE, GPUNN_GATED_GRADS, 3, same, false, false);

// Functions of one tensor (x; s, t) and their gradients (dy, x or y; s, t).
#define GPUNN_MATH_INTEGERS(X) \
  X(abs, Abs, "abs")           \
  X(sign, Sign, "sign")        \
  X(square, Square, "square")  \
  X(clamp, Clamp, "clamp")
#define GPUNN_MATH_FLOATING(X)            \
  X(sqrt, Sqrt, "sqrt")                   \
  X(rsqrt, Rsqrt, "rsqrt")                \
  X(reciprocal, Reciprocal, "reciprocal") \
  X(exp2, Exp2, "exp2")                   \
  X(expm1, Expm1, "expm1")                \
  X(log1p, Log1p, "log1p")                \
  X(log2, Log2, "log2")                   \
  X(log10, Log10, "log10")                \
  X(sin, Sin, "sin")                      \
  X(cos, Cos, "cos")                      \
  X(tan, Tan, "tan")                      \
  X(asin, Asin, "asin")                   \
  X(acos, Acos, "acos")                   \
  X(atan, Atan, "atan")                   \
  X(sinh, Sinh, "sinh")                   \
  X(cosh, Cosh, "cosh")                   \
  X(erf, Erf, "erf")                      \
  X(floor, Floor, "floor")                \
  X(ceil, Ceil, "ceil")                   \
  X(round, Round, "round")                \
  X(trunc, Trunc, "trunc")                \
  X(pow_scalar, PowScalar, "pow_scalar")  \
  X(scalar_pow, ScalarPow, "scalar_pow")
GPUNN_MAP_GROUP(MathFunction, GPUNN_MATH_INTEGERS, GPUNN_MATH_FLOATING, 1, same, false, false);

#define GPUNN_MATH_GRADS(X)                   \
  X(abs, AbsGrad, "abs")                      \
  X(square, SquareGrad, "square")             \
  X(clamp, ClampGrad, "clamp")                \
  X(sqrt, SqrtGrad, "sqrt")                   \
  X(rsqrt, RsqrtGrad, "rsqrt")                \
  X(reciprocal, ReciprocalGrad, "reciprocal") \
  X(exp2, Exp2Grad, "exp2")                   \
  X(expm1, Expm1Grad, "expm1")                \
  X(log1p, Log1pGrad, "log1p")                \
  X(log2, Log2Grad, "log2")                   \
  X(log10, Log10Grad, "log10")                \
  X(sin, SinGrad, "sin")                      \
  X(cos, CosGrad, "cos")                      \
  X(tan, TanGrad, "tan")                      \
  X(asin, AsinGrad, "asin")                   \
  X(acos, AcosGrad, "acos")                   \
  X(atan, AtanGrad, "atan")                   \
  X(sinh, SinhGrad, "sinh")                   \
  X(cosh, CoshGrad, "cosh")                   \
  X(erf, ErfGrad, "erf")                      \
  X(pow_scalar, PowScalarGrad, "pow_scalar")  \
  X(scalar_pow, ScalarPowGrad, "scalar_pow")
GPUNN_MAP_GROUP(MathGrad, GPUNN_MAP_NONE, GPUNN_MATH_GRADS, 2, same, false, false);

// Functions of two tensors (a, b; s) and their gradients (dy, a, b), by the operand that they belong to.
#define GPUNN_BINARY_MATH_INTEGERS(X) \
  X(maximum, Maximum, "maximum")      \
  X(minimum, Minimum, "minimum")
#define GPUNN_BINARY_MATH_FLOATING(X)  \
  X(pow, Pow, "pow")                   \
  X(fmod, Fmod, "fmod")                \
  X(remainder, Remainder, "remainder") \
  X(atan2, Atan2, "atan2")             \
  X(heaviside, Heaviside, "heaviside") \
  X(prelu, Prelu, "prelu")             \
  X(lerp_scalar, LerpScalar, "lerp_scalar")
GPUNN_MAP_GROUP(BinaryMath, GPUNN_BINARY_MATH_INTEGERS, GPUNN_BINARY_MATH_FLOATING, 2, same, false, false);

#define GPUNN_BINARY_MATH_GRADS(X)            \
  X(maximum, MaximumGrad, "maximum")          \
  X(minimum, MinimumGrad, "minimum")          \
  X(pow_a, PowGradA, "pow")                   \
  X(pow_b, PowGradB, "pow")                   \
  X(fmod_b, FmodGradB, "fmod")                \
  X(remainder_b, RemainderGradB, "remainder") \
  X(atan2_a, Atan2GradA, "atan2")             \
  X(atan2_b, Atan2GradB, "atan2")             \
  X(prelu_x, PreluGradX, "prelu")             \
  X(prelu_w, PreluGradW, "prelu")
GPUNN_MAP_GROUP(BinaryMathGrad, GPUNN_MAP_NONE, GPUNN_BINARY_MATH_GRADS, 3, same, false, false);

// Functions of three tensors (a, b, c; s).
#define GPUNN_TERNARY_FLOATING(X) \
  X(lerp, Lerp, "lerp")           \
  X(addcmul, Addcmul, "addcmul")  \
  X(addcdiv, Addcdiv, "addcdiv")
GPUNN_MAP_GROUP(TernaryFunction, GPUNN_MAP_NONE, GPUNN_TERNARY_FLOATING, 3, same, false, false);

// (condition, a, b)
#define GPUNN_SELECTIONS(X) X(where, Where, "where")
GPUNN_MAP_GROUP(Selection, GPUNN_SELECTIONS, GPUNN_MAP_NONE, 3, same, false, true);

// Comparisons and logic, of every dtype, with a bool result: (a, b), and (x; s).
#define GPUNN_COMPARISONS(X)                \
  X(eq, Eq, "eq")                           \
  X(ne, Ne, "ne")                           \
  X(lt, Lt, "lt")                           \
  X(le, Le, "le")                           \
  X(gt, Gt, "gt")                           \
  X(ge, Ge, "ge")                           \
  X(logical_and, LogicalAnd, "logical_and") \
  X(logical_or, LogicalOr, "logical_or")    \
  X(logical_xor, LogicalXor, "logical_xor")
GPUNN_MAP_GROUP(CompareFunction, GPUNN_COMPARISONS, GPUNN_MAP_NONE, 2, boolean, true, false);

#define GPUNN_PREDICATES(X)         \
  X(eq_scalar, Eq, "eq_scalar")     \
  X(ne_scalar, Ne, "ne_scalar")     \
  X(lt_scalar, Lt, "lt_scalar")     \
  X(le_scalar, Le, "le_scalar")     \
  X(gt_scalar, Gt, "gt_scalar")     \
  X(ge_scalar, Ge, "ge_scalar")     \
  X(isnan, IsNan, "isnan")          \
  X(isinf, IsInf, "isinf")          \
  X(isfinite, IsFinite, "isfinite") \
  X(logical_not, LogicalNot, "logical_not")
GPUNN_MAP_GROUP(Predicate, GPUNN_PREDICATES, GPUNN_MAP_NONE, 1, boolean, true, false);

}  // namespace gpunn
