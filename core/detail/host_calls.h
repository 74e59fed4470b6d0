#pragma once
// Host functions that run in the order of a device's streams.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <mutex>

#include "gpunn/core/exec.h"

namespace gpunn {
class DeviceApi;
}

namespace gpunn::detail {

/// Owns every function from the call until a host thread has seen it finished: the thread that runs it must
/// not call the device, and destroying a function may (a captured tensor gives its memory back). Thread-safe.
class HostCalls {
 public:
  explicit HostCalls(DeviceApi& api) : api_(api) {}
  HostCalls(const HostCalls&) = delete;
  HostCalls& operator=(const HostCalls&) = delete;

  void enqueue(RawStream stream, std::function<void()> function);
  /// Destroys the functions that have run.
  void collect() noexcept;
  /// Throws the oldest exception of a function on `stream` (null: on any), once.
  void rethrow(RawStream stream);
  /// Destroys all functions; those that have not begun will not. For the end of a device, lost or idle.
  void clear() noexcept;

 private:
  enum class Progress : std::uint8_t { waiting, begun, abandoned };
  struct Call {
    HostCalls* owner = nullptr;
    RawStream stream = nullptr;
    std::function<void()> function{};
    std::exception_ptr failure{};
    std::list<Call>::iterator self{};
    std::atomic<Progress> progress{Progress::waiting};
  };
  static void run(void* call) noexcept;
  static void abandon(std::list<Call>& calls) noexcept;

  DeviceApi& api_;
  std::mutex mutex_;  // never held while the device is called
  std::condition_variable changed_;
  std::list<Call> waiting_, done_, failed_;  // calls move between lists, so that only enqueue() allocates
};

}  // namespace gpunn::detail
