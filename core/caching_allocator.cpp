// The caching allocator of devices with streams. One lock; device calls are made under it, and they are rare.
#include <algorithm>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "gpunn/core/detail/block_pool.h"
#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/slab_bins.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"

namespace gpunn {
namespace {

using detail::Block;
using detail::BlockPool;
using detail::Slab;
using detail::SlabBins;

constexpr std::size_t kLargeUnit = 512;                        // large requests are rounded to it
constexpr std::size_t kSegmentUnit = std::size_t{2} << 20;     // what a GPU maps at a time
constexpr std::size_t kLargestGrowth = std::size_t{64} << 20;  // a segment is this or one request

// What stands behind a pointer that was handed out.
struct Piece {
  Block* block = nullptr;  // of a large allocation
  Slab* slab = nullptr;    // of a small one
  void* pointer = nullptr;
  std::size_t bytes = 0;  // as requested
  RawStream stream = nullptr;
  std::vector<RawStream> users;  // other streams that use it
};

// Returned by its owner, but other streams may still use it.
struct Pending {
  Piece piece;
  std::vector<RawEvent> events;
};

class CachingAllocator final : public MemoryResource {
 public:
  CachingAllocator(DeviceApi& api, CachingOptions options) : api_(api), options_(options) {}
  ~CachingAllocator() override;

  void* allocate(std::size_t bytes, RawStream stream) override;
  void deallocate(void* pointer, std::size_t bytes, RawStream stream) noexcept override;
  void record_use(void* pointer, RawStream stream) override;
  std::size_t trim() override;
  MemoryStats stats() const override;
  void reset_peaks() override;

 private:
  bool find(Piece& piece);
  bool find_cached(Piece& piece);
  bool take_block(Piece& piece);
  bool find_after_waiting(Piece& piece);
  bool borrow_foreign(std::size_t bytes, RawStream stream);
  bool grow(std::size_t bytes);
  bool add_segment(std::size_t bytes);

  bool settled(Pending& pending, bool wait);
  void collect(bool wait);
  bool sweep();
  void finish(Piece& piece) noexcept;
  void defer(Piece&& piece) noexcept;
  void all_streams_done();
  std::size_t release_unused();

  RawEvent take_event();
  void release_memory(void* pointer, std::size_t bytes) noexcept;
  [[noreturn]] void throw_out_of_memory(std::size_t bytes) const;

  DeviceApi& api_;
  const CachingOptions options_;
  mutable std::mutex mutex_;
  BlockPool pool_;
  SlabBins bins_;
  std::unordered_map<void*, Piece> live_;
  std::deque<Pending> pending_;
  std::vector<RawEvent> idle_events_;  // with room for all that were made
  std::size_t events_made_ = 0;
  MemoryStats stats_;
};

CachingAllocator::~CachingAllocator() {
  for (const Pending& p : pending_)
    for (RawEvent event : p.events) api_.destroy_event(event);
  for (RawEvent event : idle_events_) api_.destroy_event(event);
  for (const auto& [pointer, bytes] : pool_.segments()) release_memory(pointer, bytes);
}

void* CachingAllocator::allocate(std::size_t bytes, RawStream stream) {
  if (bytes == 0) return nullptr;
  std::lock_guard lock(mutex_);
  if (bytes > detail::kMaxRequest) throw_out_of_memory(bytes);
  collect(false);
  Piece piece;
  piece.bytes = bytes;
  piece.stream = stream;
  if (!find(piece)) throw_out_of_memory(bytes);
  void* const pointer = piece.pointer;
  try {
    live_.emplace(pointer, std::move(piece));
  } catch (...) {
    finish(piece);  // only its list of users can have been moved away, and that is empty
    throw;
  }
  ++stats_.allocations;
  stats_.live_bytes += bytes;
  stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
  return pointer;
}

// From cheap to costly; each step either finds memory or leaves everything as it was.
bool CachingAllocator::find(Piece& piece) {
  if (find_cached(piece)) return true;
  if (sweep() && find_cached(piece)) return true;
  const bool small = piece.bytes <= detail::kSmallRequest;
  const std::size_t exact = detail::round_up(piece.bytes, kLargeUnit);
  const std::size_t needed = small ? SlabBins::slab_bytes(SlabBins::piece_bytes(piece.bytes)) : exact;
  if (borrow_foreign(needed, piece.stream) && find_cached(piece)) return true;
  if (grow(needed)) return find_cached(piece);
  if (find_after_waiting(piece)) return true;
  if (release_unused() > 0 && grow(needed)) return find_cached(piece);
  // No room for a slab: a small request may still fit alone.
  return small && (take_block(piece) || (grow(exact) && take_block(piece)));
}

bool CachingAllocator::take_block(Piece& piece) {
  piece.block = pool_.take(detail::round_up(piece.bytes, kLargeUnit), piece.stream);
  if (!piece.block) return false;
  piece.pointer = piece.block->pointer;
  return true;
}

bool CachingAllocator::find_cached(Piece& piece) {
  if (piece.bytes > detail::kSmallRequest) return take_block(piece);
  const std::size_t size = SlabBins::piece_bytes(piece.bytes);
  std::tie(piece.slab, piece.pointer) = bins_.take(size, piece.stream);
  if (piece.pointer) return true;
  Block* const block = pool_.take(SlabBins::slab_bytes(size), piece.stream);
  if (!block) return false;
  try {
    bins_.add(block, size, piece.stream);
  } catch (...) {
    pool_.give(block, piece.stream);
    throw;
  }
  std::tie(piece.slab, piece.pointer) = bins_.take(size, piece.stream);
  return true;
}

// A free block of another stream will do when that stream is already past its last use.
bool CachingAllocator::borrow_foreign(std::size_t bytes, RawStream stream) {
  Block* const block = pool_.find_foreign(bytes, stream);
  if (!block) return false;
  const RawEvent event = take_event();
  bool done = false;
  try {
    api_.record_event(event, block->stream);
    done = api_.query_event(event);
  } catch (...) {
    idle_events_.push_back(event);
    throw;
  }
  idle_events_.push_back(event);
  if (done) pool_.release_to_all(block);
  return done;
}

bool CachingAllocator::find_after_waiting(Piece& piece) {
  if (!pending_.empty()) {
    collect(true);
    if (find_cached(piece)) return true;
  }
  api_.synchronize_device();
  all_streams_done();
  if (find_cached(piece)) return true;
  if (piece.bytes > detail::kSmallRequest) return false;
  std::tie(piece.slab, piece.pointer) = bins_.take_foreign(SlabBins::piece_bytes(piece.bytes));
  return piece.pointer != nullptr;
}

bool CachingAllocator::grow(std::size_t bytes) {
  // Segments grow with what is held, so that a large program makes few of them and a small one holds little.
  const std::size_t growth =
      std::clamp(detail::round_up(pool_.segment_bytes() / 8, kSegmentUnit), kSegmentUnit, kLargestGrowth);
  const std::size_t wanted = std::max(growth, detail::round_up(bytes, kSegmentUnit));
  return add_segment(wanted) || (wanted != bytes && add_segment(bytes));
}

bool CachingAllocator::add_segment(std::size_t bytes) {
  if (options_.limit_bytes &&
      (bytes > options_.limit_bytes || stats_.reserved_bytes > options_.limit_bytes - bytes))
    return false;
  void* pointer = nullptr;
  try {
    pointer = options_.host ? api_.allocate_host(bytes) : api_.allocate(bytes);
  } catch (const OutOfMemory&) {
    return false;
  }
  try {
    pool_.add_segment(pointer, bytes);
  } catch (...) {
    release_memory(pointer, bytes);
    throw;
  }
  ++stats_.device_allocations;
  stats_.reserved_bytes += bytes;
  stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
  return true;
}

void CachingAllocator::deallocate(void* pointer, std::size_t, RawStream stream) noexcept {
  if (!pointer) return;
  std::lock_guard lock(mutex_);
  auto node = live_.extract(pointer);
  if (node.empty()) return;
  Piece piece = std::move(node.mapped());
  ++stats_.deallocations;
  stats_.live_bytes -= piece.bytes;
  // A piece borrowed from another stream's slab goes back there, where nobody waits for this stream.
  // Pinned memory is written by the host, which follows no stream: there even the own stream must have
  // finished.
  if (options_.host || (piece.slab && piece.slab->stream != stream)) piece.users.push_back(stream);
  piece.stream = stream;
  if (piece.users.empty()) {
    finish(piece);
  } else {
    defer(std::move(piece));
  }
}

void CachingAllocator::defer(Piece&& piece) noexcept {
  Pending pending;
  try {
    pending.events.reserve(piece.users.size());
    for (RawStream user : piece.users) {
      pending.events.push_back(take_event());
      api_.record_event(pending.events.back(), user);
    }
    pending.piece = std::move(piece);
    pending_.push_back(std::move(pending));
    return;
  } catch (...) {
  }
  // No event to be had: wait here and now. A device that fails this too runs nothing any more.
  if (pending.piece.pointer) piece = std::move(pending.piece);
  for (RawEvent event : pending.events) {
    api_.destroy_event(event);
    --events_made_;
  }
  for (RawStream user : piece.users) {
    try {
      api_.synchronize_stream(user);
    } catch (...) {
    }
  }
  finish(piece);
}

void CachingAllocator::finish(Piece& piece) noexcept {
  if (piece.slab) {
    const RawStream owner = piece.slab->stream;
    if (Block* block = bins_.give(piece.slab, piece.pointer)) pool_.give(block, owner);
  } else {
    pool_.give(piece.block, piece.stream);
  }
}

// True when the piece's last user is done.
bool CachingAllocator::settled(Pending& pending, bool wait) {
  while (!pending.events.empty()) {
    const RawEvent event = pending.events.back();
    if (wait) {
      api_.synchronize_event(event);
    } else if (!api_.query_event(event)) {
      return false;
    }
    idle_events_.push_back(event);
    pending.events.pop_back();
  }
  return true;
}

// The cheap look of every call: the oldest pending pieces, as far as they are done.
void CachingAllocator::collect(bool wait) {
  while (!pending_.empty() && settled(pending_.front(), wait)) {
    finish(pending_.front().piece);
    pending_.pop_front();
  }
}

// The thorough look before memory is taken from the device: streams finish in any order.
bool CachingAllocator::sweep() {
  const std::size_t before = pending_.size();
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (!settled(*it, false)) {
      ++it;
      continue;
    }
    finish(it->piece);
    it = pending_.erase(it);
  }
  return pending_.size() != before;
}

void CachingAllocator::all_streams_done() {
  collect(true);
  bins_.dissolve_empty([this](Block* block, RawStream stream) { pool_.give(block, stream); });
  pool_.all_done();
}

std::size_t CachingAllocator::release_unused() {
  std::size_t total = 0;
  for (const auto& [pointer, bytes] : pool_.take_free_segments()) {
    release_memory(pointer, bytes);
    stats_.reserved_bytes -= bytes;
    total += bytes;
  }
  return total;
}

std::size_t CachingAllocator::trim() {
  std::lock_guard lock(mutex_);
  api_.synchronize_device();
  all_streams_done();
  return release_unused();
}

void CachingAllocator::record_use(void* pointer, RawStream stream) {
  std::lock_guard lock(mutex_);
  const auto found = live_.find(pointer);
  if (found == live_.end() || found->second.stream == stream) return;
  auto& users = found->second.users;
  if (std::find(users.begin(), users.end(), stream) == users.end()) users.push_back(stream);
}

MemoryStats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peaks() {
  std::lock_guard lock(mutex_);
  stats_.peak_live_bytes = stats_.live_bytes;
  stats_.peak_reserved_bytes = stats_.reserved_bytes;
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

void CachingAllocator::release_memory(void* pointer, std::size_t bytes) noexcept {
  if (options_.host) {
    api_.deallocate_host(pointer, bytes);
  } else {
    api_.deallocate(pointer, bytes);
  }
}

void CachingAllocator::throw_out_of_memory(std::size_t bytes) const {
  using detail::bytes_text;
  std::string text = detail::concat(
      where(), "out of ", options_.host ? "pinned host memory for " : "memory on ", name_of(api_.type()), ':',
      api_.index(), ": requested ", bytes_text(bytes), "; live ", bytes_text(stats_.live_bytes), " in ",
      live_.size(), " blocks, reserved ", bytes_text(stats_.reserved_bytes), ", largest free block ",
      bytes_text(pool_.largest_free()));
  if (options_.limit_bytes) text += ", limit " + bytes_text(options_.limit_bytes);
  throw OutOfMemory(text + ". A smaller batch or freeing tensors that are no longer used helps");
}

}  // namespace

std::unique_ptr<MemoryResource> make_caching_allocator(DeviceApi& api, CachingOptions options) {
  return std::make_unique<CachingAllocator>(api, options);
}

}  // namespace gpunn
