#pragma once
// Problems and entry points of the running sums and products.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn {

class TuningKey;

enum class ScanFunction : std::uint8_t { sum, prod };
inline constexpr int kScanFunctions = 2;

struct ScanProblem {
  DType dtype;  // of x
  ScanFunction function;
  bool reverse;   // from the last element to the first
  const void* x;  // [outer, length, inner]
  void* y;        // likewise, value_dtype(); may be x when that is its dtype
  std::int64_t outer, length, inner;
};

/// Sums of integers are i64.
inline DType value_dtype(const ScanProblem& p) { return is_floating(p.dtype) ? p.dtype : DType::i64; }

/// dx[k] = y[k-1] R[k] with R[k] = dy[k] + x[k+1] R[k+1], y = cumprod(x), y[-1] = 1
struct CumprodBackwardProblem {
  DType dtype;
  const void* x;  // [outer, length, inner], as all of them
  const void* y;
  const void* dy;
  void* dx;
  std::int64_t outer, length, inner;
};

std::vector<Operand> operands(ScanProblem& p);
std::vector<Operand> operands(CumprodBackwardProblem& p);
Cost cost(const ScanProblem& p);
Cost cost(const CumprodBackwardProblem& p);
/// What the speed of a scan depends on, for Tuned.
void describe(const ScanProblem& p, TuningKey& key);

void scan_ref(const ScanProblem& p, const Exec& exec);
void scan_cpu(const ScanProblem& p, const Exec& exec);
void scan_cuda(const ScanProblem& p, const Exec& exec);
std::size_t scan_cpu_workspace(const ScanProblem& p);
std::size_t scan_cuda_workspace(const ScanProblem& p);
// By CUB, in builds with nvcc only.
void scan_cub(const ScanProblem& p, const Exec& exec);
std::size_t scan_cub_workspace(const ScanProblem& p);
void cumprod_bwd_ref(const CumprodBackwardProblem& p, const Exec& exec);
void cumprod_bwd_cuda(const CumprodBackwardProblem& p, const Exec& exec);
std::size_t cumprod_bwd_cuda_workspace(const CumprodBackwardProblem& p);

/// One list per function, indexed by it; they share their entries but for the vendor's.
extern const ImplementationList<ScanProblem> kScan[kScanFunctions];
extern const ImplementationList<CumprodBackwardProblem> kCumprodBackward;

}  // namespace gpunn
