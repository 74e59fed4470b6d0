// The CPU's allocator. Free blocks of a class form a list through their own first bytes; there are no streams
// and hence no events, and the lock is held for a few instructions only: blocks go to the system and come
// from it outside.
#include <algorithm>
#include <array>
#include <mutex>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/poison.h"
#include "gpunn/core/detail/size_class.h"
#include "gpunn/core/detail/spin.h"
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

class HostAllocator final : public MemoryResource {
 public:
  HostAllocator(DeviceApi& api, std::size_t keep_bytes) : api_(api), keep_bytes_(keep_bytes) {}

  ~HostAllocator() override { trim(); }

  void* allocate(std::size_t bytes, RawStream stream) override {
    if (bytes == 0) return nullptr;
    if (bytes > detail::kMaxRequest) throw_out_of_memory(bytes);
    const std::size_t c = size_class_of(bytes);
    {
      std::lock_guard lock(lock_);
      if (FreeBlock* block = free_[c]) {
        detail::unpoison(block, size_of_class(c));
        free_[c] = block->next;
        kept_bytes_ -= size_of_class(c);
        count_allocation(bytes);
        detail::poison(reinterpret_cast<char*>(block) + bytes, size_of_class(c) - bytes);
        return block;
      }
    }
    return allocate_fresh(bytes, c, stream);
  }

  void deallocate(void* pointer, std::size_t bytes, RawStream) noexcept override {
    if (!pointer) return;
    const std::size_t c = size_class_of(bytes), size = size_of_class(c);
    detail::unpoison(pointer, size);
    auto* const block = static_cast<FreeBlock*>(pointer);
    FreeBlock* surplus = nullptr;
    {
      std::lock_guard lock(lock_);
      stats_.live_bytes -= bytes;
      ++stats_.deallocations;
      if (kept_bytes_ + size > keep_bytes_) [[unlikely]]
        surplus = make_room(size);
      if (kept_bytes_ + size <= keep_bytes_) [[likely]] {
        *block = {free_[c], size};
        free_[c] = block;
        kept_bytes_ += size;
        detail::poison(block + 1, size - sizeof(FreeBlock));  // the links stay visible to the leak checker
      } else {
        *block = {surplus, size};
        surplus = block;
        stats_.reserved_bytes -= size;
      }
    }
    if (surplus) [[unlikely]]
      release(surplus);
  }

  void record_use(void*, RawStream) override {}

  std::size_t trim() override {
    FreeBlock* blocks = nullptr;
    {
      std::lock_guard lock(lock_);
      blocks = take_kept(kept_bytes_);
    }
    return release(blocks);
  }

  MemoryStats stats() const override {
    std::lock_guard lock(lock_);
    return stats_;
  }

  void reset_peaks() override {
    std::lock_guard lock(lock_);
    stats_.peak_live_bytes = stats_.live_bytes;
    stats_.peak_reserved_bytes = stats_.reserved_bytes;
  }

 private:
  void count_allocation(std::size_t bytes) noexcept {
    ++stats_.allocations;
    stats_.live_bytes += bytes;
    stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
  }

  void* allocate_fresh(std::size_t bytes, std::size_t c, RawStream) {
    const std::size_t size = size_of_class(c);
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
    count_allocation(bytes);
    ++stats_.device_allocations;
    stats_.reserved_bytes += size;
    stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
    detail::poison(static_cast<char*>(pointer) + bytes, size - bytes);
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
        FreeBlock* const block = free_[c];
        detail::unpoison(block, size_of_class(c));
        free_[c] = block->next;
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
                                     " available. A smaller batch needs less"));
  }

  DeviceApi& api_;
  const std::size_t keep_bytes_;
  mutable detail::SpinLock lock_;
  std::array<FreeBlock*, detail::kSizeClasses> free_{};
  std::size_t kept_bytes_ = 0;
  MemoryStats stats_;
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
