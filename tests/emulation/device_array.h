#pragma once
// Device memory with a host copy, for the emulation's own tests.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace gpunn::test {

// Ends the program: these tests cannot go on without a working device.
inline void require_success(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s (%s)\n", what, cudaGetErrorName(error), cudaGetErrorString(error));
  std::exit(2);
}

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : host(count) {
    require_success(cudaMalloc(&data_, count * sizeof(T)), "cudaMalloc");
  }
  explicit DeviceArray(std::vector<T> values) : DeviceArray(values.size()) {
    host = std::move(values);
    upload();
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::size_t bytes() const { return host.size() * sizeof(T); }
  void upload() {
    require_success(cudaMemcpy(data_, host.data(), bytes(), cudaMemcpyHostToDevice), "cudaMemcpy to device");
  }
  void fill_zero() { require_success(cudaMemset(data_, 0, bytes()), "cudaMemset"); }
  // Waits for all streams first.
  const std::vector<T>& download() {
    require_success(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    require_success(cudaMemcpy(host.data(), data_, bytes(), cudaMemcpyDeviceToHost), "cudaMemcpy to host");
    return host;
  }

  std::vector<T> host;

 private:
  T* data_ = nullptr;
};

}  // namespace gpunn::test
