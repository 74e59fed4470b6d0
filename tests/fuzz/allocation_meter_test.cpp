#include "tests/fuzz/allocation_meter.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

namespace gpunn::fuzz {
namespace {

constinit thread_local std::ptrdiff_t held = 0, highest = 0;

// Not inlined: the compiler would see malloc paired with delete, or new with free, and warn.
[[gnu::noinline]] void* counted(void* memory) {
  if (!memory) throw std::bad_alloc();
  held += static_cast<std::ptrdiff_t>(malloc_usable_size(memory));
  highest = std::max(highest, held);
  return memory;
}

[[gnu::noinline]] void released(void* memory) noexcept {
  if (memory) held -= static_cast<std::ptrdiff_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace

AllocationMeter::AllocationMeter() noexcept { highest = held = 0; }
std::size_t AllocationMeter::peak() const noexcept {
  return static_cast<std::size_t>(std::max<std::ptrdiff_t>(highest, 0));
}

namespace {

TEST(AllocationMeter, SeesWhatIsHeldAtOnce) {
  const AllocationMeter meter;
  for (int i = 0; i < 10; ++i) std::vector<char>(1'000'000).at(5) = 1;
  EXPECT_GE(meter.peak(), 1'000'000u);
  EXPECT_LT(meter.peak(), 1'200'000u);
  const std::vector<char> a(2'000'000), b(3'000'000);
  EXPECT_GE(meter.peak(), 5'000'000u);
  EXPECT_LT(meter.peak(), 5'300'000u);
  const AllocationMeter fresh;
  EXPECT_EQ(fresh.peak(), 0u);
}

}  // namespace
}  // namespace gpunn::fuzz

// The whole set: what is not replaced would go past the meter. malloc keeps the sanitizers' checks of bounds
// and frees.
void* operator new(std::size_t bytes) {
  return gpunn::fuzz::counted(std::malloc(std::max<std::size_t>(bytes, 1)));
}
void* operator new[](std::size_t bytes) {
  return gpunn::fuzz::counted(std::malloc(std::max<std::size_t>(bytes, 1)));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  return gpunn::fuzz::counted(std::aligned_alloc(step, (bytes + step) / step * step));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) { return operator new(bytes, alignment); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  void* memory = std::malloc(std::max<std::size_t>(bytes, 1));
  return memory ? gpunn::fuzz::counted(memory) : nullptr;
}
void* operator new[](std::size_t bytes, const std::nothrow_t& tag) noexcept {
  return operator new(bytes, tag);
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  const auto step = static_cast<std::size_t>(alignment);
  void* memory = std::aligned_alloc(step, (bytes + step) / step * step);
  return memory ? gpunn::fuzz::counted(memory) : nullptr;
}
void* operator new[](std::size_t bytes, std::align_val_t alignment, const std::nothrow_t& tag) noexcept {
  return operator new(bytes, alignment, tag);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { gpunn::fuzz::released(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { gpunn::fuzz::released(memory); }
void operator delete(void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  gpunn::fuzz::released(memory);
}
void operator delete[](void* memory, std::align_val_t, const std::nothrow_t&) noexcept {
  gpunn::fuzz::released(memory);
}
void operator delete(void* memory) noexcept { gpunn::fuzz::released(memory); }
void operator delete[](void* memory) noexcept { gpunn::fuzz::released(memory); }
void operator delete(void* memory, std::size_t) noexcept { gpunn::fuzz::released(memory); }
void operator delete[](void* memory, std::size_t) noexcept { gpunn::fuzz::released(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { gpunn::fuzz::released(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { gpunn::fuzz::released(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { gpunn::fuzz::released(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  gpunn::fuzz::released(memory);
}
