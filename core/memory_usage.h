#pragma once
// Who holds a device's memory: bytes and blocks by tag, limits, and what is said when memory runs out.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/memory_tag.h"

namespace gpunn {

namespace detail {
class MemoryRecorder;
}

/// What is held for one tag. Bytes are as requested, without an allocator's rounding.
struct TagUsage {
  std::size_t live_bytes = 0;
  std::size_t peak_bytes = 0;   // most since the last reset
  std::size_t limit_bytes = 0;  // 0: none
  std::uint64_t blocks = 0;     // live ones
};

/// A device's memory by tag, as tensors and workspaces take it from DeviceContext::memory(). Pinned host
/// memory of a GPU is not in it: the statistics of DeviceContext::pinned() have that. Thread-safe; the
/// figures are exact when no allocation is under way. Costs one atomic addition for an allocation and one for
/// its end.
class GPUNN_API MemoryUsage {
 public:
  MemoryUsage();
  ~MemoryUsage();
  MemoryUsage(const MemoryUsage&) = delete;
  MemoryUsage& operator=(const MemoryUsage&) = delete;

  TagUsage of(MemoryTag tag) const noexcept;
  std::size_t live_bytes(MemoryTag tag) const noexcept { return bytes_in(counter(tag).now.load(kRelaxed)); }
  /// Of all tags.
  std::size_t live_bytes() const noexcept;
  void reset_peaks() noexcept;
  /// The most that each tag held since the last call, in the order of MemoryTag. For one caller: a timeline.
  std::array<std::size_t, kMemoryTags> take_recent_peaks() noexcept;

  /// Allocations for `tag` that would bring it above `bytes` throw OutOfMemory; 0 takes the limit away.
  /// Memory that is there, or comes to the tag later by Storage::retag(), is never refused.
  void set_limit(MemoryTag tag, std::size_t bytes) noexcept;
  /// Sets limits from text: "activations=2GiB,optimizer=500MiB" (bytes, or B, KiB, MiB, GiB, TiB; "" sets
  /// none). Throws InvalidArgument naming the part that cannot be read.
  void set_limits(std::string_view text);

  /// Counts a block. For code that takes memory from a resource itself; all else goes through
  /// detail::take_memory().
  void add(MemoryTag tag, std::size_t bytes) noexcept {
    Counter& c = counter(tag);
    const std::uint64_t before = c.now.fetch_add(kBlock + bytes, kRelaxed);
    if (before >= kLastBlock) [[unlikely]]
      c.wraps.fetch_add(1, kRelaxed);
    reach(c, bytes_in(before) + bytes);
  }
  void remove(MemoryTag tag, std::size_t bytes) noexcept {
    Counter& c = counter(tag);
    if (c.now.fetch_sub(kBlock + bytes, kRelaxed) < kBlock) [[unlikely]]
      c.wraps.fetch_sub(1, kRelaxed);
  }

  bool has_limit(MemoryTag tag) const noexcept { return counter(tag).limit.load(kRelaxed) != kNoLimit; }
  /// Counts a block of a limited tag unless that passes the limit; the peak is left to reach_peak().
  bool claim(MemoryTag tag, std::size_t bytes) noexcept;
  void reach_peak(MemoryTag tag) noexcept { reach(counter(tag), live_bytes(tag)); }

  /// Is somebody recording blocks (a MemoryTrace, GPUNN_MEMORY_TRACE, GPUNN_MEMORY_DEBUG)?
  bool recording() const noexcept { return recording_.load(kRelaxed); }
  detail::MemoryRecorder& recorder() const noexcept { return *recorder_; }

 private:
  friend class detail::MemoryRecorder;
  static constexpr auto kRelaxed = std::memory_order_relaxed;
  // Bytes and blocks change together, in one word: 48 bits of bytes, more than a processor can address, and
  // 16 bits of blocks, whose overflow and underflow the thread that causes it carries over to `wraps`.
  static constexpr std::uint64_t kBlock = std::uint64_t{1} << 48;
  static constexpr std::uint64_t kLastBlock = ~std::uint64_t{0} << 48;
  static constexpr std::size_t kNoLimit = ~std::size_t{0};
  struct alignas(64) Counter {  // a cache line each: tags do not slow each other down
    std::atomic<std::uint64_t> now{0};
    std::atomic<std::int64_t> wraps{0};
    std::atomic<std::size_t> peak{0}, recent{0};  // recent <= peak
    std::atomic<std::size_t> limit{kNoLimit};
  };

  static std::size_t bytes_in(std::uint64_t word) noexcept { return word & (kBlock - 1); }
  static void reach(Counter& c, std::size_t bytes) noexcept {
    if (bytes > c.recent.load(kRelaxed)) [[unlikely]]
      raise_peaks(c, bytes);
  }
  static void raise_peaks(Counter& c, std::size_t bytes) noexcept;
  Counter& counter(MemoryTag tag) noexcept { return counters_[static_cast<std::size_t>(tag)]; }
  const Counter& counter(MemoryTag tag) const noexcept { return counters_[static_cast<std::size_t>(tag)]; }

  std::array<Counter, kMemoryTags> counters_{};
  std::atomic<bool> recording_{false};
  std::unique_ptr<detail::MemoryRecorder> recorder_;
};

class DeviceContext;

namespace detail {

/// Memory of the device for `tag`, counted and recorded; null for 0 bytes. Throws OutOfMemory, which names
/// the holders by tag (and by layer when blocks are recorded) and what would help; nothing is counted then.
GPUNN_API void* take_memory(DeviceContext& context, std::size_t bytes, RawStream stream, MemoryTag tag);
/// `tag`: what it is held for by now.
GPUNN_API void give_memory(DeviceContext& context, void* pointer, std::size_t bytes, RawStream stream,
                           MemoryTag tag) noexcept;
/// A counted block changes its tag.
GPUNN_API void change_tag(DeviceContext& context, const void* pointer, std::size_t bytes, MemoryTag from,
                          MemoryTag to) noexcept;
/// Applies GPUNN_MEMORY_TAG_LIMITS, and starts recording if the Runtime's options ask for it. Called by the
/// context's constructor. Throws InvalidArgument, or Error when the trace's file cannot be made.
void prepare_usage(DeviceContext& context);

/// "500MiB" in bytes. Throws InvalidArgument with `text`.
GPUNN_API std::size_t parse_bytes(std::string_view text);

}  // namespace detail
}  // namespace gpunn
