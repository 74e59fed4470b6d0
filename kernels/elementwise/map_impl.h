#pragma once
// What the groups of element-wise functions share: y[i] = f(a[i], b[i], c[i]; s, t) over broadcast operands.
//
// A group is an enum of functions with one number of inputs and one kind of result. Its list macro names
// each function once, X(enumerator, Functor, "op"); enum, dispatch and implementation lists follow from it.
// Functions for i32 and i64 too stand before those for floating dtypes only.
#include <cstdint>
#include <vector>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"

namespace gpunn {

enum class MapResult : std::uint8_t { same, boolean };

/// A group's properties; specialised beside its enum.
template <class Function>
struct MapGroup;

template <class Function>
inline constexpr int kInputs = MapGroup<Function>::kInputs;

/// Dimensions are coalesced (rank >= 1, extents > 0).
template <class Function>
struct MapProblem {
  DType dtype;  // of the inputs, but the first input of a selection is bool
  Function function;
  const void* in[kInputs<Function>];  // strided, extents of 0 stride repeat
  void* y;      // dense; of dtype, or bool; may be an input of its dtype that is in the same order
  double s, t;  // parameters; rounded to float for f32 and the halves
  int rank;
  std::int64_t shape[kMaxRank];
  std::int64_t strides[kInputs<Function>][kMaxRank];  // elements
};

template <class Function>
std::int64_t numel_of(const MapProblem<Function>& p) {
  std::int64_t n = 1;
  for (int i = 0; i < p.rank; ++i) n *= p.shape[i];
  return n;
}

template <class Function>
constexpr DType input_dtype(DType dtype, int input) {
  return MapGroup<Function>::kSelects && input == 0 ? DType::boolean : dtype;
}
template <class Function>
constexpr DType result_dtype(DType dtype) {
  return MapGroup<Function>::kResult == MapResult::boolean ? DType::boolean : dtype;
}

/// Does the function take tensors of this dtype?
template <class Function>
constexpr bool takes(Function function, DType dtype) {
  if (is_floating(dtype) || MapGroup<Function>::kAnyDType) return true;
  return (dtype == DType::i32 || dtype == DType::i64) &&
         static_cast<int>(function) < MapGroup<Function>::kIntegerFunctions;
}

template <class Function>
std::vector<Operand> operands(MapProblem<Function>& p) {
  constexpr const char* names[] = {"a", "b", "c"};
  std::vector<Operand> list;
  for (int i = 0; i < kInputs<Function>; ++i)
    list.push_back({names[i], const_cast<void**>(&p.in[i]), input_dtype<Function>(p.dtype, i),
                    detail::extent_of(p.rank, p.shape, p.strides[i]), Role::in});
  list.push_back({"y", &p.y, result_dtype<Function>(p.dtype), numel_of(p), Role::out});
  return list;
}

/// A repeated element is read once; a function counts as one operation.
template <class Function>
Cost cost(const MapProblem<Function>& p) {
  const auto n = static_cast<double>(numel_of(p));
  double bytes = n * static_cast<double>(size_of(result_dtype<Function>(p.dtype)));
  for (int k = 0; k < kInputs<Function>; ++k) {
    double distinct = static_cast<double>(size_of(input_dtype<Function>(p.dtype, k)));
    for (int i = 0; i < p.rank; ++i)
      if (p.strides[k][i] != 0) distinct *= static_cast<double>(p.shape[i]);
    bytes += distinct;
  }
  return {bytes, n};
}

template <class Function>
using MapList = ImplementationList<MapProblem<Function>>;

// What a group's list macro is expanded with.
#define GPUNN_MAP_ENUMERATOR(name, Functor, op) name,
#define GPUNN_MAP_COUNT(name, Functor, op) +1
#define GPUNN_MAP_CASE(name, Functor, op) \
  case E::name:                           \
    return f(Functor{});

/// Defines enum `Function` from two list macros and its properties.
#define GPUNN_MAP_GROUP(Function, INTEGERS, FLOATING, inputs, result, any_dtype, selects)               \
  enum class Function : std::uint8_t { INTEGERS(GPUNN_MAP_ENUMERATOR) FLOATING(GPUNN_MAP_ENUMERATOR) }; \
  template <>                                                                                           \
  struct MapGroup<Function> {                                                                           \
    static constexpr int kInputs = inputs;                                                              \
    static constexpr MapResult kResult = MapResult::result;                                             \
    static constexpr bool kAnyDType = any_dtype;                                                        \
    static constexpr bool kSelects = selects;                                                           \
    static constexpr int kIntegerFunctions = 0 INTEGERS(GPUNN_MAP_COUNT);                               \
    static constexpr int kFunctions = kIntegerFunctions FLOATING(GPUNN_MAP_COUNT);                      \
  };                                                                                                    \
  void map_ref(const MapProblem<Function>& p, const Exec& exec);                                        \
  void map_cpu(const MapProblem<Function>& p, const Exec& exec);                                        \
  void map_cuda(const MapProblem<Function>& p, const Exec& exec);                                       \
  const MapList<Function>& map_list(Function f);                                                        \
  namespace elementwise {                                                                               \
  template <class T, class F>                                                                           \
  GPUNN_HD void visit(Function function, F&& f);                                                        \
  }                                                                                                     \
  static_assert(MapGroup<Function>::kFunctions < 256)

/// Defines visit<T>(function, f), which calls f(Functor{}); integers reach the integer functions only.
#define GPUNN_MAP_VISIT(Function, INTEGERS, FLOATING) \
  template <class T, class F>                         \
  GPUNN_HD void visit(Function function, F&& f) {     \
    using E = Function;                               \
    switch (function) {                               \
      INTEGERS(GPUNN_MAP_CASE)                        \
      default:                                        \
        break;                                        \
    }                                                 \
    if constexpr (!std::is_integral_v<T>) {           \
      switch (function) {                             \
        FLOATING(GPUNN_MAP_CASE)                      \
        default:                                      \
          break;                                      \
      }                                               \
    }                                                 \
  }

#define GPUNN_MAP_NONE(X)

}  // namespace gpunn
