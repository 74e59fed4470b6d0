// The emulated driver's virtual memory, reached as on a GPU: through entry points.

#include <cuda.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gpunn/core/emulation/config.h"

namespace gpunn::test {
namespace {

constexpr size_t kPage = size_t{2} << 20;

template <class Function>
Function* entry(const char* name) {
  void* found = nullptr;
  auto state = cudaDriverEntryPointSymbolNotFound;
  EXPECT_EQ(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &state), cudaSuccess);
  EXPECT_EQ(state, cudaDriverEntryPointSuccess) << name;
  return reinterpret_cast<Function*>(found);
}
#define ENTRY(name) entry<decltype(name)>(#name)

class VirtualMemoryRace : public testing::Test {
 protected:
  void SetUp() override {
    before_ = emu::stats();
    ASSERT_EQ(reserve(&base_, 8 * kPage, 0, 0, 0), CUDA_SUCCESS);
    properties_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties_.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  }
  void TearDown() override {
    emu::reset_device();
    EXPECT_EQ(cudaDeviceReset(), cudaSuccess);
    const emu::Stats now = emu::stats();
    EXPECT_EQ(now.allocations_live, before_.allocations_live);
    EXPECT_EQ(now.bytes_live, before_.bytes_live);
  }
  CUresult map_page(size_t index) {
    CUmemGenericAllocationHandle handle = 0;
    if (const CUresult error = create(&handle, kPage, &properties_, 0); error != CUDA_SUCCESS) return error;
    const CUresult mapped = map(base_ + index * kPage, kPage, 0, handle, 0);
    EXPECT_EQ(release(handle), CUDA_SUCCESS);
    const CUmemAccessDesc access{properties_.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    return mapped == CUDA_SUCCESS ? set_access(base_ + index * kPage, kPage, &access, 1) : mapped;
  }
  char* at(size_t offset) const {
    return reinterpret_cast<char*>(static_cast<std::uintptr_t>(base_)) + offset;
  }
  static size_t free_bytes() {
    size_t free = 0, total = 0;
    EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    return free;
  }

  decltype(cuMemAddressReserve)* reserve = ENTRY(cuMemAddressReserve);
  decltype(cuMemAddressFree)* free_addresses = ENTRY(cuMemAddressFree);
  decltype(cuMemCreate)* create = ENTRY(cuMemCreate);
  decltype(cuMemRelease)* release = ENTRY(cuMemRelease);
  decltype(cuMemMap)* map = ENTRY(cuMemMap);
  decltype(cuMemUnmap)* unmap = ENTRY(cuMemUnmap);
  decltype(cuMemSetAccess)* set_access = ENTRY(cuMemSetAccess);
  CUdeviceptr base_ = 0;
  CUmemAllocationProp properties_{};

 private:
  emu::Stats before_{};
};

TEST_F(VirtualMemoryRace, EntryPointsAreFoundByNameAndVersion) {
  void* found = &found;
  auto state = cudaDriverEntryPointSuccess;
  EXPECT_EQ(cudaGetDriverEntryPointByVersion("cuNothing", &found, 12000, cudaEnableDefault, &state),
            cudaSuccess);
  EXPECT_EQ(state, cudaDriverEntryPointSymbolNotFound);
  EXPECT_EQ(found, nullptr);
  EXPECT_EQ(cudaGetDriverEntryPointByVersion("cuMemMap", &found, 9000, cudaEnableDefault, &state),
            cudaSuccess);
  EXPECT_EQ(state, cudaDriverEntryPointVersionNotSufficent);
  EXPECT_EQ(cudaGetDriverEntryPointByVersion(nullptr, &found, 12000, cudaEnableDefault, &state),
            cudaErrorInvalidValue);
  int supported = 0;
  EXPECT_EQ(
      ENTRY(cuDeviceGetAttribute)(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0),
      CUDA_SUCCESS);
  EXPECT_EQ(supported, 1);
  size_t granularity = 0;
  EXPECT_EQ(
      ENTRY(cuMemGetAllocationGranularity)(&granularity, &properties_, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
      CUDA_SUCCESS);
  EXPECT_EQ(granularity, kPage);
}

TEST_F(VirtualMemoryRace, CopiesCrossPagesButNotHoles) {
  ASSERT_EQ(map_page(2), CUDA_SUCCESS);
  ASSERT_EQ(map_page(1), CUDA_SUCCESS);
  ASSERT_EQ(map_page(4), CUDA_SUCCESS);
  float fresh = 0;
  ASSERT_EQ(cudaMemcpy(&fresh, at(kPage), sizeof fresh, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_TRUE(std::isnan(fresh));
  std::vector<char> from(2 * kPage, 3), back(2 * kPage);
  EXPECT_EQ(cudaMemcpy(at(kPage), from.data(), 2 * kPage, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(back.data(), at(kPage), 2 * kPage, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(std::memcmp(from.data(), back.data(), back.size()), 0);
  EXPECT_EQ(cudaMemset(at(2 * kPage), 0, kPage + 1), cudaErrorInvalidValue) << "page 3 is a hole";
  EXPECT_EQ(cudaMemset(at(0), 0, 1), cudaErrorInvalidValue);
  cudaPointerAttributes attributes{};
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, at(4 * kPage + 5)), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  EXPECT_EQ(cudaFree(at(kPage)), cudaErrorInvalidValue);
  // A page in the middle goes, its neighbours keep what they have.
  ASSERT_EQ(map_page(3), CUDA_SUCCESS);
  EXPECT_EQ(unmap(base_ + 2 * kPage, kPage), CUDA_SUCCESS);
  EXPECT_EQ(cudaMemset(at(2 * kPage), 0, 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(at(3 * kPage), 0, 2 * kPage), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(back.data(), at(kPage), kPage, cudaMemcpyDeviceToHost), cudaSuccess);
  EXPECT_EQ(back[kPage - 1], 3);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST_F(VirtualMemoryRace, MemoryCountsUntilItIsReleasedAndUnmapped) {
  const size_t before = free_bytes();
  CUmemGenericAllocationHandle handle = 0;
  ASSERT_EQ(create(&handle, 2 * kPage, &properties_, 0), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), before - 2 * kPage);
  ASSERT_EQ(map(base_, 2 * kPage, 0, handle, 0), CUDA_SUCCESS);
  EXPECT_EQ(release(handle), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), before - 2 * kPage);
  EXPECT_EQ(unmap(base_, kPage), CUDA_ERROR_INVALID_VALUE) << "what was mapped as one is unmapped as one";
  EXPECT_EQ(unmap(base_, 2 * kPage), CUDA_SUCCESS);
  EXPECT_EQ(free_bytes(), before);
  EXPECT_EQ(release(handle), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(free_addresses(base_, 8 * kPage), CUDA_SUCCESS);
}

TEST_F(VirtualMemoryRace, WrongCallsAreRefused) {
  CUdeviceptr other = 0;
  EXPECT_EQ(reserve(&other, kPage + 1, 0, 0, 0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(reserve(&other, std::numeric_limits<size_t>::max() / kPage * kPage, 0, 0, 0),
            CUDA_ERROR_OUT_OF_MEMORY);
  CUmemGenericAllocationHandle handle = 0;
  EXPECT_EQ(create(&handle, 1, &properties_, 0), CUDA_ERROR_INVALID_VALUE);
  CUmemAllocationProp nowhere = properties_;
  nowhere.location.id = 99;
  EXPECT_EQ(create(&handle, kPage, &nowhere, 0), CUDA_ERROR_INVALID_VALUE);
  ASSERT_EQ(map_page(0), CUDA_SUCCESS);
  EXPECT_EQ(map_page(0), CUDA_ERROR_INVALID_VALUE) << "there is a page already";
  EXPECT_EQ(map_page(8), CUDA_ERROR_INVALID_VALUE) << "outside the reservation";
  EXPECT_EQ(unmap(base_ + kPage, kPage), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(free_addresses(base_, 8 * kPage), CUDA_ERROR_INVALID_VALUE) << "something is mapped";
  const CUmemAccessDesc access{properties_.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  EXPECT_EQ(set_access(base_, 2 * kPage, &access, 1), CUDA_ERROR_INVALID_VALUE) << "the second is not mapped";
  ASSERT_EQ(create(&handle, kPage, &properties_, 0), CUDA_SUCCESS);
  EXPECT_EQ(map(base_ + kPage, kPage, 0, handle, 0), CUDA_SUCCESS);
  EXPECT_EQ(map(base_ + 2 * kPage, kPage, 0, handle, 0), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(cudaMemset(at(kPage), 0, 1), cudaErrorInvalidValue) << "no access was given";
}

TEST_F(VirtualMemoryRace, MemoryRunsOutAndFailuresAreInjected) {
  CUmemGenericAllocationHandle handle = 0;
  EXPECT_EQ(create(&handle, (free_bytes() / kPage + 1) * kPage, &properties_, 0), CUDA_ERROR_OUT_OF_MEMORY);
  emu::fail_at(emu::Call::malloc, 2, cudaErrorMemoryAllocation);
  EXPECT_EQ(map_page(0), CUDA_SUCCESS);
  EXPECT_EQ(map_page(1), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(map_page(1), CUDA_SUCCESS);
}

}  // namespace
}  // namespace gpunn::test
