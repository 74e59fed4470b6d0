#pragma once
// Attention run through cuDNN, apart from the entries that open the library, so that tests can stand in for
// it.
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/attention/cudnn_graph_impl.h"

namespace gpunn::detail {

/// A tensor of heads; `layout` in elements.
struct CudnnHeads {
  void* data;
  AttentionLayout layout;
};

/// One of the two problems.
struct CudnnAttentionCall {
  bool is_backward;
  DType dtype;
  AttentionSizes sizes;
  bool causal;
  std::int64_t shift;   // position of query 0 among the keys
  std::int64_t window;  // 0: none that hides anything
  bool other_rules;     // what has no place here: masks, lengths, packed rows, pages, slopes, dropout
  double scale;
  CudnnHeads q, k, v, y;
  CudnnHeads dy, dq, dk, dv;  // backward
  void* lse;                  // f32 [B, Hq, Tq]; forward: may be null
};
CudnnAttentionCall cudnn_attention_call(const AttentionProblem& p);
CudnnAttentionCall cudnn_attention_call(const AttentionBackwardProblem& p);

/// cudnnGetVersion() of the first version that is asked: 9.10.0 and 9.10.1 compute attention wrongly, and
/// what is older wants other graphs.
inline constexpr std::size_t kCudnnLeastAttentionVersion = 91002;

/// Why a call is none for cuDNN, whatever is installed; null when it may be.
const char* cudnn_attention_reason(const CudnnAttentionCall& call);
/// Why one is none for that version on a GPU of that compute capability (90: 9.0).
const char* cudnn_attention_reason(const CudnnAttentionCall& call, std::size_t version, int capability);

/// Attention on one device. The plan of a kind of problem is made once and kept for good: kernels of it may
/// still run when another takes its place. Thread-safe.
class CudnnAttention {
 public:
  static constexpr std::size_t kMostPlans = 512;
  static constexpr std::size_t kMostWorkspace = std::size_t{1} << 30;  // of the library

  /// Creates a handle on the current device. Throws CudaError.
  explicit CudnnAttention(const CudnnGraphs& library);
  ~CudnnAttention();
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  /// Null when there is a plan, else why there is none. The text lives as long as this.
  const char* refusal(const CudnnAttentionCall& call);
  std::size_t workspace(const CudnnAttentionCall& call);
  /// Issues the call; `exec.workspace` is as large as workspace() says. Throws Unsupported for what refusal()
  /// refuses, CudaError when the library fails.
  void run(const CudnnAttentionCall& call, const Exec& exec);

 private:
  struct Kept;
  using Key = std::vector<std::int64_t>;

  static Key key_of(const CudnnAttentionCall& call);
  const Kept& kept(const CudnnAttentionCall& call);

  const CudnnGraphs& library_;
  CudnnHandle handle_ = nullptr;
  std::mutex mutex_;  // a handle is one stream's at a time
  std::map<Key, std::unique_ptr<const Kept>> plans_;
};

}  // namespace gpunn::detail
