#pragma once
// Recurrent layers run through cuDNN, apart from the entries that open the library, so that tests can stand
// in for it and for the device's memory.
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "gpunn/kernels/rnn/cudnn_rnn_api_impl.h"
#include "gpunn/kernels/rnn/rnn_layer_impl.h"

namespace gpunn::detail {

/// What a layer is described by, the same for both directions.
struct CudnnLayer {
  DType dtype;
  RnnSizes sizes;
  std::int64_t K;
  const std::int64_t* host_first_row;
  bool bias, tf32;
};
template <class P>
CudnnLayer cudnn_layer(const P& p) {
  return {p.dtype, p.sizes, p.K, p.host_first_row, p.b_ih != nullptr, p.tf32};
}

/// Why a layer is none for cuDNN, whatever is installed; null when it may be.
const char* cudnn_layer_reason(const CudnnLayer& layer);

/// The device's memory, in the order of a stream.
struct CudnnMemory {
  void (*copy)(void* to, const void* from, std::size_t bytes, void* stream);
  void (*zero)(void* to, std::size_t bytes, void* stream);
};

/// Layers on one device. What does not depend on the sequences is described once and kept. Thread-safe.
class CudnnRecurrence {
 public:
  /// Creates a handle on the current device. Throws CudaError, as all that follows.
  CudnnRecurrence(const CudnnRecurrent& library, const CudnnMemory& memory);
  ~CudnnRecurrence();
  CudnnRecurrence(const CudnnRecurrence&) = delete;
  CudnnRecurrence& operator=(const CudnnRecurrence&) = delete;

  /// Whether the library takes layer and sequences.
  bool accepts(const CudnnLayer& layer);
  std::size_t kept(const CudnnLayer& layer);
  std::size_t forward_workspace(const CudnnLayer& layer, bool keep);
  std::size_t backward_workspace(const CudnnLayer& layer);
  /// Issues the layer; `exec.workspace` is as large as the above say.
  void forward(const RnnLayerForwardProblem& p, const Exec& exec);
  void backward(const RnnLayerBackwardProblem& p, const Exec& exec);

 private:
  struct Plan;
  class Sequences;
  using Key = std::tuple<RnnMode, DType, bool, bool, std::int64_t, std::int64_t>;

  void check(CudnnStatus status, const char* call) const;
  Plan& plan(const CudnnLayer& layer);
  void describe(Plan& plan, const CudnnLayer& layer) const;
  void place_weights(Plan& plan, const CudnnLayer& layer, char* weights) const;
  template <class P>
  void give_weights(Plan& plan, const P& p, char* weights, const Exec& exec) const;
  void take_gradients(const Plan& plan, const RnnLayerBackwardProblem& p, const char* dweights,
                      const Exec& exec) const;

  const CudnnRecurrent& library_;
  CudnnMemory memory_;
  CudnnHandle handle_ = nullptr;
  std::mutex mutex_;  // a handle is one stream's at a time
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace gpunn::detail
