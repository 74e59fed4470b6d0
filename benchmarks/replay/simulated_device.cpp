#include "benchmarks/replay/simulated_device.h"

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/error.h"

namespace gpunn::replay {

namespace {

constexpr std::uintptr_t kAddressUnit = std::uintptr_t{2} << 20;

std::size_t pages(std::size_t bytes) { return detail::round_up(bytes, SimulatedDevice::kPage); }

}  // namespace

SimulatedDevice::SimulatedDevice(std::size_t capacity_bytes, std::uint64_t lag)
    : capacity_(capacity_bytes), lag_(lag) {
  info_.name = "simulated";
  info_.memory_bytes = capacity_bytes;
  info_.compute_major = 9;
  info_.multiprocessors = 132;
}

std::size_t SimulatedDevice::used_bytes() const {
  std::lock_guard lock(mutex_);
  return used_;
}

void SimulatedDevice::memory_info(std::size_t& free_bytes, std::size_t& total_bytes) {
  total_bytes = capacity_;
  free_bytes = capacity_ - used_bytes();
}

void* SimulatedDevice::allocate(std::size_t bytes) {
  std::lock_guard lock(mutex_);
  if (bytes > capacity_ || pages(bytes) > capacity_ - used_)
    throw OutOfMemory(detail::concat("simulated device: ", detail::bytes_text(bytes), " do not fit beside ",
                                     detail::bytes_text(used_)));
  used_ += pages(bytes);
  const std::uintptr_t address = next_address_;
  next_address_ += detail::round_up(bytes, kAddressUnit) + kAddressUnit;  // neighbours never touch
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr): never dereferenced
}

void SimulatedDevice::deallocate(void* pointer, std::size_t bytes) noexcept {
  if (!pointer) return;
  std::lock_guard lock(mutex_);
  used_ -= pages(bytes);
}

RawStream SimulatedDevice::create_stream(int) {
  std::lock_guard lock(mutex_);
  streams_.push_back(std::make_unique<char>());
  return streams_.back().get();
}

std::size_t SimulatedDevice::page_bytes() noexcept { return kAddressUnit; }

void* SimulatedDevice::reserve_addresses(std::size_t bytes) {
  std::lock_guard lock(mutex_);
  const std::uintptr_t address = next_address_;
  next_address_ += detail::round_up(bytes, kAddressUnit) + kAddressUnit;
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr): never dereferenced
}

void SimulatedDevice::map_pages(void*, std::size_t bytes) {
  std::lock_guard lock(mutex_);
  if (bytes > capacity_ - used_) throw OutOfMemory("simulated device: no pages are left");
  used_ += bytes;
}

void SimulatedDevice::unmap_pages(void*, std::size_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  used_ -= bytes;
}

// All work is `lag` ticks behind, the stream's as well.
bool SimulatedDevice::query_stream(RawStream) { return lag_ == 0; }

double SimulatedDevice::elapsed_milliseconds(RawEvent start, RawEvent end) {
  const auto ticks = [](RawEvent event) {
    return static_cast<double>(static_cast<Mark*>(event)->done_at.load(std::memory_order_relaxed));
  };
  return ticks(end) - ticks(start);
}

void SimulatedDevice::wait_until(std::uint64_t time) noexcept {
  waits_.fetch_add(1, std::memory_order_relaxed);
  std::uint64_t at = now();
  while (at < time && !now_.compare_exchange_weak(at, time, std::memory_order_relaxed)) {
  }
}

RawEvent SimulatedDevice::create_event() { return new Mark; }
void SimulatedDevice::destroy_event(RawEvent event) noexcept { delete static_cast<Mark*>(event); }

void SimulatedDevice::record_event(RawEvent event, RawStream) {
  static_cast<Mark*>(event)->done_at.store(now() + lag_, std::memory_order_relaxed);
}

bool SimulatedDevice::query_event(RawEvent event) {
  return static_cast<Mark*>(event)->done_at.load(std::memory_order_relaxed) <= now();
}

void SimulatedDevice::synchronize_event(RawEvent event) {
  const std::uint64_t time = static_cast<Mark*>(event)->done_at.load(std::memory_order_relaxed);
  if (time > now()) wait_until(time);
}

}  // namespace gpunn::replay
