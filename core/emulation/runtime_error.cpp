// Error codes, sticky errors, failure injection, counters.

#include <cuda_runtime_api.h>

#include <algorithm>

#include "gpunn/core/emulation/runtime.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

// Names and texts are CUDA's, so that messages read the same on a GPU.
struct ErrorText {
  cudaError_t code;
  const char* name;
  const char* text;
};
#define GPUNN_EMU_ERROR(name, text) {name, #name, text}
constexpr ErrorText kErrors[] = {
    GPUNN_EMU_ERROR(cudaSuccess, "no error"),
    GPUNN_EMU_ERROR(cudaErrorInvalidValue, "invalid argument"),
    GPUNN_EMU_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    GPUNN_EMU_ERROR(cudaErrorInitializationError, "initialization error"),
    GPUNN_EMU_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    GPUNN_EMU_ERROR(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    GPUNN_EMU_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    GPUNN_EMU_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    GPUNN_EMU_ERROR(cudaErrorInsufficientDriver, "driver version is insufficient for runtime version"),
    GPUNN_EMU_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    GPUNN_EMU_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    GPUNN_EMU_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    GPUNN_EMU_ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for this device"),
    GPUNN_EMU_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    GPUNN_EMU_ERROR(cudaErrorNotReady, "device not ready"),
    GPUNN_EMU_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    GPUNN_EMU_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    GPUNN_EMU_ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    GPUNN_EMU_ERROR(cudaErrorAssert, "device-side assert triggered"),
    GPUNN_EMU_ERROR(cudaErrorHardwareStackError, "hardware stack error"),
    GPUNN_EMU_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    GPUNN_EMU_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    GPUNN_EMU_ERROR(cudaErrorInvalidAddressSpace, "operation not supported on global/shared address space"),
    GPUNN_EMU_ERROR(cudaErrorInvalidPc, "invalid program counter"),
    GPUNN_EMU_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    GPUNN_EMU_ERROR(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    GPUNN_EMU_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    GPUNN_EMU_ERROR(cudaErrorNotSupported, "operation not supported"),
    GPUNN_EMU_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef GPUNN_EMU_ERROR

const ErrorText* find_text(cudaError_t code) {
  for (const ErrorText& error : kErrors)
    if (error.code == code) return &error;
  return nullptr;
}

// The code of the injection that is due now for a call of this kind.
cudaError_t injected(Call kind) {
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  cudaError_t due = cudaSuccess;
  std::erase_if(s.injections, [&](State::Injection& injection) {
    if ((injection.kind != kind && injection.kind != Call::any) || --injection.left > 0) return false;
    due = injection.code;
    return true;
  });
  return due;
}

}  // namespace

// Set while a stream runs a cudaLaunchHostFunc function.
thread_local bool in_host_function = false;

State& state() {
  static State* instance = [] {
    const TsanQuiet quiet;
    auto* s = new State;
    s->device_count = static_cast<int>(environment_number("GPUNN_EMU_DEVICES", 0, kMaxDevices, 1));
    s->memory_bytes = static_cast<std::size_t>(environment_number("GPUNN_EMU_MEMORY_MB", 1, 1 << 24, 8192))
                      << 20;
    return s;
  }();
  return *instance;
}

bool is_sticky(cudaError_t error) {
  return error == cudaErrorIllegalAddress || error == cudaErrorLaunchTimeout ||
         (error >= cudaErrorAssert && error <= cudaErrorLaunchFailure);
}

void set_sticky(int device, cudaError_t error) {
  state().devices[static_cast<std::size_t>(device)].sticky = error;
}

cudaError_t sticky_error(int device) {
  return static_cast<cudaError_t>(state().devices[static_cast<std::size_t>(device)].sticky.load());
}

// Any call may return an error that an earlier kernel left, as in CUDA.
cudaError_t finish(cudaError_t error) {
  if (error == cudaSuccess) error = sticky_error(current_device());
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t begin() {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  if (state().device_count == 0) return finish(cudaErrorNoDevice);
  return finish(cudaSuccess);
}

cudaError_t begin(Call kind) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  const cudaError_t failure = injected(kind);
  if (is_sticky(failure)) set_sticky(current_device(), failure);
  return failure == cudaSuccess ? cudaSuccess : finish(failure);
}

void fail_at(Call kind, long n, cudaError code) {
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.injections.push_back({kind, n, code});
}

void reset_device() {
  State& s = state();
  // First the work: what is still queued could fail and set the error again.
  for (int device = 0; device < s.device_count; ++device) synchronize_device(device);
  for (Device& device : s.devices) device.sticky = cudaSuccess;
  last_error = cudaSuccess;
  publish_report("");
  const TsanQuiet quiet;
  const std::lock_guard lock(s.mutex);
  s.injections.clear();
}

Stats stats() {
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  Stats result{};
  result.launches = s.launches;
  result.copies = s.copies;
  for (const auto& [address, allocation] : s.allocations) {
    (allocation.host ? result.host_allocations_live : result.allocations_live) += 1;
    if (!allocation.host) result.bytes_live += allocation.bytes;
  }
  result.streams_live = s.streams.size();
  result.events_live = s.events.size();
  result.failures_pending = s.injections.size();
  return result;
}

}  // namespace gpunn::emu

using gpunn::emu::current_device;
using gpunn::emu::last_error;
using gpunn::emu::sticky_error;

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  const cudaError_t sticky = sticky_error(current_device());
  return sticky != cudaSuccess ? sticky : last_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  const auto* text = gpunn::emu::find_text(error);
  return text != nullptr ? text->name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  const auto* text = gpunn::emu::find_text(error);
  return text != nullptr ? text->text : "unrecognized error code";
}
