#pragma once
// What stands behind the pointers that a caching allocator handed out, found by pointer without a lock.
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gpunn/core/detail/slab_bins.h"

namespace gpunn::detail {

/// Memory that was handed out, or waits in a thread's cache to be handed out again.
struct Piece {
  void* pointer = nullptr;
  Block* block = nullptr;        // of a large allocation
  Slab* slab = nullptr;          // of a small one
  std::size_t size = 0;          // bytes that the request was rounded up to
  std::size_t bytes = 0;         // as requested
  RawStream stream = nullptr;    // as requested
  RawStream home = nullptr;      // whose free list it came from and goes back to
  bool live = false;             // handed out
  std::uint64_t since = 0;       // when it was returned
  std::vector<RawStream> users;  // other streams that use it
  std::vector<RawEvent> events;  // that they finish with, once it was returned
  Piece* next = nullptr;         // in a list of free or cached ones
};

/// Hash table of pieces by pointer, open addressing. Changes are ordered by the caller; find() may run beside
/// insert() and erase() of other pointers, but not beside make_room(). Pointers are aligned to 256 bytes.
class PieceTable {
 public:
  PieceTable() { rehash(64); }

  Piece* find(const void* pointer) const noexcept {
    for (std::size_t i = place_of(pointer);; i = (i + 1) & mask_) {
      const void* const key = slots_[i].key.load(std::memory_order_acquire);
      if (key == pointer) return slots_[i].piece.load(std::memory_order_relaxed);
      if (!key) return nullptr;
    }
  }
  /// Is there room for one more? make_room() makes it, and throws std::bad_alloc when there is no memory.
  bool full() const noexcept { return 2 * (used_ + 1) > mask_ + 1; }
  void make_room() { rehash(std::bit_ceil(4 * (live_ + 1) + 64)); }

  void insert(Piece* piece) noexcept {
    std::size_t i = place_of(piece->pointer);
    while (const void* key = slots_[i].key.load(std::memory_order_relaxed)) {
      if (key == gone()) break;
      i = (i + 1) & mask_;
    }
    if (!slots_[i].key.load(std::memory_order_relaxed)) ++used_;
    slots_[i].piece.store(piece, std::memory_order_relaxed);
    slots_[i].key.store(piece->pointer, std::memory_order_release);
    ++live_;
  }
  void erase(const void* pointer) noexcept {
    std::size_t i = place_of(pointer);
    while (slots_[i].key.load(std::memory_order_relaxed) != pointer) i = (i + 1) & mask_;
    // At the end of a run the place is free again; within one, searches must go on past it.
    const bool last = !slots_[(i + 1) & mask_].key.load(std::memory_order_relaxed);
    slots_[i].key.store(last ? nullptr : gone(), std::memory_order_release);
    if (last) --used_;
    --live_;
  }
  std::size_t size() const noexcept { return live_; }

 private:
  struct Slot {
    std::atomic<const void*> key{nullptr};
    std::atomic<Piece*> piece{nullptr};
  };

  const void* gone() const noexcept { return this; }  // marks an erased place; never a pointer of a device
  std::size_t place_of(const void* pointer) const noexcept {
    constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;
    return static_cast<std::size_t>(((reinterpret_cast<std::uintptr_t>(pointer) >> 8) * kGolden) >> shift_);
  }
  void rehash(std::size_t places) {
    auto old = std::move(slots_);
    const std::size_t count = old ? mask_ + 1 : 0;
    try {
      slots_ = std::make_unique<Slot[]>(places);
    } catch (...) {
      slots_ = std::move(old);
      throw;
    }
    mask_ = places - 1;
    shift_ = 64 - std::countr_zero(places);
    used_ = live_ = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const void* const key = old[i].key.load(std::memory_order_relaxed);
      if (key && key != gone()) insert(old[i].piece.load(std::memory_order_relaxed));
    }
  }

  std::unique_ptr<Slot[]> slots_;
  std::size_t mask_ = 0, used_ = 0, live_ = 0;  // used: places that stop no search
  int shift_ = 64;
};

}  // namespace gpunn::detail
