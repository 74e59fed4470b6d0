#pragma once
// Virtual memory of a CUDA device, through entry points of the driver that the CUDA runtime hands out:
// libcuda is not linked.
#include <cstddef>
#include <memory>

namespace gpunn::detail {

/// Thread-safe once open. The device is current in every call.
class VirtualMemory {
 public:
  VirtualMemory();
  ~VirtualMemory();
  /// Looks for the driver's functions; where one is missing, page_bytes() stays 0.
  void open(int device) noexcept;

  std::size_t page_bytes() const noexcept { return page_bytes_; }
  void* reserve(std::size_t bytes);
  void release(void* base, std::size_t bytes) noexcept;
  /// All of it or nothing. Each page is an allocation of its own, so that each can be unmapped alone.
  void map(void* at, std::size_t bytes);
  void unmap(void* at, std::size_t bytes) noexcept;

 private:
  struct Calls;
  std::unique_ptr<Calls> calls_;
  int device_ = 0;
  std::size_t page_bytes_ = 0;
};

}  // namespace gpunn::detail
