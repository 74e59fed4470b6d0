// The entries that run through cuDNN, opened on first use. What is asked of it is said in
// cudnn_attention_cuda.cpp.
#include <string>

#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/attention/cudnn_attention_impl.h"
#include "gpunn/kernels/common/cudnn_device_impl.h"

namespace gpunn {
namespace {

using detail::CudnnAttention;
using detail::CudnnAttentionCall;
using detail::CudnnGraphs;
using detail::device_of;
using detail::OnDevice;

const CudnnGraphs* open_library() {
  if (!detail::cudnn_library()) return nullptr;
  bool complete = true;
  const auto find = [&](const char* name, auto& function) {
    complete = detail::find_cudnn(name, function) && complete;
  };
  static CudnnGraphs l;
  find("cudnnGetErrorString", l.error_string);
  find("cudnnGetVersion", l.version);
  find("cudnnCreate", l.create);
  find("cudnnDestroy", l.destroy);
  find("cudnnSetStream", l.set_stream);
  find("cudnnBackendCreateDescriptor", l.descriptor_create);
  find("cudnnBackendDestroyDescriptor", l.descriptor_destroy);
  find("cudnnBackendFinalize", l.finalize);
  find("cudnnBackendSetAttribute", l.set);
  find("cudnnBackendGetAttribute", l.get);
  find("cudnnBackendExecute", l.execute);
  return complete ? &l : nullptr;
}

const CudnnGraphs* library() {
  static const CudnnGraphs* const opened = open_library();
  return opened;
}

/// The device is current.
CudnnAttention& attention_of(int device) {
  static detail::PerDevice<CudnnAttention> all;
  return all.get(device, [] { return new CudnnAttention(*library()); });
}

/// 0: unknown.
int capability_of(int device) {
  int major = 0, minor = 0;
  const bool known =
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess;
  return known ? 10 * major + minor : 0;
}

/// Where choices are forced or checked the whole list is asked about every problem, and planning one takes a
/// second: then only GPUNN_IMPL=attention=cudnn is worth it.
bool is_worth_a_plan() {
  const RuntimeOptions& o = Runtime::current().options();
  if (o.deterministic && !o.shadow && o.forced.empty()) return true;
  return ("," + o.forced + ",").find(",attention=cudnn,") != std::string::npos;
}

const char* reason(const CudnnAttentionCall& call) {
  if (const char* const why = detail::cudnn_attention_reason(call)) return why;
  if (!is_worth_a_plan()) return "takes GPUNN_IMPL=attention=cudnn among other settings";
  if (!library()) return "needs libcudnn.so.9, which could not be opened";
  const int device = device_of(call.q.data);
  if (device < 0) return "needs a GPU";
  if (const char* const why =
          detail::cudnn_attention_reason(call, library()->version(), capability_of(device)))
    return why;
  if (!call.q.data) return nullptr;  // sizes alone: the library is asked when there is memory
  try {
    const OnDevice on(device);
    return attention_of(device).refusal(call);
  } catch (const Error&) {
    return "failed when it was opened on the GPU";
  }
}

std::size_t workspace(const CudnnAttentionCall& call) {
  const int device = device_of(call.q.data);
  const OnDevice on(device);
  return attention_of(device).workspace(call);
}

void run(const char* name, const CudnnAttentionCall& call, const Exec& exec) {
  detail::before_launch(name, {}, exec);
  attention_of(exec.device->index()).run(call, exec);
  detail::after_launch(exec);
}

}  // namespace

const char* attention_fwd_cudnn_reason(const AttentionProblem& p) {
  return reason(detail::cudnn_attention_call(p));
}
const char* attention_bwd_cudnn_reason(const AttentionBackwardProblem& p) {
  return reason(detail::cudnn_attention_call(p));
}
std::size_t attention_fwd_cudnn_workspace(const AttentionProblem& p) {
  return workspace(detail::cudnn_attention_call(p));
}
std::size_t attention_bwd_cudnn_workspace(const AttentionBackwardProblem& p) {
  return workspace(detail::cudnn_attention_call(p));
}
void attention_fwd_cudnn(const AttentionProblem& p, const Exec& exec) {
  run("attention_fwd_cudnn", detail::cudnn_attention_call(p), exec);
}
void attention_bwd_cudnn(const AttentionBackwardProblem& p, const Exec& exec) {
  run("attention_bwd_cudnn", detail::cudnn_attention_call(p), exec);
}

}  // namespace gpunn
