// Operands, costs and implementation lists of the reductions.
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn {

namespace {

std::int64_t extent_of(const ReduceDims& kept, const ReduceDims& reduced) {
  const std::int64_t outer = detail::extent_of(kept.rank, kept.shape, kept.strides);
  const std::int64_t inner = detail::extent_of(reduced.rank, reduced.shape, reduced.strides);
  return outer == 0 || inner == 0 ? 0 : outer + inner - 1;
}

}  // namespace

std::vector<Operand> operands(ReduceProblem& p) {
  const std::int64_t outputs = numel_of(p.kept);
  return {{"x", const_cast<void**>(&p.x), p.dtype, extent_of(p.kept, p.reduced), Role::in},
          {"y", &p.y, value_dtype(p), gives_values(p.function) ? outputs : 0, Role::out},
          {"indices", reinterpret_cast<void**>(&p.indices), DType::i64,
           gives_indices(p.function) ? outputs : 0, Role::out}};
}

std::vector<Operand> operands(MaxBackwardProblem& p) {
  const std::int64_t outputs = numel_of(p.kept), elements = extent_of(p.kept, p.reduced);
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.by_index ? 0 : elements, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, p.by_index ? 0 : outputs, Role::in},
          {"indices", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.indices)), DType::i64,
           p.by_index ? outputs : 0, Role::in},
          {"dy", const_cast<void**>(&p.dy), p.dtype, outputs, Role::in},
          {"dx", &p.dx, p.dtype, elements, Role::out}};
}

std::vector<Operand> operands(ReduceBackwardProblem& p) {
  const std::int64_t outputs = numel_of(p.kept), elements = extent_of(p.kept, p.reduced);
  return {
      {"x", const_cast<void**>(&p.x), p.dtype, elements, Role::in},
      {"y", const_cast<void**>(&p.y), p.dtype, p.function == ReduceFunction::norm ? outputs : 0, Role::in},
      {"dy", const_cast<void**>(&p.dy), p.dtype, outputs, Role::in},
      {"dx", &p.dx, p.dtype, elements, Role::out}};
}

Cost cost(const ReduceProblem& p) {
  const auto outputs = static_cast<double>(numel_of(p.kept));
  const double elements = outputs * static_cast<double>(numel_of(p.reduced));
  const double written = (gives_values(p.function) ? static_cast<double>(size_of(value_dtype(p))) : 0) +
                         (gives_indices(p.function) ? sizeof(std::int64_t) : 0);
  return {elements * static_cast<double>(size_of(p.dtype)) + outputs * written, elements};
}

Cost cost(const MaxBackwardProblem& p) {
  const auto outputs = static_cast<double>(numel_of(p.kept));
  const double elements = outputs * static_cast<double>(numel_of(p.reduced));
  const auto size = static_cast<double>(size_of(p.dtype));
  return {elements * size * (p.by_index ? 1 : 2) + outputs * (p.by_index ? size + 8 : 2 * size), elements};
}

Cost cost(const ReduceBackwardProblem& p) {
  const auto outputs = static_cast<double>(numel_of(p.kept));
  const double elements = outputs * static_cast<double>(numel_of(p.reduced));
  const auto size = static_cast<double>(size_of(p.dtype));
  return {2 * elements * size + outputs * size * (p.function == ReduceFunction::norm ? 2 : 1), 2 * elements};
}

namespace {

const char* cpu_accepts(const ReduceProblem& p) {
  if (p.dtype != DType::f32) return "takes f32";
  if (p.function != ReduceFunction::norm) return nullptr;
  const NormTerm term = norm_term(p.parameter);
  const bool ok = term != NormTerm::nonzero && term != NormTerm::power;
  return ok ? nullptr : "takes norms with p = 1, 2 or infinite";
}

const char* ref_accepts(const ReduceProblem& p) {
  if (is_floating(p.dtype) || p.function == ReduceFunction::sum || counts(p.function)) return nullptr;
  if (!chooses(p.function)) return "takes floating dtypes";
  return p.dtype == DType::i32 || p.dtype == DType::i64 ? nullptr : "takes floating dtypes, i32 and i64";
}

#if GPUNN_HAS_CUDA
const char* cuda_accepts(const ReduceProblem& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : ref_accepts(p);
}
#if !GPUNN_EMULATED
const char* cub_accepts(const ReduceProblem& p) {
  if (p.dtype != DType::f32 && is_floating(p.dtype)) return "takes f32 and integers";
  const bool dense = p.reduced.rank == 1 && p.reduced.strides[0] == 1;
  return dense && numel_of(p.kept) == 1 ? nullptr : "takes the sum of a whole contiguous tensor";
}
#endif
template <class P>
const char* bwd_cuda_accepts(const P& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : nullptr;
}
#endif

constexpr Implementation<ReduceProblem> kSumEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, reduce_cuda_workspace, Determinism::bitwise, reduce_cuda},
#endif
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cub", DeviceType::cuda, cub_accepts, reduce_cub_workspace, Determinism::bitwise, reduce_cub},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, reduce_cpu_workspace, Determinism::bitwise, reduce_cpu},
    {"ref", DeviceType::cpu, ref_accepts, nullptr, Determinism::bitwise, reduce_ref},
};

constexpr Implementation<ReduceProblem> kReduceEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, reduce_cuda_workspace, Determinism::bitwise, reduce_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, reduce_cpu_workspace, Determinism::bitwise, reduce_cpu},
    {"ref", DeviceType::cpu, ref_accepts, nullptr, Determinism::bitwise, reduce_ref},
};

constexpr Implementation<ReduceProblem> kStatisticsEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, reduce_statistics_cuda_workspace, Determinism::bitwise,
     reduce_statistics_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, reduce_cpu_workspace, Determinism::bitwise, reduce_cpu},
    {"ref", DeviceType::cpu, ref_accepts, nullptr, Determinism::bitwise, reduce_ref},
};

constexpr Implementation<ReduceProblem> kCountEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, reduce_statistics_cuda_workspace, Determinism::portable,
     reduce_statistics_cuda},
#endif
    {"ref", DeviceType::cpu, ref_accepts, nullptr, Determinism::portable, reduce_ref},
};

constexpr Implementation<ReduceBackwardProblem> kReduceBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, bwd_cuda_accepts<ReduceBackwardProblem>, nullptr, Determinism::bitwise,
     reduce_bwd_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, reduce_bwd_ref},
};

constexpr Implementation<MaxBackwardProblem> kMaxBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, bwd_cuda_accepts<MaxBackwardProblem>, nullptr, Determinism::bitwise,
     max_bwd_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, max_bwd_ref},
};

}  // namespace

constexpr ImplementationList<ReduceProblem> kReduce[kReduceFunctions] = {
    {"sum", "forward", kSumEntries},
    {"mean", "forward", kReduceEntries},
    {"amax", "forward", kReduceEntries},
    {"max", "forward", kReduceEntries},
    {"argmax", "forward", kReduceEntries},
    {"amin", "forward", kReduceEntries},
    {"min", "forward", kReduceEntries},
    {"argmin", "forward", kReduceEntries},
    {"prod", "forward", kStatisticsEntries},
    {"var", "forward", kStatisticsEntries},
    {"std", "forward", kStatisticsEntries},
    {"norm", "forward", kStatisticsEntries},
    {"logsumexp", "forward", kStatisticsEntries},
    {"any", "forward", kCountEntries},
    {"all", "forward", kCountEntries},
    {"count_nonzero", "forward", kCountEntries},
};
constexpr ImplementationList<ReduceBackwardProblem> kProdBackward{"prod", "backward", kReduceBackwardEntries};
constexpr ImplementationList<ReduceBackwardProblem> kNormBackward{"norm", "backward", kReduceBackwardEntries};
constexpr ImplementationList<MaxBackwardProblem> kMaxBackward{"max", "backward", kMaxBackwardEntries};

}  // namespace gpunn
