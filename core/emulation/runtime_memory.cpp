// Device and pinned host memory.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "gpunn/core/emulation/runtime.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr unsigned char kPoison = 0xff, kCanary = 0xa5;
constexpr std::size_t kPoisonLimit = std::size_t{64}
                                     << 20;  // more would cost time and touch memory nobody uses

std::size_t capacity(std::size_t bytes) {
  return (bytes + kRedZone + kAlignment - 1) / kAlignment * kAlignment;
}

// Filled with poison; what lies behind the last byte is guarded.
char* take_memory(std::size_t bytes) {
  const TsanQuiet quiet;
  if (bytes > SIZE_MAX / 2) return nullptr;
  auto* memory = static_cast<char*>(std::aligned_alloc(kAlignment, capacity(bytes)));
  if (memory == nullptr) return nullptr;
  if (config().poison) std::memset(memory, kPoison, std::min(bytes, kPoisonLimit));
  if (kCanaries) std::memset(memory + bytes, kCanary, kRedZone);
  poison_region(memory + bytes, capacity(bytes) - bytes);
  return memory;
}

// The guard is made accessible again before the allocator of the host sees it.
void give_memory(void* p, std::size_t bytes) {
  const TsanQuiet quiet;
  unpoison_region(p, capacity(bytes));
  std::free(p);
}

// Offset of the first damaged guard byte, or -1.
std::ptrdiff_t find_overrun(const void* p, std::size_t bytes) {
  if (!kCanaries) return -1;
  const auto* guard = static_cast<const unsigned char*>(p) + bytes;
  const auto* damaged =
      std::find_if(guard, guard + kRedZone, [](unsigned char byte) { return byte != kCanary; });
  return damaged == guard + kRedZone ? -1 : damaged - guard;
}

void check_overrun(const void* p, const Allocation& allocation) {
  const std::ptrdiff_t offset = find_overrun(p, allocation.bytes);
  if (offset < 0) return;
  publish_report("gpunn emulation: write past the end of " +
                 std::string(allocation.host ? "pinned" : "device") + " memory of " +
                 std::to_string(allocation.bytes) + " bytes (+" + std::to_string(offset) +
                 " bytes), found when it was freed\n");
  set_sticky(allocation.device, cudaErrorIllegalAddress);
}

cudaError_t allocate(void** p, std::size_t bytes, bool host) {
  if (p == nullptr) return cudaErrorInvalidValue;
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  State& s = state();
  const int number = current_device();
  Device& device = s.devices[static_cast<std::size_t>(number)];
  // Taken before the memory itself, so that two threads cannot share the last bytes of a device.
  const auto reserve = [&](bool give_back) {
    const TsanQuiet quiet;
    const std::lock_guard lock(s.mutex);
    if (give_back) {
      device.used -= bytes;
      return true;
    }
    if (bytes > s.memory_bytes - device.used) return false;
    device.used += bytes;
    return true;
  };
  if (!host && !reserve(false)) return cudaErrorMemoryAllocation;
  char* memory = take_memory(bytes);
  if (memory == nullptr) {
    if (!host) reserve(true);
    return cudaErrorMemoryAllocation;
  }
  const TsanQuiet quiet;
  const std::lock_guard lock(s.mutex);
  s.allocations[reinterpret_cast<std::uintptr_t>(memory)] = {bytes, number, host};
  *p = memory;
  return cudaSuccess;
}

}  // namespace

const std::pair<const std::uintptr_t, Allocation>* find_allocation(const State& locked, const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  auto next = locked.allocations.upper_bound(address);
  if (next == locked.allocations.begin()) return nullptr;
  --next;
  return address - next->first < next->second.bytes ? &*next : nullptr;
}

cudaError_t release_memory(void* p, bool host) {
  State& s = state();
  Allocation allocation{};
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(s.mutex);
    const auto it = s.allocations.find(reinterpret_cast<std::uintptr_t>(p));
    if (it == s.allocations.end() || it->second.host != host || it->second.mapped)
      return cudaErrorInvalidValue;
    allocation = it->second;
    s.allocations.erase(it);
    if (!host) s.devices[static_cast<std::size_t>(allocation.device)].used -= allocation.bytes;
  }
  check_overrun(p, allocation);
  give_memory(p, allocation.bytes);
  return cudaSuccess;
}

void release_all_memory(int device) {
  release_virtual_memory(device);
  State& s = state();
  std::vector<std::pair<void*, bool>> found;
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(s.mutex);
    for (const auto& [address, allocation] : s.allocations)
      if (allocation.device == device) found.emplace_back(reinterpret_cast<void*>(address), allocation.host);
  }
  for (const auto& [p, host] : found) release_memory(p, host);
}

}  // namespace gpunn::emu

using namespace gpunn::emu;

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const cudaError_t error = begin(Call::malloc);
  return error != cudaSuccess ? error : finish(allocate(p, bytes, false));
}

cudaError_t cudaFree(void* p) {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  if (p == nullptr) return finish(cudaSuccess);
  synchronize_device(current_device());  // kernels may still use it; CUDA waits as well
  return finish(release_memory(p, false));
}

cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  const cudaError_t error = begin(Call::malloc);
  if (error != cudaSuccess) return error;
  if (find_stream(stream) == nullptr) return finish(cudaErrorInvalidResourceHandle);
  return finish(allocate(p, bytes, false));
}

cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (p == nullptr) return finish(cudaSuccess);
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(state().mutex);
    const auto* allocation = find_allocation(state(), p);
    if (allocation == nullptr || allocation->second.host || allocation->second.mapped)
      return finish(cudaErrorInvalidValue);
  }
  target->push([p] { release_memory(p, false); });
  return finish(cudaSuccess);
}

cudaError_t cudaMallocHost(void** p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }

cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags) {
  const cudaError_t error = begin(Call::malloc);
  if (error != cudaSuccess) return error;
  if ((flags & ~(cudaHostAllocPortable | cudaHostAllocMapped | cudaHostAllocWriteCombined)) != 0)
    return finish(cudaErrorInvalidValue);
  return finish(allocate(p, bytes, true));
}

cudaError_t cudaFreeHost(void* p) {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  if (p == nullptr) return finish(cudaSuccess);
  synchronize_device(current_device());
  return finish(release_memory(p, true));
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  if (free_bytes == nullptr || total_bytes == nullptr) return finish(cudaErrorInvalidValue);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  *total_bytes = s.memory_bytes;
  *free_bytes = s.memory_bytes - s.devices[static_cast<std::size_t>(current_device())].used;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  if (attributes == nullptr) return finish(cudaErrorInvalidValue);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto* found = find_allocation(s, p);
  void* address = const_cast<void*>(p);
  if (found == nullptr) {
    *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, address};
  } else if (found->second.host) {
    *attributes = {cudaMemoryTypeHost, found->second.device, address, address};
  } else {
    *attributes = {cudaMemoryTypeDevice, found->second.device, address, nullptr};
  }
  return cudaSuccess;
}
