// Norms of many tensors together, and what clipping does with them. The sum of the powers is made of fixed
// chunks in a fixed order; norm and factor stay on the device.
#include <algorithm>
#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/optim/optim.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn {

std::vector<Operand> operands(NormProblem& p) {
  std::vector<Operand> list;
  for (int t = 0; t < p.count; ++t)
    list.push_back({"x", const_cast<void**>(&p.slots[t].x), p.dtype, p.slots[t].n, Role::in});
  list.push_back({"partials", &p.partials, norm_dtype(p.dtype), chunks_of(p), Role::out});
  return list;
}
std::vector<Operand> operands(NormJoinProblem& p) {
  return {{"partials", const_cast<void**>(&p.partials), p.dtype, p.n, Role::in},
          {"result", &p.result, p.dtype, 2, Role::out}};
}
std::vector<Operand> operands(RescaleProblem& p) {
  std::vector<Operand> list;
  for (int t = 0; t < p.count; ++t) list.push_back({"x", &p.slots[t].x, p.dtype, p.slots[t].n, Role::inout});
  list.push_back({"scale", const_cast<void**>(&p.scale), norm_dtype(p.dtype), p.clamps ? 0 : 1, Role::in});
  return list;
}

Cost cost(const NormProblem& p) {
  const auto n = static_cast<double>(clip_elements(p));
  return {n * static_cast<double>(size_of(p.dtype)), 2 * n};
}
Cost cost(const NormJoinProblem& p) {
  const auto n = static_cast<double>(p.n);
  return {n * static_cast<double>(size_of(p.dtype)), n};
}
Cost cost(const RescaleProblem& p) {
  const auto n = static_cast<double>(clip_elements(p));
  return {2 * n * static_cast<double>(size_of(p.dtype)), p.clamps ? 2 * n : n};
}

namespace {

const char* norm_cpu_accepts(const NormProblem& p) {
  const bool ok = p.dtype == DType::f32 && p.kind != NormKind::power;
  return ok ? nullptr : "takes f32 and norms 1, 2 and infinity";
}
const char* rescale_cpu_accepts(const RescaleProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}
#if GPUNN_HAS_CUDA
const char* norm_cuda_accepts(const NormProblem& p) { return device_dtype_reason(p.dtype); }
const char* join_cuda_accepts(const NormJoinProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}
const char* rescale_cuda_accepts(const RescaleProblem& p) { return device_dtype_reason(p.dtype); }
#endif

constexpr Implementation<NormProblem> kNormEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, norm_cuda_accepts, nullptr, Determinism::bitwise, norm_partials_cuda},
#endif
    {"cpu", DeviceType::cpu, norm_cpu_accepts, nullptr, Determinism::bitwise, norm_partials_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, norm_partials_ref},
};
// A few numbers: the reference is fast enough for the CPU.
constexpr Implementation<NormJoinProblem> kJoinEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, join_cuda_accepts, nullptr, Determinism::bitwise, norm_join_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, norm_join_ref},
};
constexpr Implementation<RescaleProblem> kRescaleEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, rescale_cuda_accepts, nullptr, Determinism::bitwise, rescale_cuda},
#endif
    {"cpu", DeviceType::cpu, rescale_cpu_accepts, nullptr, Determinism::bitwise, rescale_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rescale_ref},
};

}  // namespace

constexpr ImplementationList<NormProblem> kNormPartials{"total_norm", "partials", kNormEntries};
constexpr ImplementationList<NormJoinProblem> kNormJoin{"total_norm", "join", kJoinEntries};
constexpr ImplementationList<RescaleProblem> kRescale{"rescale", "forward", kRescaleEntries};

namespace {

void check_tensors(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors) {
    check_floating(t, "tensors");
    const Tensor& first = tensors.front();
    GPUNN_CHECK(&t.context() == &first.context(), "expected tensors on one device, got ", first.device(),
                " and ", t.device(), "; move them with .to()");
    GPUNN_CHECK((t.dtype() == DType::f64) == (first.dtype() == DType::f64),
                "expected all tensors or none of f64, got ", first.dtype(), " and ", t.dtype(),
                "; convert them with .to()");
  }
}

NormKind kind_of(double norm_type) {
  GPUNN_CHECK(norm_type > 0, "expected norm_type > 0, got ", norm_type);
  if (norm_type == 1) return NormKind::one;
  if (norm_type == 2) return NormKind::two;
  return std::isinf(norm_type) ? NormKind::infinity : NormKind::power;
}

/// {norm, factor} on the device of `tensors` (contiguous, at least one with elements).
Tensor norm_and_factor(std::span<const Tensor> tensors, double max_norm, double norm_type) {
  std::int64_t chunks = 0;
  for (const Tensor& t : tensors) chunks += chunks_of(t.numel());
  DeviceContext& context = tensors.front().context();
  const DType dtype = norm_dtype(tensors.front().dtype());
  const Tensor partials = empty_on(context, {chunks}, dtype), result = empty_on(context, {2}, dtype);
  NormProblem p;
  p.kind = kind_of(norm_type);
  p.exponent = norm_type;
  p.count = 0;
  p.partials = partials.data();
  std::vector<Storage*> reads;
  Storage* const written[] = {&partials.storage()};
  const auto flush = [&] {
    if (p.count == 0) return;
    const std::int64_t done = chunks_of(p);
    execute(kNormPartials, p, context, reads, written);
    p.partials = static_cast<char*>(p.partials) + done * static_cast<std::int64_t>(size_of(dtype));
    p.count = 0;
    reads.clear();
  };
  for (const Tensor& t : tensors) {
    if (t.numel() == 0) continue;
    if (p.count == kClipTensors || (p.count > 0 && p.dtype != t.dtype())) flush();
    p.dtype = t.dtype();
    p.slots[p.count++] = {t.data(), t.numel()};
    reads.push_back(&t.storage());
  }
  flush();
  NormJoinProblem join{dtype, p.kind, norm_type, max_norm, chunks, partials.data(), result.data()};
  execute(kNormJoin, join, {&partials}, {&result});
  return result;
}

/// Multiplies by the scale, or clamps where it is undefined.
void rescale(std::span<const Tensor> tensors, const Tensor& scale, double bound) {
  RescaleProblem p;
  p.clamps = !scale.defined();
  p.bound = bound;
  p.scale = p.clamps ? nullptr : scale.data();
  p.count = 0;
  std::vector<Storage*> reads, writes;
  DeviceContext& context = tensors.front().context();
  const auto flush = [&] {
    if (p.count == 0) return;
    if (!p.clamps) reads.push_back(&scale.storage());
    execute(kRescale, p, context, reads, writes);
    p.count = 0;
    reads.clear();
    writes.clear();
  };
  for (const Tensor& t : tensors) {
    if (t.numel() == 0) continue;
    if (p.count == kClipTensors || (p.count > 0 && p.dtype != t.dtype())) flush();
    p.dtype = t.dtype();
    p.slots[p.count++] = {t.data(), t.numel()};
    writes.push_back(&t.storage());
  }
  flush();
}

std::vector<Tensor> contiguous(std::span<const Tensor> tensors) {
  std::vector<Tensor> list;
  for (const Tensor& t : tensors) list.push_back(t.detach().contiguous());
  return list;
}

/// Puts back what contiguous() had to copy.
void copy_back(std::span<const Tensor> changed, std::span<const Tensor> tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (!tensors[i].is_contiguous()) tensors[i].copy_(changed[i]);
}

bool without_elements(std::span<const Tensor> tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.numel() == 0; });
}

Tensor zero_norm(std::span<const Tensor> tensors) {
  if (tensors.empty()) return zeros({});
  return zeros({}, {.dtype = norm_dtype(tensors.front().dtype()), .device = tensors.front().device()});
}

}  // namespace

Tensor total_norm(std::span<const Tensor> tensors, double norm_type) {
  OpScope scope("total_norm");
  NoGrad guard;
  check_tensors(tensors);
  kind_of(norm_type);
  if (without_elements(tensors)) return zero_norm(tensors);
  return norm_and_factor(contiguous(tensors), 1, norm_type).select(0, 0);
}

Tensor clip_norm_(std::span<const Tensor> tensors, double max_norm, double norm_type,
                  bool error_if_nonfinite) {
  OpScope scope("clip_norm_");
  NoGrad guard;
  check_tensors(tensors);
  kind_of(norm_type);
  GPUNN_CHECK(max_norm >= 0, "expected max_norm >= 0, got ", max_norm);
  if (without_elements(tensors)) return zero_norm(tensors);
  const std::vector<Tensor> list = contiguous(tensors);
  const Tensor result = norm_and_factor(list, max_norm, norm_type);
  const Tensor norm = result.select(0, 0);
  if (error_if_nonfinite)
    GPUNN_CHECK(std::isfinite(norm.item()), "expected gradients with a finite norm of order ", norm_type,
                ", got ", norm.item());
  rescale(list, result.select(0, 1), 0);
  copy_back(list, tensors);
  return norm;
}

void clip_value_(std::span<const Tensor> tensors, double clip_value) {
  OpScope scope("clip_value_");
  NoGrad guard;
  check_tensors(tensors);
  GPUNN_CHECK(clip_value >= 0, "expected clip_value >= 0, got ", clip_value);
  if (without_elements(tensors)) return;
  const std::vector<Tensor> list = contiguous(tensors);
  rescale(list, {}, clip_value);
  copy_back(list, tensors);
}

}  // namespace gpunn
