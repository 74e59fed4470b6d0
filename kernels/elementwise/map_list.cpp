// The implementation lists of the groups; the functions of one group share their entries.
#include <type_traits>

#include "gpunn/kernels/elementwise/functions_impl.h"

namespace gpunn {

namespace {

template <class Function>
const char* cpu_accepts(const MapProblem<Function>& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}

template <class Function>
const char* ref_accepts(const MapProblem<Function>& p) {
  return takes(p.function, p.dtype) ? nullptr : "floating dtypes, and i32 and i64 for some functions";
}

#if GPUNN_HAS_CUDA
template <class Function>
const char* cuda_accepts(const MapProblem<Function>& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : ref_accepts(p);
}
#endif

// Comparisons, predicates and where() copy or compare; what computes rounds, each device in its own way.
template <class Function>
constexpr auto kLevel = std::is_same_v<Function, CompareFunction> || std::is_same_v<Function, Predicate> ||
                                std::is_same_v<Function, Selection>
                            ? Determinism::portable
                            : Determinism::bitwise;

template <class Function>
constexpr Implementation<MapProblem<Function>> kEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<Function>, nullptr, kLevel<Function>, map_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<Function>, nullptr, kLevel<Function>, map_cpu},
    {"ref", DeviceType::cpu, ref_accepts<Function>, nullptr, kLevel<Function>, map_ref},
};

}  // namespace

#define GPUNN_MAP_FORWARD(name, Functor, op) {op, "forward", kEntries<F>},
#define GPUNN_MAP_BACKWARD(name, Functor, op) {op, "backward", kEntries<F>},
#define GPUNN_MAP_LISTS(Function, INTEGERS, FLOATING, ENTRY)                 \
  const MapList<Function>& map_list(Function f) {                            \
    using F = Function;                                                      \
    static constexpr MapList<F> lists[] = {INTEGERS(ENTRY) FLOATING(ENTRY)}; \
    return lists[static_cast<int>(f)];                                       \
  }

GPUNN_MAP_LISTS(ActivationFunction, GPUNN_MAP_NONE, GPUNN_ACTIVATIONS, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(ActivationGrad, GPUNN_MAP_NONE, GPUNN_ACTIVATION_GRADS, GPUNN_MAP_BACKWARD)
GPUNN_MAP_LISTS(GatedFunction, GPUNN_MAP_NONE, GPUNN_GATED, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(GatedGrad, GPUNN_MAP_NONE, GPUNN_GATED_GRADS, GPUNN_MAP_BACKWARD)
GPUNN_MAP_LISTS(MathFunction, GPUNN_MATH_INTEGERS, GPUNN_MATH_FLOATING, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(MathGrad, GPUNN_MAP_NONE, GPUNN_MATH_GRADS, GPUNN_MAP_BACKWARD)
GPUNN_MAP_LISTS(BinaryMath, GPUNN_BINARY_MATH_INTEGERS, GPUNN_BINARY_MATH_FLOATING, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(BinaryMathGrad, GPUNN_MAP_NONE, GPUNN_BINARY_MATH_GRADS, GPUNN_MAP_BACKWARD)
GPUNN_MAP_LISTS(TernaryFunction, GPUNN_MAP_NONE, GPUNN_TERNARY_FLOATING, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(Selection, GPUNN_SELECTIONS, GPUNN_MAP_NONE, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(CompareFunction, GPUNN_COMPARISONS, GPUNN_MAP_NONE, GPUNN_MAP_FORWARD)
GPUNN_MAP_LISTS(Predicate, GPUNN_PREDICATES, GPUNN_MAP_NONE, GPUNN_MAP_FORWARD)

}  // namespace gpunn
