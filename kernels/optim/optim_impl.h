#pragma once
// Problems and entry points of the multi-tensor optimizer step.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/kernels/optim/update_settings.h"

namespace gpunn {

/// Tensors per problem. A kernel parameter block holds 4 KiB on every GPU: 70 tensors of 56 bytes fit beside
/// the settings.
inline constexpr int kUpdateTensors = 70;

/// One parameter; all buffers hold n contiguous elements and do not overlap.
struct UpdateSlot {
  void* param;               // problem's dtype; with a master written only
  const void* grad;          // problem's dtype
  void* states[kMaxStates];  // state dtype; null where the settings have none
  void* master;              // state dtype; null unless the problem has masters
  std::int64_t n;            // > 0
};

/// Passed to kernels by value.
struct UpdateProblem {
  DType dtype;           // of parameters and gradients
  bool master;           // f32 masters and states (f64 when dtype is)
  int count;             // slots in use
  const double* values;  // [kStepValues], StepValues on the device
  UpdateSettings settings;
  UpdateSlot slots[kUpdateTensors];
};

inline DType state_dtype(const UpdateProblem& p) {
  return p.master && p.dtype != DType::f64 ? DType::f32 : p.dtype;
}

inline std::int64_t numel_of(const UpdateProblem& p) {
  std::int64_t n = 0;
  for (int i = 0; i < p.count; ++i) n += p.slots[i].n;
  return n;
}

std::vector<Operand> operands(UpdateProblem& p);
Cost cost(const UpdateProblem& p);

void update_ref(const UpdateProblem& p, const Exec& exec);
void update_cpu(const UpdateProblem& p, const Exec& exec);
void update_cuda(const UpdateProblem& p, const Exec& exec);
void update_master_cuda(const UpdateProblem& p, const Exec& exec);

/// By rule: "sgd_step", "adagrad_step", ... "lion_step".
extern const ImplementationList<UpdateProblem> kUpdateStep[kUpdateRules];

// ---- gradient clipping

inline constexpr int kClipTensors = 240;          // 16 bytes each
inline constexpr std::int64_t kNormChunk = 8192;  // elements that one partial result covers

enum class NormKind : std::uint8_t { one, two, infinity, power };

struct NormSlot {
  const void* x;   // [n]
  std::int64_t n;  // > 0
};

/// partials[c] = sum of |x|^exponent (infinity: largest |x|) over chunk c; chunks count on from slot to slot.
struct NormProblem {
  DType dtype;
  NormKind kind;
  int count;
  double exponent;
  void* partials;  // [chunks], norm_dtype(dtype)
  NormSlot slots[kClipTensors];
};

inline DType norm_dtype(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

inline std::int64_t chunks_of(std::int64_t n) { return (n + kNormChunk - 1) / kNormChunk; }
inline std::int64_t chunks_of(const NormProblem& p) {
  std::int64_t chunks = 0;
  for (int i = 0; i < p.count; ++i) chunks += chunks_of(p.slots[i].n);
  return chunks;
}

/// result = {norm, min(1, max_norm / (norm + 1e-6))}, the norm from partial results in their order.
struct NormJoinProblem {
  DType dtype;  // of partials and result: f32, f64 on the CPU
  NormKind kind;
  double exponent, max_norm;
  std::int64_t n;
  const void* partials;  // [n]
  void* result;          // [2]
};

struct RescaleSlot {
  void* x;         // [n]
  std::int64_t n;  // > 0
};

/// x *= *scale, or x clamped to [-bound, bound] where `clamps`.
struct RescaleProblem {
  DType dtype;
  bool clamps;
  int count;
  double bound;
  const void* scale;  // one element of norm_dtype(dtype); null where clamps
  RescaleSlot slots[kClipTensors];
};

template <class P>
inline std::int64_t clip_elements(const P& p) {
  std::int64_t n = 0;
  for (int i = 0; i < p.count; ++i) n += p.slots[i].n;
  return n;
}

std::vector<Operand> operands(NormProblem& p);
std::vector<Operand> operands(NormJoinProblem& p);
std::vector<Operand> operands(RescaleProblem& p);
Cost cost(const NormProblem& p);
Cost cost(const NormJoinProblem& p);
Cost cost(const RescaleProblem& p);

void norm_partials_ref(const NormProblem& p, const Exec& exec);
void norm_partials_cpu(const NormProblem& p, const Exec& exec);
void norm_partials_cuda(const NormProblem& p, const Exec& exec);
void norm_join_ref(const NormJoinProblem& p, const Exec& exec);
void norm_join_cuda(const NormJoinProblem& p, const Exec& exec);
void rescale_ref(const RescaleProblem& p, const Exec& exec);
void rescale_cpu(const RescaleProblem& p, const Exec& exec);
void rescale_cuda(const RescaleProblem& p, const Exec& exec);

extern const ImplementationList<NormProblem> kNormPartials;
extern const ImplementationList<NormJoinProblem> kNormJoin;
extern const ImplementationList<RescaleProblem> kRescale;

}  // namespace gpunn
