#pragma once
// What the files that open cuDNN share: the library's handle, and an object for each device. Built only
// where the CUDA runtime is.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <array>
#include <cstddef>
#include <mutex>
#include <type_traits>

namespace gpunn::detail {

/// Handle of libcudnn.so.9 or .8, null where there is none. Never closed: process exit touches no CUDA.
inline void* cudnn_library() {
  static void* const handle = [] {
    void* found = nullptr;
    for (const char* name : {"libcudnn.so.9", "libcudnn.so.8"})
      if (!found) found = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    return found;
  }();
  return handle;
}

/// Sets `function` to the symbol; false without library or symbol.
template <class F>
bool find_cudnn(const char* name, F& function) {
  void* const handle = cudnn_library();
  function = handle ? reinterpret_cast<F>(dlsym(handle, name)) : nullptr;
  return function != nullptr;
}

/// The device of memory, the current one for a null pointer; -1: there is none.
inline int device_of(const void* data) {
  cudaPointerAttributes attributes{};
  if (data && cudaPointerGetAttributes(&attributes, data) == cudaSuccess &&
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

/// Objects by device, leaked like the library. A handle belongs to a device's primary context, which outlives
/// any Runtime. Thread-safe.
template <class T>
class PerDevice {
 public:
  /// That of `device`, which is current; `make()` gives a new one.
  template <class Make>
  T& get(int device, Make&& make) {
    const std::lock_guard lock(mutex_);
    T*& entry = table_.at(static_cast<std::size_t>(device));
    if (!entry) entry = make();
    return *entry;
  }

 private:
  static constexpr std::size_t kMostDevices = 64;
  std::mutex mutex_;
  std::array<T*, kMostDevices> table_{};
};

}  // namespace gpunn::detail
