#pragma once
// A GPU made of arithmetic: addresses and a clock, no memory behind them, for allocators to run on.
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "gpunn/core/device_api.h"

namespace gpunn::replay {

/// Memory is handed out as long as the sum, in pages of kPage, stays within the capacity: a GPU maps pages,
/// so what was given back can always be used again. Its virtual memory has pages of 2 MiB. Streams run `lag`
/// ticks behind the host: an event is done that many ticks after it was recorded, and waiting moves the
/// clock. Copies do nothing. Thread-safe.
class SimulatedDevice final : public DeviceApi {
 public:
  static constexpr std::size_t kPage = 512;

  SimulatedDevice(std::size_t capacity_bytes, std::uint64_t lag);

  /// Time passes: one tick is one event of a trace.
  void tick() noexcept { now_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t waits() const noexcept { return waits_.load(std::memory_order_relaxed); }
  std::size_t used_bytes() const;

  DeviceType type() const noexcept override { return DeviceType::cuda; }
  int index() const noexcept override { return 0; }
  const DeviceInfo& info() const noexcept override { return info_; }
  void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) override;
  void* allocate(std::size_t bytes) override;
  void deallocate(void* pointer, std::size_t bytes) noexcept override;
  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void deallocate_host(void* pointer, std::size_t bytes) noexcept override { deallocate(pointer, bytes); }
  std::size_t page_bytes() noexcept override;
  void* reserve_addresses(std::size_t bytes) override;
  void release_addresses(void*, std::size_t) noexcept override {}
  void map_pages(void* at, std::size_t bytes) override;
  void unmap_pages(void* at, std::size_t bytes) noexcept override;
  RawStream create_stream(int priority) override;
  int stream_priority(RawStream) override { return 0; }
  bool query_stream(RawStream stream) override;
  void destroy_stream(RawStream) noexcept override {}
  void synchronize_stream(RawStream) override { wait_until(now() + lag_); }
  void synchronize_device() override { wait_until(now() + lag_); }
  RawEvent create_event() override;
  RawEvent create_timed_event() override { return create_event(); }
  double elapsed_milliseconds(RawEvent start, RawEvent end) override;
  void destroy_event(RawEvent event) noexcept override;
  void record_event(RawEvent event, RawStream stream) override;
  void wait_event(RawStream, RawEvent) override {}
  bool query_event(RawEvent event) override;
  void synchronize_event(RawEvent event) override;
  bool synchronize_event_for(RawEvent event, std::chrono::microseconds) override {
    synchronize_event(event);
    return true;
  }
  void copy(void*, const void*, std::size_t, CopyKind, RawStream) override {}
  void fill_bytes(void*, int, std::size_t, RawStream) override {}
  void host_callback(RawStream, void (*callback)(void*), void* argument) override { callback(argument); }

 private:
  struct Mark {
    std::atomic<std::uint64_t> done_at{0};
  };
  std::uint64_t now() const noexcept { return now_.load(std::memory_order_relaxed); }
  void wait_until(std::uint64_t time) noexcept;

  const std::size_t capacity_;
  const std::uint64_t lag_;
  DeviceInfo info_;
  std::atomic<std::uint64_t> now_{0}, waits_{0};
  mutable std::mutex mutex_;
  std::size_t used_ = 0;
  std::uintptr_t next_address_ = std::uintptr_t{1} << 40;
  std::vector<std::unique_ptr<char>> streams_;
};

}  // namespace gpunn::replay
