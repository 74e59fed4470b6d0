// Emulated devices and their properties.

#include <algorithm>
#include <cstdio>

#include "gpunn/core/emulation/runtime.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

constexpr int kMultiprocessors = 4;  // few, so that grids sized by it stay small
constexpr int kVersion = CUDART_VERSION;
constexpr int kL2Bytes = 50 << 20, kThreadsPerMultiprocessor = 2048;
constexpr int kBlocksPerMultiprocessor = 32;
constexpr std::size_t kSharedPerMultiprocessor = 228 << 10, kSharedOfSystem = 1 << 10;  // of each block

thread_local int chosen_device = 0;

bool exists(int device) { return device >= 0 && device < state().device_count; }

}  // namespace

int current_device() { return chosen_device; }

int blocks_per_multiprocessor(unsigned threads, std::size_t shared_bytes) {
  const int by_threads = kThreadsPerMultiprocessor / static_cast<int>((threads + 31) / 32 * 32);
  const auto by_shared = static_cast<int>(kSharedPerMultiprocessor / (shared_bytes + kSharedOfSystem));
  return std::min({kBlocksPerMultiprocessor, by_threads, by_shared});
}

std::uint64_t coresident_limit(unsigned threads, std::size_t shared_bytes) {
  return static_cast<std::uint64_t>(kMultiprocessors * blocks_per_multiprocessor(threads, shared_bytes));
}

}  // namespace gpunn::emu

using namespace gpunn::emu;

cudaError_t cudaGetDeviceCount(int* count) {
  if (count == nullptr) return finish(cudaErrorInvalidValue);
  *count = state().device_count;
  return *count == 0 ? finish(cudaErrorNoDevice) : cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (!exists(device)) return finish(cudaErrorInvalidDevice);
  chosen_device = device;
  return finish(cudaSuccess);
}

cudaError_t cudaGetDevice(int* device) {
  if (device == nullptr) return finish(cudaErrorInvalidValue);
  *device = chosen_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (properties == nullptr) return finish(cudaErrorInvalidValue);
  if (!exists(device)) return finish(cudaErrorInvalidDevice);
  cudaDeviceProp& p = *properties = {};
  std::snprintf(p.name, sizeof p.name, "emulated sm_90");
  p.totalGlobalMem = state().memory_bytes;
  p.sharedMemPerBlock = kMaxStaticShared;
  p.sharedMemPerBlockOptin = kMaxShared;
  p.sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
  p.regsPerBlock = 65536;
  p.warpSize = 32;
  p.maxThreadsPerBlock = kMaxThreads;
  p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.major = 9;
  p.multiProcessorCount = kMultiprocessors;
  p.l2CacheSize = kL2Bytes;
  p.asyncEngineCount = 2;
  p.concurrentKernels = p.unifiedAddressing = p.cooperativeLaunch = 1;
  p.pciBusID = device + 1;
  return cudaSuccess;
}

// An attribute that is not listed is an error rather than a zero somebody might believe.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (value == nullptr) return finish(cudaErrorInvalidValue);
  if (!exists(device)) return finish(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = kMaxThreads;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(kMaxStaticShared);
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      break;
    case cudaDevAttrConcurrentKernels:
      *value = 1;
      break;
    case cudaDevAttrL2CacheSize:
      *value = kL2Bytes;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = kThreadsPerMultiprocessor;
      break;
    case cudaDevAttrAsyncEngineCount:
      *value = 2;
      break;
    case cudaDevAttrUnifiedAddressing:
      *value = 1;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(kSharedPerMultiprocessor);
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(kMaxShared);
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    default:
      return finish(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

// Everything that lives on the current device is gone afterwards, its sticky error too.
cudaError_t cudaDeviceReset() {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  const int device = current_device();
  State& s = state();
  if (s.device_count == 0) return finish(cudaErrorNoDevice);
  synchronize_device(device);
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(s.mutex);
    std::erase_if(s.streams, [&](const auto& entry) {
      if (entry.second->device() != device) return false;
      entry.second->close();
      return true;
    });
    std::erase_if(s.events, [&](const auto& entry) { return entry.second->device == device; });
  }
  release_all_memory(device);
  set_sticky(device, cudaSuccess);
  return finish(cudaSuccess);
}

cudaError_t cudaDriverGetVersion(int* version) {
  if (version == nullptr) return finish(cudaErrorInvalidValue);
  *version = kVersion;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
