#pragma once
// What the runtime needs from a device. Three implementations stand behind it: the CPU, CUDA, and CUDA
// emulated on the CPU (the same source as CUDA, compiled against the emulation's runtime). Tests add fakes.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/exec.h"

namespace gpunn {

enum class CopyKind : std::uint8_t { host_to_device, device_to_host, device_to_device };

struct DeviceInfo {
  std::string name;              // "NVIDIA H100 80GB HBM3", "emulated sm_90", the CPU's model name
  std::size_t memory_bytes = 0;  // total memory of the device
  int compute_major = 0;         // 0 on the CPU
  int compute_minor = 0;
  int multiprocessors = 0;  // cores on the CPU
  std::size_t shared_bytes_optin = 0;
  bool emulated = false;
};

/// One device. Streams run their work in order and beside each other; on the CPU there is one, and it is
/// synchronous. Methods throw OutOfMemory, CudaError or DeviceLost; those marked noexcept swallow errors
/// (they run in destructors) and do nothing once the process is exiting. Thread-safe.
class GPUNN_API DeviceApi {
 public:
  virtual ~DeviceApi();

  virtual DeviceType type() const noexcept = 0;
  virtual int index() const noexcept = 0;
  virtual const DeviceInfo& info() const noexcept = 0;
  /// Makes the device current for the calling thread: for code that calls CUDA or a vendor library itself.
  virtual void activate();
  /// Free and total bytes right now.
  virtual void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) = 0;

  /// Device memory, aligned to 256 bytes (64 on the CPU). `bytes` > 0. Throws OutOfMemory.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void deallocate(void* pointer, std::size_t bytes) noexcept = 0;
  /// Page-locked host memory that copies can read and write asynchronously (ordinary memory on the CPU).
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void deallocate_host(void* pointer, std::size_t bytes) noexcept = 0;

  /// Virtual device memory: addresses are reserved once, and memory comes and goes behind them page by page.
  /// Bytes of a page, a power of two; 0: not supported, and the methods below throw Unsupported.
  virtual std::size_t page_bytes() noexcept;
  /// `bytes` (whole pages) of addresses without memory, aligned to a page.
  virtual void* reserve_addresses(std::size_t bytes);
  /// Returns a whole reservation, in which nothing is mapped any more.
  virtual void release_addresses(void* base, std::size_t bytes) noexcept;
  /// Puts fresh memory behind whole pages of a reservation, or nothing. Throws OutOfMemory.
  virtual void map_pages(void* at, std::size_t bytes);
  /// Gives the memory of mapped pages back. No work may be using them.
  virtual void unmap_pages(void* at, std::size_t bytes) noexcept;

  /// Lower `priority` runs first; 0 is the default.
  virtual RawStream create_stream(int priority) = 0;
  virtual void destroy_stream(RawStream stream) noexcept = 0;
  /// The priority that the stream has: what was asked for, within the device's range.
  virtual int stream_priority(RawStream stream) = 0;
  /// Has everything issued to the stream finished?
  virtual bool query_stream(RawStream stream) = 0;
  virtual void synchronize_stream(RawStream stream) = 0;
  /// Waits for every stream of the device.
  virtual void synchronize_device() = 0;

  virtual RawEvent create_event() = 0;
  /// An event that remembers when it was recorded.
  virtual RawEvent create_timed_event() = 0;
  /// Milliseconds between the records of two timed events, both of which are done; negative when `end` was
  /// recorded first.
  virtual double elapsed_milliseconds(RawEvent start, RawEvent end) = 0;
  virtual void destroy_event(RawEvent event) noexcept = 0;
  virtual void record_event(RawEvent event, RawStream stream) = 0;
  virtual void wait_event(RawStream stream, RawEvent event) = 0;
  /// True when all work before the last record has finished (or nothing was recorded).
  virtual bool query_event(RawEvent event) = 0;
  virtual void synchronize_event(RawEvent event) = 0;
  /// The same, but gives up after `limit`: true when the event was reached.
  virtual bool synchronize_event_for(RawEvent event, std::chrono::microseconds limit);

  /// Asynchronous on `stream`; host memory must come from allocate_host() and stay valid until the copy has
  /// run.
  virtual void copy(void* dst, const void* src, std::size_t bytes, CopyKind kind, RawStream stream) = 0;
  virtual void fill_bytes(void* dst, int value, std::size_t bytes, RawStream stream) = 0;
  /// Runs `callback(argument)` on a host thread after the work before it; it must not call the device.
  virtual void host_callback(RawStream stream, void (*callback)(void*), void* argument) = 0;

  /// GPUNN_SYNC=1: copies, fills and callbacks are waited for before their call returns, so that a failure is
  /// met at the one that failed. Set once, before the device is used.
  void set_synchronous(bool on) noexcept { synchronous_ = on; }

 protected:
  bool synchronous_ = false;
};

GPUNN_API std::unique_ptr<DeviceApi> make_cpu_device_api();
/// Null in a build without CUDA; throws Unsupported when the device is not there.
GPUNN_API std::unique_ptr<DeviceApi> make_cuda_device_api(int index);

}  // namespace gpunn
