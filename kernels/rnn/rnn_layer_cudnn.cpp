// The entries that run through cuDNN, opened on first use. How a layer is described to it is said in
// cudnn_recurrence_cuda.cpp.
#include <cstdint>

#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/common/cudnn_device_impl.h"
#include "gpunn/kernels/rnn/cudnn_recurrence_impl.h"

namespace gpunn {
namespace {

using detail::cudnn_layer;
using detail::CudnnRecurrence;
using detail::CudnnRecurrent;
using detail::device_of;
using detail::OnDevice;

const CudnnRecurrent* open_library() {
  if (!detail::cudnn_library()) return nullptr;
  bool complete = true;
  const auto find = [&](const char* name, auto& function) {
    complete = detail::find_cudnn(name, function) && complete;
  };
  static CudnnRecurrent l;
  find("cudnnGetErrorString", l.error_string);
  find("cudnnGetVersion", l.version);
  find("cudnnCreate", l.create);
  find("cudnnDestroy", l.destroy);
  find("cudnnSetStream", l.set_stream);
  find("cudnnCreateTensorDescriptor", l.tensor_create);
  find("cudnnDestroyTensorDescriptor", l.tensor_destroy);
  find("cudnnSetTensorNdDescriptor", l.tensor_set);
  find("cudnnGetTensorNdDescriptor", l.tensor_get);
  find("cudnnCreateDropoutDescriptor", l.dropout_create);
  find("cudnnDestroyDropoutDescriptor", l.dropout_destroy);
  find("cudnnSetDropoutDescriptor", l.dropout_set);
  find("cudnnCreateRNNDescriptor", l.rnn_create);
  find("cudnnDestroyRNNDescriptor", l.rnn_destroy);
  find("cudnnSetRNNDescriptor_v8", l.rnn_set);
  find("cudnnCreateRNNDataDescriptor", l.sequence_create);
  find("cudnnDestroyRNNDataDescriptor", l.sequence_destroy);
  find("cudnnSetRNNDataDescriptor", l.sequence_set);
  find("cudnnGetRNNTempSpaceSizes", l.temp_sizes);
  find("cudnnGetRNNWeightSpaceSize", l.weights_size);
  find("cudnnGetRNNWeightParams", l.weight_place);
  find("cudnnRNNForward", l.forward);
  find("cudnnRNNBackwardData_v8", l.backward_data);
  find("cudnnRNNBackwardWeights_v8", l.backward_weights);
  return complete && l.version() >= detail::kCudnnLeastRnnVersion ? &l : nullptr;
}

const CudnnRecurrent* library() {
  static const CudnnRecurrent* const opened = open_library();
  return opened;
}

void copy(void* to, const void* from, std::size_t bytes, void* stream) {
  GPUNN_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)));
}
void zero(void* to, std::size_t bytes, void* stream) {
  GPUNN_CUDA(cudaMemsetAsync(to, 0, bytes, static_cast<cudaStream_t>(stream)));
}

/// The device is current.
CudnnRecurrence& recurrence_of(int device) {
  static detail::PerDevice<CudnnRecurrence> all;
  return all.get(device, [] { return new CudnnRecurrence(*library(), {copy, zero}); });
}

/// What the library is handed as it is; parameters are copied.
bool is_aligned(std::initializer_list<const void*> pointers) {
  std::uintptr_t together = 0;
  for (const void* p : pointers) together |= reinterpret_cast<std::uintptr_t>(p);
  return together % 16 == 0;
}

template <class P>
const char* reason(const P& p, bool aligned) {
  const detail::CudnnLayer layer = cudnn_layer(p);
  if (const char* const why = detail::cudnn_layer_reason(layer)) return why;
  if (!aligned) return "takes tensors aligned to 16 bytes";
  if (!library()) return "needs libcudnn.so.9, or .8 from 8.9.7 on, which could not be opened";
  const int device = device_of(p.x);
  if (device < 0) return "needs a GPU";
  try {
    const OnDevice on(device);
    return recurrence_of(device).accepts(layer) ? nullptr : "has no such layer";
  } catch (const Error&) {
    return "failed when it was asked for its sizes";
  }
}

}  // namespace

const char* rnn_layer_fwd_cudnn_reason(const RnnLayerForwardProblem& p) {
  if (p.gates) return "shows no gates";
  return reason(p, is_aligned({p.x, p.h0, p.c0, p.y, p.hn, p.cn}));
}
const char* rnn_layer_bwd_cudnn_reason(const RnnLayerBackwardProblem& p) {
  return reason(p, is_aligned({p.x, p.h0, p.c0, p.y, p.dy, p.dhn, p.dcn, p.dx, p.dh0, p.dc0}));
}

std::size_t rnn_layer_fwd_cudnn_workspace(const RnnLayerForwardProblem& p) {
  const int device = device_of(p.x);
  const OnDevice on(device);
  return recurrence_of(device).forward_workspace(cudnn_layer(p), p.keep);
}
std::size_t rnn_layer_bwd_cudnn_workspace(const RnnLayerBackwardProblem& p) {
  const int device = device_of(p.x);
  const OnDevice on(device);
  return recurrence_of(device).backward_workspace(cudnn_layer(p));
}
std::size_t rnn_layer_cudnn_kept(const RnnLayerForwardProblem& p) {
  const int device = device_of(p.x);
  const OnDevice on(device);
  return recurrence_of(device).kept(cudnn_layer(p));
}

void rnn_layer_fwd_cudnn(const RnnLayerForwardProblem& p, const Exec& exec) {
  detail::before_launch("rnn_layer_fwd_cudnn", {}, exec);
  recurrence_of(exec.device->index()).forward(p, exec);
  detail::after_launch(exec);
}
void rnn_layer_bwd_cudnn(const RnnLayerBackwardProblem& p, const Exec& exec) {
  detail::before_launch("rnn_layer_bwd_cudnn", {}, exec);
  recurrence_of(exec.device->index()).backward(p, exec);
  detail::after_launch(exec);
}

}  // namespace gpunn
