#pragma once
// The three primitives that core itself needs: fill, strided copy with conversion, and add.
//
// Conversions: to bool is "!= 0" (NaN is true); floating to integer truncates toward zero, saturates at the
// ends of the range and maps NaN to 0, so that devices agree; between integers the value wraps; halves
// convert through float, rounding to nearest even.
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "gpunn/core/dtype.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"

namespace gpunn {

class Tensor;

/// y[...] = value, converted. Dimensions are coalesced; rank >= 1, extents > 0.
struct FillProblem {
  DType dtype;
  void* y;
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t strides[kMaxRank];  // elements
  double value;
};

/// y[...] = x[...], converted. Dimensions are coalesced and ordered by falling y stride. x and y do not
/// overlap; y does not overlap itself, x may (strides of 0).
struct CopyProblem {
  DType src_dtype;
  DType dtype;
  const void* x;
  void* y;
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t x_strides[kMaxRank];
  std::int64_t y_strides[kMaxRank];
};

/// y = a + b, floating, contiguous; y may be a or b.
struct AddProblem {
  DType dtype;
  const void* a;  // [n]
  const void* b;  // [n]
  void* y;        // [n]
  std::int64_t n;
};

std::vector<Operand> operands(FillProblem& p);
std::vector<Operand> operands(CopyProblem& p);
std::vector<Operand> operands(AddProblem& p);
Cost cost(const FillProblem& p);
Cost cost(const CopyProblem& p);
Cost cost(const AddProblem& p);

void fill_ref(const FillProblem& p, const Exec& exec);
void fill_cpu(const FillProblem& p, const Exec& exec);
void fill_cuda(const FillProblem& p, const Exec& exec);
void copy_ref(const CopyProblem& p, const Exec& exec);
void copy_cpu(const CopyProblem& p, const Exec& exec);
void copy_cuda(const CopyProblem& p, const Exec& exec);
void add_ref(const AddProblem& p, const Exec& exec);
void add_cpu(const AddProblem& p, const Exec& exec);
void add_cuda(const AddProblem& p, const Exec& exec);

extern const ImplementationList<FillProblem> kFill;
extern const ImplementationList<CopyProblem> kCopy;
extern const ImplementationList<AddProblem> kAdd;

namespace detail {

/// Problems from tensors that are not empty; `x` and `y` have one shape.
FillProblem fill_problem(const Tensor& y, double value);
CopyProblem copy_problem(const Tensor& x, const Tensor& y);

inline std::int64_t numel_of(int rank, const std::int64_t* shape) {
  std::int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= shape[i];
  return n;
}

// Constants rather than calls: device code may not call the functions of numeric_limits.
template <class T>
inline constexpr T kLowest = std::numeric_limits<T>::min();
template <class T>
inline constexpr T kHighest = std::numeric_limits<T>::max();

/// One element from one dtype to another, by the rules at the top.
template <class To, class From>
GPUNN_HD To convert_value(From v) {
  if constexpr (std::is_same_v<From, Half> || std::is_same_v<From, BFloat16>) {
    if constexpr (std::is_same_v<To, From>)
      return v;
    else
      return convert_value<To>(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, Half> || std::is_same_v<To, BFloat16>) {
    return To(static_cast<float>(v));
  } else if constexpr (std::is_same_v<To, bool>) {
    return v != From{0};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    constexpr To kLow = kLowest<To>, kHigh = kHighest<To>;
    if (v != v) return To{0};
    if (v <= static_cast<From>(kLow)) return kLow;
    if (v >= static_cast<From>(kHigh)) return kHigh;
    return static_cast<To>(v);
  } else {
    return static_cast<To>(v);
  }
}

}  // namespace detail
}  // namespace gpunn
