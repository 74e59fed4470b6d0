#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/detail/virtual_memory.h"

namespace gpunn::detail {

struct VirtualMemory::Calls {
  decltype(&cuDeviceGetAttribute) attribute = nullptr;
  decltype(&cuMemGetAllocationGranularity) granularity = nullptr;
  decltype(&cuMemAddressReserve) reserve = nullptr;
  decltype(&cuMemAddressFree) free = nullptr;
  decltype(&cuMemCreate) create = nullptr;
  decltype(&cuMemRelease) release = nullptr;
  decltype(&cuMemMap) map = nullptr;
  decltype(&cuMemUnmap) unmap = nullptr;
  decltype(&cuMemSetAccess) set_access = nullptr;
};

namespace {

template <class Function>
bool find_entry(const char* name, Function& function) noexcept {
  constexpr unsigned kVersion = 10020;  // the first CUDA with virtual memory
  void* found = nullptr;
  auto state = cudaDriverEntryPointSymbolNotFound;
  if (cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &state) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  function = reinterpret_cast<Function>(found);
  return state == cudaDriverEntryPointSuccess && found;
}

CUmemAllocationProp memory_of(int device) noexcept {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device;
  return properties;
}

CUdeviceptr address_of(const void* pointer) noexcept {
  return static_cast<CUdeviceptr>(reinterpret_cast<std::uintptr_t>(pointer));
}

}  // namespace

VirtualMemory::VirtualMemory() = default;
VirtualMemory::~VirtualMemory() = default;

void VirtualMemory::open(int device) noexcept {
  device_ = device;
  auto calls = std::make_unique<Calls>();
  // A driver's device is the runtime's by number.
  int supported = 0;
  std::size_t granularity = 0;
  const CUmemAllocationProp properties = memory_of(device);
  const bool ready =
      find_entry("cuDeviceGetAttribute", calls->attribute) &&
      find_entry("cuMemGetAllocationGranularity", calls->granularity) &&
      find_entry("cuMemAddressReserve", calls->reserve) && find_entry("cuMemAddressFree", calls->free) &&
      find_entry("cuMemCreate", calls->create) && find_entry("cuMemRelease", calls->release) &&
      find_entry("cuMemMap", calls->map) && find_entry("cuMemUnmap", calls->unmap) &&
      find_entry("cuMemSetAccess", calls->set_access) &&
      calls->attribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, device) ==
          CUDA_SUCCESS &&
      supported &&
      calls->granularity(&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM) == CUDA_SUCCESS;
  if (!ready) return;
  calls_ = std::move(calls);
  page_bytes_ = granularity;
}

// The driver's error codes are the runtime's.
void* VirtualMemory::reserve(std::size_t bytes) {
  CUdeviceptr base = 0;
  GPUNN_CUDA(calls_->reserve(&base, bytes, 0, 0, 0));
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(base));
}

void VirtualMemory::release(void* base, std::size_t bytes) noexcept {
  GPUNN_CUDA_NOTHROW(calls_->free(address_of(base), bytes));
}

void VirtualMemory::map(void* at, std::size_t bytes) {
  const CUmemAllocationProp properties = memory_of(device_);
  std::size_t done = 0;
  try {
    for (; done < bytes; done += page_bytes_) {
      CUmemGenericAllocationHandle page = 0;
      GPUNN_CUDA(calls_->create(&page, page_bytes_, &properties, 0));
      const CUresult mapped = calls_->map(address_of(at) + done, page_bytes_, 0, page, 0);
      // The mapping keeps the memory alive; when it goes, the memory goes.
      GPUNN_CUDA_NOTHROW(calls_->release(page));
      GPUNN_CUDA(mapped);
    }
    CUmemAccessDesc access{};
    access.location = properties.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    GPUNN_CUDA(calls_->set_access(address_of(at), bytes, &access, 1));
  } catch (...) {
    unmap(at, done);
    throw;
  }
}

void VirtualMemory::unmap(void* at, std::size_t bytes) noexcept {
  for (std::size_t done = 0; done < bytes; done += page_bytes_)
    GPUNN_CUDA_NOTHROW(calls_->unmap(address_of(at) + done, page_bytes_));
}

}  // namespace gpunn::detail
