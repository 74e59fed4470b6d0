#pragma once
// Runtime: owner of device contexts, allocators, streams, the CPU pool and caches.
//
// The process-wide Runtime is made on first use, reached through a leaked pointer and never destroyed, so
// that process exit touches no CUDA. Tests make their own and install it for a thread with RuntimeScope.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/device.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/random.h"

namespace gpunn {

class DeviceApi;
class MemoryResource;
class MemoryUsage;
class Scheduler;

struct RuntimeOptions {
  int threads = 0;                // CPU pool size; 0: GPUNN_NUM_THREADS, else the cores this process may use
  bool deterministic = true;      // GPUNN_DETERMINISTIC=0 turns it off
  bool synchronous = false;       // GPUNN_SYNC=1: wait after every launch, copy and callback
  bool shadow = false;            // GPUNN_SHADOW=1: run every op on the reference too and compare
  std::string forced = {};        // GPUNN_IMPL: "softmax=ref,matmul=cpu"
  bool memory_debug = false;      // GPUNN_MEMORY_DEBUG=1: red zones, poison, use across streams checked
  std::size_t memory_limit = 0;   // GPUNN_MEMORY_LIMIT: most bytes a GPU's allocator reserves; 0: no limit
  std::string memory_trace = {};  // GPUNN_MEMORY_TRACE: CSV file of every allocation
  /// The options with the environment applied.
  GPUNN_API static RuntimeOptions from_environment();
};

/// One device of a Runtime: its API, allocators, scheduler and streams. Thread-safe.
class GPUNN_API DeviceContext {
 public:
  DeviceContext(class Runtime& runtime, std::unique_ptr<DeviceApi> api);
  /// Waits for the device. Its tensors must be gone.
  ~DeviceContext();
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  Runtime& runtime() const noexcept { return runtime_; }
  DeviceApi& api() const noexcept { return *api_; }
  DeviceType type() const noexcept { return type_; }
  bool is_cpu() const noexcept { return type_ == DeviceType::cpu; }
  int index() const noexcept;
  MemoryResource& memory() const noexcept { return *memory_; }
  /// Who holds its memory, by tag; limits; trace.
  MemoryUsage& usage() const noexcept { return *usage_; }
  /// Pinned host memory for copies (ordinary memory on the CPU); made on first use.
  MemoryResource& pinned();
  Scheduler& scheduler() const noexcept { return *scheduler_; }

  RawStream compute_stream() const noexcept { return compute_; }
  RawStream copy_in_stream();
  RawStream copy_out_stream();
  /// The calling thread's stream on this device: the innermost StreamScope's, else the compute stream.
  RawStream current_stream() const noexcept;
  /// Waits until everything issued to the device has finished; rethrows an asynchronous failure.
  void synchronize();

  /// A stream of that priority for the caller alone, and back. Handles live as long as the context: allocator
  /// and scheduler may go on naming a stream that has been given back.
  RawStream take_stream(int priority);
  void give_stream(RawStream stream, int priority) noexcept;

 private:
  Runtime& runtime_;
  std::unique_ptr<DeviceApi> api_;
  DeviceType type_;
  struct Streams;
  std::unique_ptr<Streams> streams_;  // declared before what uses them in its destructor
  std::unique_ptr<MemoryResource> memory_, pinned_;
  std::unique_ptr<MemoryUsage> usage_;
  std::unique_ptr<Scheduler> scheduler_;
  RawStream compute_ = nullptr;
  struct Lazy;
  std::unique_ptr<Lazy> lazy_;
};

class GPUNN_API Runtime {
 public:
  explicit Runtime(RuntimeOptions options = RuntimeOptions::from_environment());
  /// Waits for its devices and releases everything; tensors of this Runtime must be gone.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// The calling thread's RuntimeScope, else the process-wide Runtime.
  static Runtime& current();

  const RuntimeOptions& options() const noexcept { return options_; }
  void set_deterministic(bool on) noexcept { options_.deterministic = on; }
  /// Replaces the CPU pool; no op may be running. Results do not depend on the number.
  void set_threads(int threads);
  CpuPool& pool() noexcept { return *pool_; }
  Generator& generator() noexcept { return generator_; }
  DeviceContext& cpu() noexcept { return *cpu_; }
  /// Opened on first use; throws Unsupported with the reason when it is not there. Thread-safe.
  DeviceContext& cuda(int index);
  /// Tests: adds a context with a fake device and returns it.
  DeviceContext& adopt(std::unique_ptr<DeviceApi> api);

 private:
  RuntimeOptions options_;
  Generator generator_;
  std::unique_ptr<CpuPool> pool_;
  std::unique_ptr<DeviceContext> cpu_;
  struct Devices;
  std::unique_ptr<Devices> devices_;
};

/// Makes `runtime` the current one of this thread.
class GPUNN_API RuntimeScope {
 public:
  explicit RuntimeScope(Runtime& runtime) noexcept;
  ~RuntimeScope();
  RuntimeScope(const RuntimeScope&) = delete;
  RuntimeScope& operator=(const RuntimeScope&) = delete;

 private:
  Runtime* previous_;
};

}  // namespace gpunn
