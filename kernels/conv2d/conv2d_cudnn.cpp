// The entries that run through cuDNN, opened on first use. Which algorithm, and what becomes of bias and
// filters, is said in cudnn_convolution_cuda.cpp.
#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/common/cudnn_device_impl.h"
#include "gpunn/kernels/conv2d/cudnn_convolution_impl.h"

namespace gpunn {
namespace {

using detail::Cudnn;
using detail::CudnnCall;
using detail::CudnnConvolutions;
using detail::device_of;
using detail::OnDevice;

const Cudnn* open_library() {
  if (!detail::cudnn_library()) return nullptr;
  bool complete = true;
  const auto find = [&](const char* name, auto& function) {
    complete = detail::find_cudnn(name, function) && complete;
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

const Cudnn* library() {
  static const Cudnn* const opened = open_library();
  return opened;
}

/// The device is current.
CudnnConvolutions& convolutions_of(int device) {
  static detail::PerDevice<CudnnConvolutions> all;
  return all.get(device, [] { return new CudnnConvolutions(*library()); });
}

const char* reason(const CudnnCall& call) {
  if (const char* const why = detail::cudnn_call_reason(call)) return why;
  if (!library()) return "needs libcudnn.so.9 or .8, which could not be opened";
  if (!call.x) return nullptr;  // sizes alone: the library is asked when there is memory
  const int device = device_of(call.x);
  if (device < 0) return "needs a GPU";
  try {
    const OnDevice on(device);
    return convolutions_of(device).accepts(call) ? nullptr : "knows no deterministic algorithm for it";
  } catch (const Error&) {
    return "failed when it was asked for an algorithm";
  }
}

std::size_t workspace(const CudnnCall& call) {
  const int device = device_of(call.x);
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
