// The CPU's allocator. Free blocks of a class form a list through their own first bytes; there are no streams
// and hence no events. Small blocks stay with the thread that returned them, as far as its share goes; the
// lock over all others is held for a few instructions only: blocks go to the system and come from it outside.
#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <utility>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/poison.h"
#include "gpunn/core/detail/size_class.h"
#include "gpunn/core/detail/spin.h"
#include "gpunn/core/detail/thread_caches.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"

namespace gpunn {
namespace {

using detail::size_class_of;
using detail::size_of_class;

struct FreeBlock {
  FreeBlock* next;
  std::size_t bytes;  // of the class; read when the block goes back to the system
};

constexpr std::size_t kThreadShare = std::size_t{1} << 20;  // most that a thread keeps

struct HostCache final : detail::ThreadCache {
  std::array<FreeBlock*, size_class_of(kThreadShare) + 1> free{};
  std::size_t kept_bytes = 0;
};

class HostAllocator final : public MemoryResource {
 public:
  HostAllocator(DeviceApi& api, std::size_t keep_bytes)
      : api_(api), keep_bytes_(keep_bytes), share_bytes_(std::min(kThreadShare, keep_bytes / 64)) {}

  ~HostAllocator() override { trim(); }

  void* allocate(std::size_t bytes, RawStream) override {
    if (bytes == 0) return nullptr;
    if (bytes > detail::kMaxRequest) throw_out_of_memory(bytes);
    const std::size_t c = size_class_of(bytes);
    HostCache& mine = cache();
    FreeBlock* block = nullptr;
    bool counted = false;
    if (shares(size_of_class(c))) {
      std::lock_guard lock(mine.lock);
      if ((block = pop(mine.free[c], c))) {
        mine.kept_bytes -= size_of_class(c);
        counted = mine.count_allocation(bytes);
      }
    }
    if (!block) {
      std::lock_guard lock(lock_);
      if ((block = pop(free_[c], c))) kept_bytes_ -= size_of_class(c);
    }
    if (!block) block = static_cast<FreeBlock*>(allocate_fresh(bytes, size_of_class(c)));
    if (!counted) caches_.count_allocation(mine, bytes);
    detail::poison(reinterpret_cast<char*>(block) + bytes, size_of_class(c) - bytes);
    return block;
  }

  void deallocate(void* pointer, std::size_t bytes, RawStream) noexcept override {
    if (!pointer) return;
    const std::size_t c = size_class_of(bytes), size = size_of_class(c);
    detail::unpoison(pointer, size);
    auto* const block = static_cast<FreeBlock*>(pointer);
    HostCache& mine = cache();
    {
      std::lock_guard lock(mine.lock);
      mine.count_deallocation(bytes);
      if (shares(size) && mine.kept_bytes + size <= share_bytes_) {
        push(mine.free[c], block, size);
        mine.kept_bytes += size;
        return;
      }
    }
    keep_or_release(block, c, size);
  }

  void record_use(void*, RawStream) override {}

  std::size_t trim() override {
    FreeBlock* blocks = nullptr;
    std::size_t shared = 0;
    caches_.for_each([&](detail::ThreadCache& cache) {
      auto& c = static_cast<HostCache&>(cache);
      for (auto& list : c.free) take_all(list, blocks);
      shared += std::exchange(c.kept_bytes, 0);
    });
    {
      std::lock_guard lock(lock_);
      stats_.reserved_bytes -= shared;
      if (FreeBlock* const kept = take_kept(kept_bytes_)) {
        FreeBlock* last = kept;
        while (last->next) last = last->next;
        last->next = blocks;
        blocks = kept;
      }
    }
    return release(blocks);
  }

  MemoryStats stats() const override {
    MemoryStats device;
    {
      std::lock_guard lock(lock_);
      device = stats_;
    }
    return caches_.with_totals(device);
  }

  void reset_peaks() override {
    caches_.reset_peak();
    std::lock_guard lock(lock_);
    stats_.peak_reserved_bytes = stats_.reserved_bytes;
  }

 private:
  HostCache& cache() noexcept { return static_cast<HostCache&>(caches_.mine()); }
  // Do threads keep blocks of that size? Not such as would fill their share at once.
  bool shares(std::size_t size) const noexcept { return size <= share_bytes_ / 4; }

  static FreeBlock* pop(FreeBlock*& list, std::size_t c) noexcept {
    FreeBlock* const block = list;
    if (!block) return nullptr;
    detail::unpoison(block, size_of_class(c));
    list = block->next;
    return block;
  }
  static void push(FreeBlock*& list, FreeBlock* block, std::size_t size) noexcept {
    *block = {list, size};
    list = block;
    detail::poison(block + 1, size - sizeof(FreeBlock));  // the links stay visible to the leak checker
  }
  static void take_all(FreeBlock*& list, FreeBlock*& taken) noexcept {
    while (FreeBlock* const block = list) {
      detail::unpoison(block, block->bytes);
      list = block->next;
      block->next = taken;
      taken = block;
    }
  }

  void keep_or_release(FreeBlock* block, std::size_t c, std::size_t size) noexcept {
    FreeBlock* surplus = nullptr;
    {
      std::lock_guard lock(lock_);
      if (kept_bytes_ + size > keep_bytes_) [[unlikely]]
        surplus = make_room(size);
      if (kept_bytes_ + size <= keep_bytes_) [[likely]] {
        push(free_[c], block, size);
        kept_bytes_ += size;
      } else {
        *block = {surplus, size};
        surplus = block;
        stats_.reserved_bytes -= size;
      }
    }
    if (surplus) [[unlikely]]
      release(surplus);
  }

  void* allocate_fresh(std::size_t bytes, std::size_t size) {
    void* pointer = nullptr;
    try {
      pointer = api_.allocate(size);
    } catch (const OutOfMemory&) {
      if (trim() == 0) throw_out_of_memory(bytes);
      try {
        pointer = api_.allocate(size);
      } catch (const OutOfMemory&) {
        throw_out_of_memory(bytes);
      }
    }
    std::lock_guard lock(lock_);
    ++stats_.device_allocations;
    stats_.reserved_bytes += size;
    stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
    return pointer;
  }

  // A full store lets its largest blocks go first: sizes that are no longer asked for would fill it for ever.
  FreeBlock* make_room(std::size_t size) noexcept {
    return size <= keep_bytes_ ? take_kept(kept_bytes_ + size - keep_bytes_) : nullptr;
  }

  // Takes at least `bytes` out of the store (all of it if there is less); the lock is held.
  FreeBlock* take_kept(std::size_t bytes) noexcept {
    FreeBlock* taken = nullptr;
    std::size_t total = 0;
    for (std::size_t c = detail::kSizeClasses; c-- > 0 && total < bytes;) {
      while (free_[c] && total < bytes) {
        FreeBlock* const block = pop(free_[c], c);
        block->next = taken;
        taken = block;
        total += size_of_class(c);
      }
    }
    kept_bytes_ -= total;
    stats_.reserved_bytes -= total;
    return taken;
  }

  std::size_t release(FreeBlock* blocks) noexcept {
    std::size_t total = 0;
    while (blocks) {
      FreeBlock* const next = blocks->next;
      const std::size_t size = blocks->bytes;
      api_.deallocate(blocks, size);
      total += size;
      blocks = next;
    }
    return total;
  }

  [[noreturn]] void throw_out_of_memory(std::size_t bytes) {
    const MemoryStats now = stats();
    std::size_t free_bytes = 0, total_bytes = 0;
    api_.memory_info(free_bytes, total_bytes);
    throw OutOfMemory(detail::concat(where(), "out of memory on cpu: requested ", detail::bytes_text(bytes),
                                     "; live ", detail::bytes_text(now.live_bytes), ", reserved ",
                                     detail::bytes_text(now.reserved_bytes), "; the machine has ",
                                     detail::bytes_text(total_bytes), ", ", detail::bytes_text(free_bytes),
                                     " available"));
  }

  DeviceApi& api_;
  const std::size_t keep_bytes_, share_bytes_;  // for all threads, and for each beside
  mutable detail::ThreadCaches caches_{
      []() -> std::shared_ptr<detail::ThreadCache> { return std::make_shared<HostCache>(); }};
  mutable detail::SpinLock lock_;  // guards all below
  std::array<FreeBlock*, detail::kSizeClasses> free_{};
  std::size_t kept_bytes_ = 0;
  MemoryStats stats_;  // what concerns the system; threads count the rest
};

}  // namespace

std::unique_ptr<MemoryResource> make_host_allocator(DeviceApi& api, std::size_t keep_bytes) {
  constexpr std::size_t kMostKept = std::size_t{1} << 30;
  if (keep_bytes == 0) {
    std::size_t free_bytes = 0, total_bytes = 0;
    api.memory_info(free_bytes, total_bytes);
    keep_bytes = std::min(kMostKept, total_bytes / 8);
  }
  return std::make_unique<HostAllocator>(api, keep_bytes);
}

}  // namespace gpunn
