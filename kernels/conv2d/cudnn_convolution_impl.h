#pragma once
// Convolutions run through cuDNN, apart from the entries that open the library, so that tests can stand in
// for it.
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "gpunn/kernels/conv2d/cudnn_api_impl.h"

namespace gpunn::detail {

/// One of the three problems. What is written is y (forward), x (dx) or w (dw).
struct CudnnCall {
  enum class Kind : std::uint8_t { forward, dx, dw };
  Kind kind;
  DType dtype;
  Conv2dSizes sizes;
  void *x, *w, *y;
  const void* bias;  // null for none: [K] forward, [C] dx
  bool relu, tf32;
};
CudnnCall cudnn_call(const Conv2dProblem& p);
CudnnCall cudnn_call(const Conv2dDxProblem& p);
CudnnCall cudnn_call(const Conv2dDwProblem& p);

/// Why a call is none for cuDNN, whatever is installed; null when it may be.
const char* cudnn_call_reason(const CudnnCall& call);

/// Convolutions on one device. Descriptors and algorithm of a kind of problem are made once and kept.
/// Thread-safe.
class CudnnConvolutions {
 public:
  /// Creates a handle on the current device. Throws CudaError, as all that follows.
  explicit CudnnConvolutions(const Cudnn& library);
  ~CudnnConvolutions();
  CudnnConvolutions(const CudnnConvolutions&) = delete;
  CudnnConvolutions& operator=(const CudnnConvolutions&) = delete;

  /// Whether there is an algorithm that is deterministic, exact enough and content with kMostWorkspace.
  bool accepts(const CudnnCall& call);
  std::size_t workspace(const CudnnCall& call);
  /// Issues the call; `exec.workspace` is as large as workspace() says. Throws Unsupported for what accepts()
  /// refuses.
  void run(const CudnnCall& call, const Exec& exec);

 private:
  struct Plan;
  class Planner;
  using Key = std::array<std::int64_t, 17>;

  static Key key_of(const CudnnCall& call);
  void check(CudnnStatus status, const char* call) const;
  Plan& plan(const CudnnCall& call);
  void forward(Plan& plan, const CudnnCall& call, const Exec& exec);
  void dx(const Plan& plan, const CudnnCall& call, const Exec& exec);
  void dw(const Plan& plan, const CudnnCall& call, const Exec& exec);
  const void* filter(const Plan& plan, const CudnnCall& call, const Exec& exec);

  const Cudnn& library_;
  CudnnHandle handle_ = nullptr;
  std::mutex mutex_;  // a handle is one stream's at a time
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace gpunn::detail
