// Operands, costs and implementation lists of the element-wise ops.
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"

namespace gpunn {

std::vector<Operand> operands(UnaryProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, detail::extent_of(p.rank, p.shape, p.x_strides), Role::in},
          {"y", &p.y, p.dtype, numel_of(p), Role::out}};
}

std::vector<Operand> operands(BinaryProblem& p) {
  return {{"a", const_cast<void**>(&p.a), p.dtype, detail::extent_of(p.rank, p.shape, p.a_strides), Role::in},
          {"b", const_cast<void**>(&p.b), p.dtype, detail::extent_of(p.rank, p.shape, p.b_strides), Role::in},
          {"y", &p.y, p.dtype, numel_of(p), Role::out}};
}

namespace {

/// Elements of an operand that are read at least once: repeated ones count once.
double distinct(int rank, const std::int64_t* shape, const std::int64_t* strides) {
  double n = 1;
  for (int i = 0; i < rank; ++i)
    if (strides[i] != 0) n *= static_cast<double>(shape[i]);
  return n;
}

}  // namespace

Cost cost(const UnaryProblem& p) {
  const auto n = static_cast<double>(numel_of(p));
  return {(distinct(p.rank, p.shape, p.x_strides) + n) * static_cast<double>(size_of(p.dtype)), n};
}

Cost cost(const BinaryProblem& p) {
  const auto n = static_cast<double>(numel_of(p));
  const double read = distinct(p.rank, p.shape, p.a_strides) + distinct(p.rank, p.shape, p.b_strides);
  return {(read + n) * static_cast<double>(size_of(p.dtype)), n};
}

namespace {

template <class P>
const char* cpu_accepts(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}

template <class P>
const char* ref_accepts(const P& p) {
  if (is_floating(p.dtype) || (is_wide_integer(p.dtype) && takes_integers(p.function))) return nullptr;
  return "floating dtypes, and i32 and i64 for add, sub, mul and neg";
}

#if GPUNN_HAS_CUDA
template <class P>
const char* cuda_accepts(const P& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : ref_accepts(p);
}
#endif

template <Determinism kLevel>
constexpr Implementation<UnaryProblem> kUnaryLevel[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<UnaryProblem>, nullptr, kLevel, unary_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<UnaryProblem>, nullptr, kLevel, unary_cpu},
    {"ref", DeviceType::cpu, ref_accepts<UnaryProblem>, nullptr, kLevel, unary_ref},
};
constexpr auto& kUnaryEntries = kUnaryLevel<Determinism::bitwise>;
constexpr auto& kExactUnary = kUnaryLevel<Determinism::portable>;

template <Determinism kLevel>
constexpr Implementation<BinaryProblem> kBinaryLevel[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<BinaryProblem>, nullptr, kLevel, binary_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<BinaryProblem>, nullptr, kLevel, binary_cpu},
    {"ref", DeviceType::cpu, ref_accepts<BinaryProblem>, nullptr, kLevel, binary_ref},
};
constexpr auto& kBinaryEntries = kBinaryLevel<Determinism::bitwise>;
// One operation of IEEE 754, or a selection. A sum, difference or product of halves in float rounds to what
// the exact one rounds to.
constexpr auto& kExactBinary = kBinaryLevel<Determinism::portable>;

}  // namespace

constexpr ImplementationList<UnaryProblem> kUnary[kUnaryFunctions] = {
    {"neg", "forward", kExactUnary},           {"exp", "forward", kUnaryEntries},
    {"log", "forward", kUnaryEntries},         {"relu", "forward", kExactUnary},
    {"sigmoid", "forward", kUnaryEntries},     {"tanh", "forward", kUnaryEntries},
    {"add_scalar", "forward", kUnaryEntries},  {"mul_scalar", "forward", kUnaryEntries},
    {"div_scalar", "forward", kUnaryEntries},  {"rsub_scalar", "forward", kUnaryEntries},
    {"rdiv_scalar", "forward", kUnaryEntries},
};

constexpr ImplementationList<BinaryProblem> kBinary[kBinaryFunctions] = {
    {"add", "forward", kExactBinary},        {"sub", "forward", kExactBinary},
    {"mul", "forward", kExactBinary},        {"div", "forward", kBinaryEntries},
    {"div", "backward", kBinaryEntries},     {"relu", "backward", kExactBinary},
    {"sigmoid", "backward", kBinaryEntries}, {"tanh", "backward", kBinaryEntries},
};

}  // namespace gpunn
