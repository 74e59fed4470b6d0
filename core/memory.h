#pragma once
// Memory resources: where tensor storage comes from.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device_api.h"

namespace gpunn {

struct MemoryStats {
  std::size_t live_bytes = 0;  // handed out and not yet returned, as requested
  std::size_t peak_live_bytes = 0;
  std::size_t reserved_bytes = 0;  // taken from the device
  std::size_t peak_reserved_bytes = 0;
  std::uint64_t allocations = 0;  // calls that handed out memory
  std::uint64_t deallocations = 0;
  std::uint64_t device_allocations = 0;  // calls that reached the device
};

/// Hands out memory whose use is ordered by streams: a block returned on a stream may be handed out again on
/// that stream at once, and on another one only after the work that used it. Pinned memory is handed out
/// again only when all work that used it has finished, since the host may write to it at once. Thread-safe.
class GPUNN_API MemoryResource {
 public:
  virtual ~MemoryResource();
  /// Aligned to at least 64 bytes (256 on a GPU). 0 bytes give null. Throws OutOfMemory; counters are then
  /// unchanged.
  virtual void* allocate(std::size_t bytes, RawStream stream) = 0;
  /// `bytes` and `stream` as given to allocate(). Null is ignored.
  virtual void deallocate(void* pointer, std::size_t bytes, RawStream stream) noexcept = 0;
  /// `stream` uses the block as well; its work must finish before the block is handed out again.
  virtual void record_use(void* pointer, RawStream stream) = 0;
  /// Gives unused memory back to the device; returns the bytes.
  virtual std::size_t trim() = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peaks() = 0;
};

/// Host memory for CPU tensors, where all work is synchronous: freed blocks are kept by size class, up to
/// `keep_bytes` (0: an eighth of the machine's memory, at most 1 GiB), since fresh pages cost more than what
/// most ops do with them.
GPUNN_API std::unique_ptr<MemoryResource> make_host_allocator(DeviceApi& api, std::size_t keep_bytes = 0);

/// Device or pinned-host memory straight from a DeviceApi, nothing kept; `deallocate` waits for the stream.
GPUNN_API std::unique_ptr<MemoryResource> make_direct_resource(DeviceApi& api, bool host);

struct CachingOptions {
  std::size_t limit_bytes = 0;  // most it reserves; 0: no limit
  bool host = false;            // pinned host memory instead of device memory
};

/// Caching allocator: size classes for small blocks, best fit with splitting and coalescing for large ones,
/// per-stream free lists, reuse across streams deferred by events. On failure: reuse, wait for pending
/// blocks, look again, release everything unused, retry, then an OutOfMemory that names request, live and
/// reserved bytes, and largest free block.
GPUNN_API std::unique_ptr<MemoryResource> make_caching_allocator(DeviceApi& api, CachingOptions options = {});

}  // namespace gpunn
