#pragma once
// State behind the emulated CUDA runtime: devices, allocations, streams, events, errors.

#include <cuda_runtime.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "gpunn/core/emulation/config.h"
#include "gpunn/core/emulation/sanitizer.h"

namespace gpunn::emu {

inline constexpr int kMaxDevices = 64;

// Something that completes once: an event's recording, the end of a stream's work.
class Completion {
 public:
  void complete();
  void wait();
  bool done();
  std::chrono::steady_clock::time_point time() const { return time_; }  // when it is done

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::chrono::steady_clock::time_point time_;
  char edge_ = 0;
};

// A queue of closures with an OS thread of its own.
class Stream {
 public:
  Stream(int device, bool blocking, int priority, unsigned number)
      : device_(device), blocking_(blocking), priority_(priority), number_(number) {}
  static std::shared_ptr<Stream> start(int device, bool blocking, int priority);
  void push(std::function<void()> operation) { push(std::move(operation), false); }
  // Completes when everything pushed so far has run.
  std::shared_ptr<Completion> marker();
  bool idle();
  void close();  // the thread ends after the work that is queued
  int device() const { return device_; }
  bool blocking() const { return blocking_; }
  int priority() const { return priority_; }
  unsigned number() const { return number_; }

 private:
  struct Operation {
    std::function<void()> run;
    bool marker;  // does nothing but say that all before it is done
    char edge = 0;
  };
  void push(std::function<void()> operation, bool marker);
  void serve();
  void delay(std::uint64_t& dice) const;

  const int device_;
  const bool blocking_;
  const int priority_;
  const unsigned number_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Operation*> queue_;
  bool running_ = false, closed_ = false;
  char idle_edge_ = 0;
};

struct Event {
  int device;
  bool timed;
  std::shared_ptr<Completion> recorded;
};

struct Allocation {
  std::size_t bytes;
  int device;
  bool host;
  bool mapped = false;  // pages of virtual memory, of which neighbours stand here as one
};

struct Device {
  std::size_t used = 0;
  std::atomic<int> sticky{0};
  std::shared_ptr<Stream> null_stream;
};

// Locked with a TsanQuiet scope around. Never destroyed: streams may run on while the process exits.
struct State {
  std::mutex mutex;
  int device_count;
  std::size_t memory_bytes;  // of each device
  std::array<Device, kMaxDevices> devices;
  std::map<std::uintptr_t, Allocation> allocations;
  std::unordered_map<std::uintptr_t, std::shared_ptr<Stream>>
      streams;  // by handle, which is never used again
  std::unordered_map<std::uintptr_t, std::shared_ptr<Event>> events;
  std::unordered_map<const void*, int> shared_limits;  // kernels that opted in to more dynamic shared memory
  std::uintptr_t newest_handle = 0x1000;
  unsigned newest_stream = 0;
  std::uint64_t launch_serial = 0, launches = 0, copies = 0;
  struct Injection {
    Call kind;
    long left;
    cudaError_t code;
  };
  std::vector<Injection> injections;
};
State& state();

// Errors (runtime_error.cpp). begin() is the first thing a call does: it refuses calls from host functions,
// returns a sticky error and injected failures. finish() records a result as this thread's last error.
cudaError_t begin(Call kind);
cudaError_t begin();
cudaError_t finish(cudaError_t error);
bool is_sticky(cudaError_t error);
void set_sticky(int device, cudaError_t error);
cudaError_t sticky_error(int device);
extern thread_local bool in_host_function;

int current_device();
// By threads and shared memory; registers are not emulated. 0: not even one fits.
int blocks_per_multiprocessor(unsigned threads, std::size_t shared_bytes);

// Streams (runtime_stream.cpp). find_stream returns null for a handle that is not (or no longer) a stream.
std::shared_ptr<Stream> find_stream(cudaStream_t handle);
std::shared_ptr<Event> find_event(cudaEvent_t handle);
std::uintptr_t new_handle(State& locked);
void synchronize_device(int device);
// What the synchronous calls wait for: the null stream and those created without cudaStreamNonBlocking.
void synchronize_blocking_streams(int device);
void push_and_wait(Stream& stream, std::function<void()> operation);

// Memory (runtime_memory.cpp). The allocation that holds p, or null. Lock held by the caller.
const std::pair<const std::uintptr_t, Allocation>* find_allocation(const State& locked, const void* p);
cudaError_t release_memory(void* p, bool host);
void release_all_memory(int device);
// Unmaps and releases the device's virtual memory (runtime_virtual_memory.cpp).
void release_virtual_memory(int device);

// A number in [low, high] from the environment; anything else is reported and gives `fallback`.
std::int64_t environment_number(const char* name, std::int64_t low, std::int64_t high, std::int64_t fallback);

}  // namespace gpunn::emu
