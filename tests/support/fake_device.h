#pragma once
// A device made of host memory and queues, for tests of the runtime: three ways of running what is issued, a
// fixed amount of memory, failures on request, and counts of everything that is alive.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "gpunn/core/device_api.h"

namespace gpunn::testing {

/// How issued work runs. immediate: at once. deferred: on the caller's thread and as late as the rules allow,
/// streams interleaved at random. threaded: a thread per stream.
enum class FakeMode : std::uint8_t { immediate, deferred, threaded };

/// Kinds of calls for failure injection. any: every call that can throw.
enum class FakeCall : std::uint8_t { any, allocate, stream, event, copy };
enum class FakeFailure : std::uint8_t { cuda_error, out_of_memory, device_lost };

struct FakeOptions {
  FakeMode mode = FakeMode::immediate;
  std::size_t memory_bytes = std::size_t{64} << 20;  // device memory; of host memory, 1 GiB a request
  std::uint64_t seed = 1;
  bool virtual_memory = false;  // pages of 2 MiB; memory nobody touches costs the machine nothing
};

class FakeDevice final : public DeviceApi {
 public:
  explicit FakeDevice(FakeOptions options = {});
  ~FakeDevice() override;

  /// The n-th call of that kind from now on (1: the next) fails. A lost device fails every call after it,
  /// too.
  void fail_at(FakeCall kind, long n, FakeFailure failure = FakeFailure::cuda_error);
  void clear_failures();
  /// Throwing calls made so far.
  long calls() const noexcept { return calls_.load(); }
  /// Work of the test's own, such as a "kernel".
  void enqueue(RawStream stream, std::function<void()> work);
  /// Work after which the device is lost.
  void enqueue_failure(RawStream stream);
  /// Deferred mode: nothing of `stream` runs while it is held. A wait for it then throws std::logic_error.
  void hold(RawStream stream, bool held);

  struct Live {  // allocations: mapped pages count as well
    std::size_t allocations = 0, bytes = 0, host_allocations = 0, streams = 0, events = 0, ranges = 0;
    bool operator==(const Live&) const = default;
  };
  Live live() const;

  DeviceType type() const noexcept override { return DeviceType::cuda; }
  int index() const noexcept override { return 0; }
  const DeviceInfo& info() const noexcept override { return info_; }
  void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) override;
  void* allocate(std::size_t bytes) override;
  void deallocate(void* pointer, std::size_t bytes) noexcept override;
  void* allocate_host(std::size_t bytes) override;
  void deallocate_host(void* pointer, std::size_t bytes) noexcept override;
  std::size_t page_bytes() noexcept override;
  void* reserve_addresses(std::size_t bytes) override;
  void release_addresses(void* base, std::size_t bytes) noexcept override;
  void map_pages(void* at, std::size_t bytes) override;
  void unmap_pages(void* at, std::size_t bytes) noexcept override;
  RawStream create_stream(int priority) override;
  void destroy_stream(RawStream stream) noexcept override;
  int stream_priority(RawStream stream) override;
  bool query_stream(RawStream stream) override;
  void synchronize_stream(RawStream stream) override;
  void synchronize_device() override;
  RawEvent create_event() override;
  RawEvent create_timed_event() override { return create_event(); }
  double elapsed_milliseconds(RawEvent start, RawEvent end) override;
  void destroy_event(RawEvent event) noexcept override;
  void record_event(RawEvent event, RawStream stream) override;
  void wait_event(RawStream stream, RawEvent event) override;
  bool query_event(RawEvent event) override;
  void synchronize_event(RawEvent event) override;
  /// Deferred mode: a microsecond is one look, however busy the machine.
  bool synchronize_event_for(RawEvent event, std::chrono::microseconds limit) override;
  void copy(void* dst, const void* src, std::size_t bytes, CopyKind kind, RawStream stream) override;
  void fill_bytes(void* dst, int value, std::size_t bytes, RawStream stream) override;
  void host_callback(RawStream stream, void (*callback)(void*), void* argument) override;

 private:
  // One recording of an event. A later one replaces it; who waits for the earlier keeps it.
  struct Record {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::chrono::steady_clock::time_point time;  // when it was done
    bool is_done();
    void complete();
    void wait();
  };
  struct Operation {
    std::function<void()> work;
    std::shared_ptr<Record> before;  // not before this is done
  };
  struct Stream;
  struct Event {
    std::mutex mutex;
    std::shared_ptr<Record> record;
    std::shared_ptr<Record> get();
  };

  void enter(FakeCall kind);
  void push(RawStream stream, Operation operation);
  void finish(const std::shared_ptr<Record>& record);
  bool advance();
  void* grant(std::size_t bytes, bool host);
  void take_back(void* pointer, bool host) noexcept;

  const FakeOptions options_;
  DeviceInfo info_;
  std::atomic<long> calls_{0};
  std::atomic<bool> lost_{false};

  mutable std::mutex
      mutex_;  // memory, failures, lists of streams and counts; in deferred mode the queues as well
  struct Injection {
    FakeCall kind;
    long left;
    FakeFailure failure;
  };
  std::vector<Injection> injections_;
  std::unordered_map<void*, std::size_t> blocks_, host_blocks_;
  std::size_t used_bytes_ = 0, events_ = 0;
  std::map<char*, std::size_t> ranges_;
  std::set<char*> pages_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::uint64_t random_;
};

}  // namespace gpunn::testing
