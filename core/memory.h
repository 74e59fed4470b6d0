#pragma once
// Memory resources: where tensor storage comes from.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"

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

/// A stretch of memory taken from the device, for snapshots: one allocation, or mapped pages without a gap.
struct MemorySegment {
  /// In order of address, without gaps. A block in use may be handed out, wait for a stream, hold pieces of
  /// one small size, or be kept by a thread.
  struct Block {
    std::size_t bytes = 0;
    bool free = false;
  };
  std::uintptr_t address = 0;
  std::size_t bytes = 0;
  bool pages = false;  // of virtual memory
  std::vector<Block> blocks{};
};

/// Hands out memory whose use is ordered by streams: a block returned on a stream may be handed out again on
/// that stream at once, and on another one only after the work that used it. Pinned memory is handed out
/// again only when all work that used it has finished, since the host may write to it at once. Thread-safe;
/// counters are exact, however many threads there are.
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
  /// Gives unused memory back to the device; returns the bytes. Waits for the device.
  virtual std::size_t trim() = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peaks() = 0;
  /// What was taken from the device, in order of address; empty where the resource does not know.
  virtual std::vector<MemorySegment> segments() const;
  /// In debug mode: waits for the device, looks for damage everywhere, throws MemoryFault. Otherwise nothing.
  virtual void check();
};

/// Host memory for CPU tensors, where all work is synchronous: freed blocks are kept by size class, up to
/// `keep_bytes` (0: an eighth of the machine's memory, at most 1 GiB), since fresh pages cost more than what
/// most ops do with them. Each thread keeps the last few small ones for itself (up to a 64th of `keep_bytes`,
/// at most 1 MiB, beside the others).
GPUNN_API std::unique_ptr<MemoryResource> make_host_allocator(DeviceApi& api, std::size_t keep_bytes = 0);

/// Device or pinned-host memory straight from a DeviceApi, nothing kept; `deallocate` waits for the stream.
GPUNN_API std::unique_ptr<MemoryResource> make_direct_resource(DeviceApi& api, bool host);

struct CachingOptions {
  std::size_t limit_bytes = 0;  // most it reserves; 0: no limit
  bool host = false;            // pinned host memory instead of device memory
  bool virtual_memory = true;   // grow by mapping pages where the device can; false: in segments
};

/// Caching allocator: size classes for small blocks, best fit with splitting and coalescing for large ones,
/// per-stream free lists, reuse across streams deferred by events, and in front of it all a cache for each
/// thread with the pieces up to 1 MiB that it returned last.
///
/// It grows by the pages it needs, behind one range of addresses, where the device has virtual memory: pages
/// that lie free and idle are moved to where they are needed before memory is added; for those behind
/// unfinished work it waits now and then, at most 20 ms. Elsewhere, or when
/// mapping fails, it grows by segments. When there is no memory: reuse, wait for pending blocks (the oldest
/// first, no longer than needed), look again, wait for streams that own free blocks, release everything
/// unused, retry, then an OutOfMemory that names request, live and reserved bytes, and largest free block.
/// Waiting threads hold no lock.
GPUNN_API std::unique_ptr<MemoryResource> make_caching_allocator(DeviceApi& api, CachingOptions options = {});

/// Memory was used wrongly, as debug mode found out: what, which block, where it was allocated.
class GPUNN_API MemoryFault : public Error {
 public:
  using Error::Error;
  ~MemoryFault() override;
};

struct DebugOptions {
  bool host = false;                                     // memory that the host writes: pinned or the CPU's
  std::size_t quarantine_bytes = std::size_t{64} << 20;  // returned blocks that are kept from reuse
};

/// Debug mode over any resource of `api`. Blocks get red zones before and behind, are filled with 0xff when
/// handed out and with 0xfd when returned, and stay in quarantine for a while. Found are: writes outside a
/// block, writes after it was returned, a block returned twice or with another size or stream than it was
/// allocated with, record_use() after the return, and memory that the resource below hands out while a stream
/// that used it has not finished. On a device, zones are checked in stream order.
///
/// A fault is thrown (MemoryFault, all faults so far) by the next allocate(), trim() or check(); those that
/// nobody collected are printed when the resource is destroyed. Costs time, 512 bytes a block and the
/// quarantine, which is given up before a request fails.
GPUNN_API std::unique_ptr<MemoryResource> make_debug_resource(std::unique_ptr<MemoryResource> resource,
                                                              DeviceApi& api, DebugOptions options = {});

}  // namespace gpunn
