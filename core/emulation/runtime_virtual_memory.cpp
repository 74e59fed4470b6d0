// The driver's virtual memory: address ranges reserved by mmap, pages of 2 MiB made accessible in them.
// Memory belongs to a handle as on a GPU and counts from its creation until it is released and unmapped; its
// content does not outlive the mapping, and a handle is mapped at one place at a time, which CUDA would not
// ask for.

#include <cuda.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>

#include "gpunn/core/emulation/runtime.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

constexpr std::size_t kPage = std::size_t{2} << 20;
constexpr std::uintptr_t kNoAddress = 0;

struct Handle {
  std::size_t bytes;
  int device;
  std::uintptr_t mapped_at = kNoAddress;
  bool released = false;
};

struct Reservation {
  std::size_t bytes;
  int device;
  std::uintptr_t touched_end;  // no page above it was ever mapped
};

struct Page {
  std::uint64_t handle;
  std::size_t bytes;
  bool accessible = false;
};

// Guarded by the State's mutex.
struct VirtualMemory {
  std::map<std::uintptr_t, Reservation> reservations;
  std::map<std::uint64_t, Handle> handles;
  std::map<std::uintptr_t, Page> pages;  // what each cuMemMap mapped
  std::uint64_t newest_handle = 0;
};

VirtualMemory& virtual_memory() {
  static auto* const instance = new VirtualMemory;  // never destroyed, as the State
  return *instance;
}

CUresult result_of(cudaError_t error) { return static_cast<CUresult>(finish(error)); }
CUresult result_of(CUresult result) { return result_of(static_cast<cudaError_t>(result)); }

bool whole_pages(std::uintptr_t at, std::size_t bytes) {
  return at % kPage == 0 && bytes % kPage == 0 && bytes > 0;
}

void* address_of(std::uintptr_t at) { return reinterpret_cast<void*>(at); }

std::map<std::uintptr_t, Reservation>::iterator reservation_of(std::uintptr_t at, std::size_t bytes) {
  auto& all = virtual_memory().reservations;
  auto next = all.upper_bound(at);
  if (next == all.begin()) return all.end();
  --next;
  const std::size_t offset = at - next->first;
  return offset <= next->second.bytes && bytes <= next->second.bytes - offset ? next : all.end();
}

// Pages that together fill [at, at + bytes); empty if that cuts one or leaves a hole.
std::vector<std::uintptr_t> pages_in(std::uintptr_t at, std::size_t bytes) {
  auto& all = virtual_memory().pages;
  std::vector<std::uintptr_t> found;
  std::uintptr_t reached = at;
  for (auto it = all.find(at); it != all.end() && it->first == reached && reached < at + bytes; ++it) {
    found.push_back(it->first);
    reached += it->second.bytes;
  }
  if (reached != at + bytes) found.clear();
  return found;
}

// Accessible memory stands in the table of allocations, neighbours as one, so that copies may cross pages.
void add_accessible(std::uintptr_t at, std::size_t bytes, int device) {
  auto& all = state().allocations;
  auto next = all.lower_bound(at);
  if (next != all.end() && next->second.mapped && next->first == at + bytes &&
      reservation_of(at, bytes + 1) != virtual_memory().reservations.end()) {
    bytes += next->second.bytes;
    next = all.erase(next);
  }
  if (next != all.begin()) {
    const auto previous = std::prev(next);
    if (previous->second.mapped && previous->first + previous->second.bytes == at &&
        reservation_of(previous->first, previous->second.bytes + bytes) !=
            virtual_memory().reservations.end()) {
      previous->second.bytes += bytes;
      return;
    }
  }
  all[at] = {bytes, device, false, true};
}

void remove_accessible(std::uintptr_t at, std::size_t bytes) {
  auto& all = state().allocations;
  auto it = std::prev(all.upper_bound(at));
  const std::uintptr_t start = it->first, end = start + it->second.bytes;
  const Allocation whole = it->second;
  all.erase(it);
  if (start < at) all[start] = {at - start, whole.device, false, true};
  if (at + bytes < end) all[at + bytes] = {end - at - bytes, whole.device, false, true};
}

void drop_if_unused(std::uint64_t number) {
  auto& all = virtual_memory().handles;
  const auto found = all.find(number);
  if (!found->second.released || found->second.mapped_at != kNoAddress) return;
  state().devices[static_cast<std::size_t>(found->second.device)].used -= found->second.bytes;
  all.erase(found);
}

// Back to addresses without memory: what touches them ends in a fault, or in a report of ASan before.
void unmap_page(std::uintptr_t at) {
  VirtualMemory& memory = virtual_memory();
  const Page page = memory.pages.at(at);
  memory.pages.erase(at);
  if (page.accessible) remove_accessible(at, page.bytes);
  poison_region(address_of(at), page.bytes);
  mmap(address_of(at), page.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  memory.handles.at(page.handle).mapped_at = kNoAddress;
  drop_if_unused(page.handle);
}

bool right_kind(const CUmemAllocationProp* properties) {
  return properties != nullptr && properties->type == CU_MEM_ALLOCATION_TYPE_PINNED &&
         properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE && properties->location.id >= 0 &&
         properties->location.id < state().device_count;
}

}  // namespace

void release_virtual_memory(int device) {
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  VirtualMemory& memory = virtual_memory();
  std::vector<std::uintptr_t> pages;
  for (const auto& [at, page] : memory.pages)
    if (memory.handles.at(page.handle).device == device) pages.push_back(at);
  for (const std::uintptr_t at : pages) unmap_page(at);
  std::vector<std::uint64_t> handles;
  for (auto& [number, handle] : memory.handles)
    if (handle.device == device) handles.push_back(number);
  for (const std::uint64_t number : handles) {
    memory.handles.at(number).released = true;
    drop_if_unused(number);
  }
  std::erase_if(memory.reservations, [&](const auto& entry) {
    if (entry.second.device != device) return false;
    unpoison_region(address_of(entry.first), entry.second.touched_end - entry.first);
    munmap(address_of(entry.first), entry.second.bytes);
    return true;
  });
}

}  // namespace gpunn::emu

using namespace gpunn::emu;

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  if (value == nullptr || attribute != CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)
    return CUDA_ERROR_INVALID_VALUE;
  if (device < 0 || device >= state().device_count) return CUDA_ERROR_INVALID_DEVICE;
  *value = 1;
  return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationGranularity(size_t* bytes, const CUmemAllocationProp* properties,
                                       CUmemAllocationGranularity_flags) {
  if (bytes == nullptr || !right_kind(properties)) return CUDA_ERROR_INVALID_VALUE;
  *bytes = kPage;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressReserve(CUdeviceptr* base, size_t bytes, size_t alignment, CUdeviceptr,
                             unsigned long long flags) {
  const cudaError_t error = begin(Call::malloc);
  if (error != cudaSuccess) return result_of(error);
  if (base == nullptr || bytes == 0 || bytes % kPage != 0 || flags != 0 || alignment > kPage)
    return result_of(CUDA_ERROR_INVALID_VALUE);
  if (bytes > SIZE_MAX / 2) return result_of(CUDA_ERROR_OUT_OF_MEMORY);
  const TsanQuiet quiet;
  const std::size_t asked = bytes + kPage;
  void* const found = mmap(nullptr, asked, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) return result_of(CUDA_ERROR_OUT_OF_MEMORY);
  // Only a part that starts at a whole page is kept.
  const auto start = reinterpret_cast<std::uintptr_t>(found);
  const std::uintptr_t aligned = (start + kPage - 1) / kPage * kPage;
  if (aligned > start) munmap(found, aligned - start);
  const std::uintptr_t end = aligned + bytes;
  if (start + asked > end) munmap(address_of(end), start + asked - end);
  const std::lock_guard lock(state().mutex);
  virtual_memory().reservations[aligned] = {bytes, current_device(), aligned};
  *base = aligned;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr base, size_t bytes) {
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  VirtualMemory& memory = virtual_memory();
  const auto found = memory.reservations.find(base);
  if (found == memory.reservations.end() || found->second.bytes != bytes)
    return result_of(CUDA_ERROR_INVALID_VALUE);
  const auto page = memory.pages.lower_bound(base);
  if (page != memory.pages.end() && page->first < base + bytes) return result_of(CUDA_ERROR_INVALID_VALUE);
  unpoison_region(address_of(base), found->second.touched_end - base);
  munmap(address_of(base), bytes);
  memory.reservations.erase(found);
  return CUDA_SUCCESS;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, size_t bytes,
                     const CUmemAllocationProp* properties, unsigned long long flags) {
  const cudaError_t error = begin(Call::malloc);
  if (error != cudaSuccess) return result_of(error);
  if (handle == nullptr || !right_kind(properties) || flags != 0 || bytes == 0 || bytes % kPage != 0)
    return result_of(CUDA_ERROR_INVALID_VALUE);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  Device& device = s.devices[static_cast<std::size_t>(properties->location.id)];
  if (bytes > s.memory_bytes - device.used) return result_of(CUDA_ERROR_OUT_OF_MEMORY);
  device.used += bytes;
  VirtualMemory& memory = virtual_memory();
  *handle = ++memory.newest_handle;
  memory.handles[*handle] = {bytes, properties->location.id};
  return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  auto& all = virtual_memory().handles;
  const auto found = all.find(handle);
  if (found == all.end() || found->second.released) return result_of(CUDA_ERROR_INVALID_VALUE);
  found->second.released = true;
  drop_if_unused(handle);
  return CUDA_SUCCESS;
}

CUresult cuMemMap(CUdeviceptr at, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                  unsigned long long flags) {
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  VirtualMemory& memory = virtual_memory();
  const auto found = memory.handles.find(handle);
  const auto range = reservation_of(at, bytes);
  if (found == memory.handles.end() || found->second.released || range == memory.reservations.end() ||
      !whole_pages(at, bytes) || offset != 0 || bytes != found->second.bytes || flags != 0)
    return result_of(CUDA_ERROR_INVALID_VALUE);
  if (found->second.mapped_at != kNoAddress) return result_of(CUDA_ERROR_NOT_SUPPORTED);
  const auto next = memory.pages.upper_bound(at);
  const bool hit_next = next != memory.pages.end() && next->first < at + bytes;
  const bool hit_previous =
      next != memory.pages.begin() && std::prev(next)->first + std::prev(next)->second.bytes > at;
  if (hit_next || hit_previous) return result_of(CUDA_ERROR_INVALID_VALUE);
  memory.pages[at] = {handle, bytes};
  found->second.mapped_at = at;
  range->second.touched_end = std::max<std::uintptr_t>(range->second.touched_end, at + bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemUnmap(CUdeviceptr at, size_t bytes) {
  if (in_host_function) return result_of(cudaErrorNotPermitted);
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  const auto pages = pages_in(at, bytes);
  if (pages.empty()) return result_of(CUDA_ERROR_INVALID_VALUE);
  for (const std::uintptr_t page : pages) unmap_page(page);
  return CUDA_SUCCESS;
}

CUresult cuMemSetAccess(CUdeviceptr at, size_t bytes, const CUmemAccessDesc* access, size_t count) {
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  if (access == nullptr || count != 1 || access->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return result_of(CUDA_ERROR_INVALID_VALUE);
  if (access->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) return result_of(CUDA_ERROR_NOT_SUPPORTED);
  VirtualMemory& memory = virtual_memory();
  const auto pages = pages_in(at, bytes);
  if (pages.empty()) return result_of(CUDA_ERROR_INVALID_VALUE);
  for (const std::uintptr_t start : pages) {
    Page& page = memory.pages.at(start);
    if (memory.handles.at(page.handle).device != access->location.id)
      return result_of(CUDA_ERROR_INVALID_DEVICE);
    if (page.accessible) continue;
    if (mprotect(address_of(start), page.bytes, PROT_READ | PROT_WRITE) != 0)
      return result_of(CUDA_ERROR_OUT_OF_MEMORY);
    unpoison_region(address_of(start), page.bytes);
    if (config().poison) std::memset(address_of(start), 0xff, page.bytes);
    page.accessible = true;
    add_accessible(start, page.bytes, access->location.id);
  }
  return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* result) {
  constexpr unsigned kFirstVersion = 10020;  // that has virtual memory
#define GPUNN_EMU_ENTRY(name) {#name, reinterpret_cast<void*>(&name)}
  static const std::pair<std::string_view, void*> kEntries[] = {
      GPUNN_EMU_ENTRY(cuDeviceGetAttribute),
      GPUNN_EMU_ENTRY(cuMemGetAllocationGranularity),
      GPUNN_EMU_ENTRY(cuMemAddressReserve),
      GPUNN_EMU_ENTRY(cuMemAddressFree),
      GPUNN_EMU_ENTRY(cuMemCreate),
      GPUNN_EMU_ENTRY(cuMemRelease),
      GPUNN_EMU_ENTRY(cuMemMap),
      GPUNN_EMU_ENTRY(cuMemUnmap),
      GPUNN_EMU_ENTRY(cuMemSetAccess),
  };
#undef GPUNN_EMU_ENTRY
  if (symbol == nullptr || function == nullptr || flags != cudaEnableDefault)
    return finish(cudaErrorInvalidValue);
  *function = nullptr;
  const auto found = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [&](const auto& entry) { return entry.first == symbol; });
  auto state = cudaDriverEntryPointSymbolNotFound;
  if (found != std::end(kEntries))
    state = version >= kFirstVersion ? cudaDriverEntryPointSuccess : cudaDriverEntryPointVersionNotSufficent;
  if (state == cudaDriverEntryPointSuccess) *function = found->second;
  if (result != nullptr) *result = state;
  return cudaSuccess;
}
