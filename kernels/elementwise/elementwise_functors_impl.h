#pragma once
// One functor per function, written once for the reference (double), the CPU's generic path and the GPU
// (float, integers).
//
// T is the type to compute in: double, float, std::int32_t or std::int64_t. Integers wrap around. f32 on the
// CPU uses the vector functions of kernels/common/simd_math-inl.h for exp, log, sigmoid and tanh.
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "gpunn/core/hd.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"

namespace gpunn::elementwise {

/// The type in which integer arithmetic wraps without undefined behaviour.
template <class T>
using Wrapping =
    typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;

struct Add {
  template <class T>
  static GPUNN_HD T apply(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  }
};

struct Sub {
  template <class T>
  static GPUNN_HD T apply(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  }
};

struct Mul {
  template <class T>
  static GPUNN_HD T apply(T a, T b) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  }
};

struct Div {
  template <class T>
  static GPUNN_HD T apply(T a, T b) {
    return a / b;
  }
};

struct NegMul {
  template <class T>
  static GPUNN_HD T apply(T a, T b) {
    return -a * b;
  }
};

struct ReluGrad {
  template <class T>
  static GPUNN_HD T apply(T dy, T y) {
    return y <= T{0} ? T{0} : dy;
  }
};

struct SigmoidGrad {
  template <class T>
  static GPUNN_HD T apply(T dy, T y) {
    return dy * y * (T{1} - y);
  }
};

struct TanhGrad {
  template <class T>
  static GPUNN_HD T apply(T dy, T y) {
    return dy * (T{1} - y * y);
  }
};

// Unary functors take the scalar too; those without one ignore it.

struct Neg {
  template <class T>
  static GPUNN_HD T apply(T x, T) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(Wrapping<T>{0} - static_cast<Wrapping<T>>(x));
    else
      return -x;
  }
};

struct Exp {
  template <class T>
  static GPUNN_HD T apply(T x, T) {
    return std::exp(x);
  }
};

struct Log {
  template <class T>
  static GPUNN_HD T apply(T x, T) {
    return std::log(x);
  }
};

struct Relu {
  template <class T>
  static GPUNN_HD T apply(T x, T) {
    return x <= T{0} ? T{0} : x;  // NaN stays
  }
};

struct Sigmoid {
  template <class T>
  static GPUNN_HD T apply(T x, T) {
    const T e = std::exp(x < T{0} ? x : -x);  // never overflows
    return (x < T{0} ? e : T{1}) / (T{1} + e);
  }
};

struct Tanh {
  template <class T>
  static GPUNN_HD T apply(T x, T) {
    return std::tanh(x);
  }
};

struct RSub {
  template <class T>
  static GPUNN_HD T apply(T x, T s) {
    return Sub::apply(s, x);
  }
};

struct RDiv {
  template <class T>
  static GPUNN_HD T apply(T x, T s) {
    return s / x;
  }
};

/// Calls f(Functor{}) with the functor of `function`. For integers (T integral) only those that take them.
template <class T, class F>
GPUNN_HD void visit(UnaryFunction function, F&& f) {
  switch (function) {
    case UnaryFunction::neg:
      return f(Neg{});
    case UnaryFunction::add_scalar:
      return f(Add{});
    case UnaryFunction::mul_scalar:
      return f(Mul{});
    case UnaryFunction::rsub_scalar:
      return f(RSub{});
    default:
      break;
  }
  if constexpr (!std::is_integral_v<T>) {
    switch (function) {
      case UnaryFunction::exp:
        return f(Exp{});
      case UnaryFunction::log:
        return f(Log{});
      case UnaryFunction::relu:
        return f(Relu{});
      case UnaryFunction::sigmoid:
        return f(Sigmoid{});
      case UnaryFunction::tanh:
        return f(Tanh{});
      case UnaryFunction::div_scalar:
        return f(Div{});
      case UnaryFunction::rdiv_scalar:
        return f(RDiv{});
      default:
        break;
    }
  }
}

template <class T, class F>
GPUNN_HD void visit(BinaryFunction function, F&& f) {
  switch (function) {
    case BinaryFunction::add:
      return f(Add{});
    case BinaryFunction::sub:
      return f(Sub{});
    case BinaryFunction::mul:
      return f(Mul{});
    default:
      break;
  }
  if constexpr (!std::is_integral_v<T>) {
    switch (function) {
      case BinaryFunction::div:
        return f(Div{});
      case BinaryFunction::neg_mul:
        return f(NegMul{});
      case BinaryFunction::relu_grad:
        return f(ReluGrad{});
      case BinaryFunction::sigmoid_grad:
        return f(SigmoidGrad{});
      case BinaryFunction::tanh_grad:
        return f(TanhGrad{});
      default:
        break;
    }
  }
}

}  // namespace gpunn::elementwise
