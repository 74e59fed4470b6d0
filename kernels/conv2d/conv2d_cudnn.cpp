// The entries that run through cuDNN, opened on first use. Which algorithm, and what becomes of bias and
// filters, is said in cudnn_convolution_cuda.cpp.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <array>
#include <mutex>

#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/conv2d/cudnn_convolution_impl.h"

namespace gpunn {
namespace {

using detail::Cudnn;
using detail::CudnnCall;
using detail::CudnnConvolutions;

const Cudnn* open_library() {
  void* handle = nullptr;
  for (const char* name : {"libcudnn.so.9", "libcudnn.so.8"})
    if (!handle) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!handle) return nullptr;
  bool complete = true;
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    complete = complete && function != nullptr;
  };
  static Cudnn l;
  find("cudnnGetErrorString", l.error_string);
  find("cudnnCreate", l.create);
  find("cudnnDestroy", l.destroy);
  find("cudnnSetStream", l.set_stream);
  find("cudnnCreateTensorDescriptor", l.tensor_create);
  find("cudnnDestroyTensorDescriptor", l.tensor_destroy);
  find("cudnnSetTensorNdDescriptor", l.tensor_set);
  find("cudnnCreateFilterDescriptor", l.filter_create);
  find("cudnnDestroyFilterDescriptor", l.filter_destroy);
  find("cudnnSetFilterNdDescriptor", l.filter_set);
  find("cudnnCreateConvolutionDescriptor", l.window_create);
  find("cudnnDestroyConvolutionDescriptor", l.window_destroy);
  find("cudnnSetConvolutionNdDescriptor", l.window_set);
  find("cudnnSetConvolutionGroupCount", l.window_set_groups);
  find("cudnnSetConvolutionMathType", l.window_set_math);
  find("cudnnCreateActivationDescriptor", l.activation_create);
  find("cudnnDestroyActivationDescriptor", l.activation_destroy);
  find("cudnnSetActivationDescriptor", l.activation_set);
  find("cudnnGetConvolutionForwardAlgorithm_v7", l.forward_algorithms);
  find("cudnnGetConvolutionBackwardDataAlgorithm_v7", l.data_algorithms);
  find("cudnnGetConvolutionBackwardFilterAlgorithm_v7", l.filter_algorithms);
  find("cudnnGetConvolutionForwardWorkspaceSize", l.forward_workspace);
  find("cudnnGetConvolutionBackwardDataWorkspaceSize", l.data_workspace);
  find("cudnnGetConvolutionBackwardFilterWorkspaceSize", l.filter_workspace);
  find("cudnnConvolutionForward", l.forward);
  find("cudnnConvolutionBiasActivationForward", l.forward_bias_activation);
  find("cudnnConvolutionBackwardData", l.backward_data);
  find("cudnnConvolutionBackwardFilter", l.backward_filter);
  find("cudnnAddTensor", l.add);
  find("cudnnActivationForward", l.activate);
  find("cudnnTransformTensor", l.transform);
  return complete ? &l : nullptr;
}

// Never closed: process exit touches no CUDA.
const Cudnn* library() {
  static const Cudnn* const opened = open_library();
  return opened;
}

/// The device of a call's pictures; the current one while it has none.
int device_of(const CudnnCall& call) {
  cudaPointerAttributes attributes{};
  if (call.x && cudaPointerGetAttributes(&attributes, call.x) == cudaSuccess &&
      attributes.type == cudaMemoryTypeDevice)
    return attributes.device;
  cudaGetLastError();
  int current = 0;
  return cudaGetDevice(&current) == cudaSuccess ? current : -1;
}

/// Makes a device current and puts the previous one back.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    if (cudaGetDevice(&previous_) == cudaSuccess && previous_ != device) cudaSetDevice(device);
  }
  ~OnDevice() { cudaSetDevice(previous_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int previous_ = 0;
};

/// Handles by device, leaked like the library. A handle belongs to a device's primary context, which outlives
/// any Runtime. The device is current.
CudnnConvolutions& convolutions_of(int device) {
  constexpr int kMostDevices = 64;
  static std::mutex mutex;
  static std::array<CudnnConvolutions*, kMostDevices> table{};
  const std::lock_guard lock(mutex);
  CudnnConvolutions*& entry = table.at(static_cast<std::size_t>(device));
  if (!entry) entry = new CudnnConvolutions(*library());
  return *entry;
}

const char* reason(const CudnnCall& call) {
  if (const char* const why = detail::cudnn_call_reason(call)) return why;
  if (!library()) return "needs libcudnn.so.9 or .8, which could not be opened";
  if (!call.x) return nullptr;  // sizes alone: the library is asked when there is memory
  const int device = device_of(call);
  if (device < 0) return "needs a GPU";
  try {
    const OnDevice on(device);
    return convolutions_of(device).accepts(call) ? nullptr : "knows no deterministic algorithm for it";
  } catch (const Error&) {
    return "failed when it was asked for an algorithm";
  }
}

std::size_t workspace(const CudnnCall& call) {
  const int device = device_of(call);
  const OnDevice on(device);
  return convolutions_of(device).workspace(call);
}

void run(const char* name, const CudnnCall& call, const Exec& exec) {
  detail::before_launch(name, {}, exec);
  convolutions_of(exec.device->index()).run(call, exec);
  detail::after_launch(exec);
}

}  // namespace

const char* conv2d_cudnn_reason(const Conv2dProblem& p) { return reason(detail::cudnn_call(p)); }
const char* conv2d_dx_cudnn_reason(const Conv2dDxProblem& p) { return reason(detail::cudnn_call(p)); }
const char* conv2d_dw_cudnn_reason(const Conv2dDwProblem& p) { return reason(detail::cudnn_call(p)); }

std::size_t conv2d_cudnn_workspace(const Conv2dProblem& p) { return workspace(detail::cudnn_call(p)); }
std::size_t conv2d_dx_cudnn_workspace(const Conv2dDxProblem& p) { return workspace(detail::cudnn_call(p)); }
std::size_t conv2d_dw_cudnn_workspace(const Conv2dDwProblem& p) { return workspace(detail::cudnn_call(p)); }

void conv2d_cudnn(const Conv2dProblem& p, const Exec& exec) {
  run("conv2d_cudnn", detail::cudnn_call(p), exec);
}
void conv2d_dx_cudnn(const Conv2dDxProblem& p, const Exec& exec) {
  run("conv2d_dx_cudnn", detail::cudnn_call(p), exec);
}
void conv2d_dw_cudnn(const Conv2dDwProblem& p, const Exec& exec) {
  run("conv2d_dw_cudnn", detail::cudnn_call(p), exec);
}

}  // namespace gpunn
