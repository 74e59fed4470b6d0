// Handing out and taking back.
#include <algorithm>

#include "gpunn/core/detail/caching_allocator.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"

namespace gpunn {
namespace detail {
namespace {

std::size_t size_of(std::size_t bytes) {
  return bytes <= kSmallRequest ? SlabBins::piece_bytes(bytes) : round_up(bytes, kLargeUnit);
}

}  // namespace

CachingAllocator::~CachingAllocator() {
  for (const Piece* p : pending_)
    for (RawEvent event : p->events) api_.destroy_event(event);
  for (RawEvent event : idle_events_) api_.destroy_event(event);
  for (const auto& [pointer, bytes] : pool_.segments()) release_memory(pointer, bytes);
  if (!range_) return;
  try {
    api_.synchronize_device();  // as freeing memory would; taking pages away does not wait
  } catch (...) {
  }
  for (const auto& [pointer, bytes] : pool_.mapped_runs()) api_.unmap_pages(pointer, bytes);
  api_.release_addresses(range_, range_bytes_);
}

void* CachingAllocator::allocate(std::size_t bytes, RawStream stream) {
  if (bytes == 0) return nullptr;
  PieceCache& mine = cache();
  if (bytes <= kCachedPiece) {
    bool counted = false;
    Piece* piece = nullptr;
    {
      std::lock_guard lock(mine.lock);
      piece = mine.take(size_of(bytes), stream);
      if (piece) {
        piece->bytes = bytes;
        piece->live = true;
        counted = mine.count_allocation(bytes);
      }
    }
    if (piece) {
      if (!counted) caches_.count_allocation(mine, bytes);
      return piece->pointer;
    }
  }
  void* const pointer = allocate_shared(bytes, stream);
  caches_.count_allocation(mine, bytes);
  return pointer;
}

void* CachingAllocator::allocate_shared(std::size_t bytes, RawStream stream) {
  Lock lock(mutex_);
  if (bytes > kMaxRequest) throw_out_of_memory(bytes);
  collect();
  Piece* const piece = take_piece();
  piece->bytes = bytes;
  piece->size = size_of(bytes);
  piece->stream = stream;
  piece->home = options_.host ? nullptr : stream;  // pinned memory waits for its last user before it returns
  piece->live = true;
  try {
    if (!find(*piece, lock)) throw_out_of_memory(bytes);
    // The threads that search the table do so under the locks of their caches.
    if (table_.full()) caches_.with_all([this] { table_.make_room(); });
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    if (piece->pointer) put_back(*piece);
    drop_piece(piece);
    throw;
  }
  table_.insert(piece);
  return piece->pointer;
}

void CachingAllocator::deallocate(void* pointer, std::size_t, RawStream stream) noexcept {
  if (!pointer) return;
  PieceCache& mine = cache();
  Piece *piece = nullptr, *evicted = nullptr;
  {
    std::lock_guard lock(mine.lock);
    piece = table_.find(pointer);
    if (!piece || !piece->live) return;
    piece->live = false;
    mine.count_deallocation(piece->bytes);
    if (piece->size <= kCachedPiece && piece->home == stream && piece->users.empty() &&
        mine.give(piece, evicted))
      piece = nullptr;
  }
  if (piece || evicted) deallocate_shared(piece, stream, evicted);
}

void CachingAllocator::deallocate_shared(Piece* piece, RawStream stream, Piece* evicted) noexcept {
  std::lock_guard lock(mutex_);
  ++returns_;
  while (evicted) {
    Piece* const next = evicted->next;
    evicted->since = returns_;
    finish(evicted);
    evicted = next;
  }
  if (!piece) return;
  piece->since = returns_;
  if (piece->block && !options_.host) piece->home = stream;
  // A piece borrowed from another stream's slab goes back there, where nobody waits for this stream. Pinned
  // memory is written by the host, which follows no stream: there even the own stream must have finished.
  const bool own_too = piece->home != stream;
  if (piece->users.empty() && !own_too) return finish(piece);
  defer(piece, own_too ? stream : nullptr);
  try {
    collect();
  } catch (const std::exception&) {
    // A lost device says so at the next call that can throw.
  }
}

// `also`: one more stream that uses it, or null.
void CachingAllocator::defer(Piece* piece, RawStream also) noexcept {
  const auto record = [&](RawStream user) {
    piece->events.push_back(take_event());
    api_.record_event(piece->events.back(), user);
  };
  try {
    piece->events.reserve(piece->users.size() + 1);
    for (RawStream user : piece->users) record(user);
    if (also) record(also);
    pending_.push_back(piece);
    return;
  } catch (...) {
  }
  // No event to be had: wait here and now. A device that fails this too runs nothing any more.
  for (RawEvent event : piece->events) {
    api_.destroy_event(event);
    --events_made_;
  }
  piece->events.clear();
  const auto wait = [&](RawStream user) {
    try {
      api_.synchronize_stream(user);
    } catch (...) {
    }
  };
  for (RawStream user : piece->users) wait(user);
  if (also) wait(also);
  finish(piece);
}

// Into the pool, where nothing refers to the piece any more.
void CachingAllocator::put_back(Piece& piece) noexcept {
  if (piece.slab) {
    const RawStream owner = piece.slab->stream;
    if (Block* block = bins_.give(piece.slab, piece.pointer, piece.since)) pool_.give(block, owner, returns_);
  } else {
    pool_.give(piece.block, piece.home, piece.since);
  }
}

void CachingAllocator::finish(Piece* piece) noexcept {
  table_.erase(piece->pointer);
  put_back(*piece);
  drop_piece(piece);
}

std::size_t CachingAllocator::trim() {
  Lock lock(mutex_);
  drain_threads();
  const std::uint64_t since = returns_;
  lock.unlock();
  api_.synchronize_device();
  lock.lock();
  sweep();
  dissolve_slabs();
  for (RawStream stream : pool_.owners()) settle(stream, since);
  return release_unused();
}

void CachingAllocator::record_use(void* pointer, RawStream stream) {
  std::lock_guard lock(mutex_);
  Piece* const piece = table_.find(pointer);
  if (!piece || !piece->live || piece->stream == stream) return;
  auto& users = piece->users;
  if (std::find(users.begin(), users.end(), stream) == users.end()) users.push_back(stream);
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return caches_.with_totals(stats_);
}

std::vector<MemorySegment> CachingAllocator::segments() const {
  std::lock_guard lock(mutex_);
  return pool_.describe();
}

void CachingAllocator::reset_peaks() {
  std::lock_guard lock(mutex_);
  caches_.reset_peak();
  stats_.peak_reserved_bytes = stats_.reserved_bytes;
}

Piece* CachingAllocator::take_piece() {
  if (!unused_) return &pieces_.emplace_back();
  Piece* const piece = unused_;
  unused_ = piece->next;
  return piece;
}

void CachingAllocator::drop_piece(Piece* piece) noexcept {
  piece->pointer = nullptr;
  piece->block = nullptr;
  piece->slab = nullptr;
  piece->users.clear();
  piece->next = unused_;
  unused_ = piece;
}

RawEvent CachingAllocator::take_event() {
  if (idle_events_.empty()) {
    if (events_made_ >= idle_events_.capacity()) idle_events_.reserve(2 * events_made_ + 8);
    const RawEvent event = api_.create_event();
    ++events_made_;
    return event;
  }
  const RawEvent event = idle_events_.back();
  idle_events_.pop_back();
  return event;
}

void CachingAllocator::throw_out_of_memory(std::size_t bytes) const {
  const auto counted = caches_.totals();
  std::string text = concat(
      where(), "out of ", options_.host ? "pinned host memory for " : "memory on ", name_of(api_.type()), ':',
      api_.index(), ": requested ", bytes_text(bytes), "; live ", bytes_text(counted.live_bytes), " in ",
      counted.allocations - counted.deallocations, " blocks, reserved ", bytes_text(stats_.reserved_bytes),
      ", largest free block ", bytes_text(pool_.largest_free()));
  if (options_.limit_bytes) text += ", limit " + bytes_text(options_.limit_bytes);
  throw OutOfMemory(text + (options_.limit_bytes ? "; a higher limit helps" : ""));
}

}  // namespace detail

std::unique_ptr<MemoryResource> make_caching_allocator(DeviceApi& api, CachingOptions options) {
  return std::make_unique<detail::CachingAllocator>(api, options);
}

}  // namespace gpunn
