// Where the caching allocator finds memory: from cheap to costly.
#include <algorithm>
#include <tuple>

#include "gpunn/core/detail/caching_allocator.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"

namespace gpunn::detail {
namespace {

constexpr std::size_t kSegmentUnit = std::size_t{2} << 20;     // what a GPU maps at a time
constexpr std::size_t kLargestGrowth = std::size_t{64} << 20;  // a segment is this or one request
// Addresses reserved, in sizes of the device's memory: large blocks that come and go leave holes behind.
constexpr std::size_t kAddressFactor = 16;
// Waits that save memory: some at the start, then one in so many returned blocks; each for at least that part
// of the request. With these the torture trace reserves 1.05 of its peak where it reserved 1.52, and half as
// many waits leave it at 1.13 (device 32 events behind the host, November 2026).
constexpr std::uint64_t kFreeWaits = 64, kReturnsPerWait = 16;
constexpr std::size_t kPartWorthWaiting = 4;
constexpr std::chrono::microseconds kLongestMove{20'000};

bool is_small(std::size_t bytes) { return bytes <= kSmallRequest; }
std::size_t block_bytes(std::size_t bytes) { return round_up(bytes, kLargeUnit); }

}  // namespace

// From cheap to costly; each step either finds memory or leaves everything as it was.
bool CachingAllocator::find(Piece& piece, Lock& lock) {
  const bool small = is_small(piece.bytes);
  const std::size_t needed = small ? SlabBins::slab_bytes(piece.size) : piece.size;
  for (;;) {
    if (find_cached(piece)) return true;
    if (drain_threads() && find_cached(piece)) return true;
    if (sweep() && find_cached(piece)) return true;
    if (settle_idle_streams() && find_cached(piece)) return true;
    if (wait_to_move(needed, lock)) continue;
    if (grow(needed, piece.home)) return find_cached(piece);
    if (dissolve_slabs() && find_cached(piece)) return true;
    // The lock is open while the thread waits: afterwards everything may be different.
    if (wait_for_pending(lock) || wait_for_stream(piece, needed, lock)) continue;
    if (small && take_foreign_piece(piece)) return true;
    if (release_unused() > 0 && grow(needed, piece.home)) return find_cached(piece);
    // No room for a slab: a small request may still fit alone.
    return small && (take_block(piece) || (grow(block_bytes(piece.bytes), piece.home) && take_block(piece)));
  }
}

bool CachingAllocator::take_block(Piece& piece) {
  piece.block = pool_.take(block_bytes(piece.bytes), piece.home);
  if (!piece.block) return false;
  piece.pointer = piece.block->pointer;
  // A small request that stands alone may have less than others of its class ask for.
  if (piece.block->bytes < piece.size) piece.size = kMaxRequest;
  return true;
}

bool CachingAllocator::find_cached(Piece& piece) {
  if (!is_small(piece.bytes)) return take_block(piece);
  std::tie(piece.slab, piece.pointer) = bins_.take(piece.size, piece.home);
  if (piece.pointer) return true;
  Block* const block = pool_.take(SlabBins::slab_bytes(piece.size), piece.home);
  if (!block) return false;
  try {
    bins_.add(block, piece.size, piece.home);
  } catch (...) {
    pool_.give(block, piece.home, ++returns_);
    throw;
  }
  std::tie(piece.slab, piece.pointer) = bins_.take(piece.size, piece.home);
  return true;
}

bool CachingAllocator::take_foreign_piece(Piece& piece) {
  std::tie(piece.slab, piece.pointer) =
      bins_.take_foreign(piece.size, [this](const Slab& slab) { return is_done(slab); });
  if (!piece.pointer) return false;
  piece.home = piece.slab->stream;
  return true;
}

bool CachingAllocator::grow(std::size_t bytes, RawStream stream) {
  if (open_range() && grow_pages(bytes, stream)) return true;
  if (range_ && !mapping_fails_) return false;
  // Segments grow with what is held, so that a large program makes few of them and a small one holds little.
  const std::size_t growth =
      std::clamp(round_up(pool_.held_bytes() / 8, kSegmentUnit), kSegmentUnit, kLargestGrowth);
  const std::size_t wanted = std::max(growth, round_up(bytes, kSegmentUnit));
  return add_segment(wanted) || (wanted != bytes && add_segment(bytes));
}

bool CachingAllocator::open_range() {
  if (range_tried_) return range_ && !mapping_fails_;
  range_tried_ = true;
  const std::size_t page = options_.virtual_memory && !options_.host ? api_.page_bytes() : 0;
  if (page == 0) return false;
  const std::size_t bytes = round_up(api_.info().memory_bytes, page) * kAddressFactor;
  try {
    range_ = api_.reserve_addresses(bytes);
  } catch (const Error&) {
    return false;  // segments then; a device that is lost says so again
  }
  range_bytes_ = bytes;
  pool_.set_range(range_, bytes, page);
  return true;
}

bool CachingAllocator::grow_pages(std::size_t bytes, RawStream stream) {
  const auto growth = pool_.plan_growth(bytes, stream);
  if (!growth) return false;
  // Memory that lies free and idle in whole pages moves here rather than that more is taken.
  for (const auto& [pointer, freed] : pool_.take_free_pages(growth->bytes, growth->block))
    release_memory(pointer, freed);
  if (!within_limit(growth->bytes)) return false;
  pool_.prepare_growth();
  try {
    api_.map_pages(growth->at, growth->bytes);
  } catch (const OutOfMemory&) {
    return false;
  } catch (const DeviceLost&) {
    throw;
  } catch (const Error&) {
    mapping_fails_ = true;  // from now on in segments
    return false;
  }
  pool_.map(*growth, stream);
  count_growth(growth->bytes);
  return true;
}

bool CachingAllocator::within_limit(std::size_t bytes) const {
  return !options_.limit_bytes ||
         (bytes <= options_.limit_bytes && stats_.reserved_bytes <= options_.limit_bytes - bytes);
}

void CachingAllocator::count_growth(std::size_t bytes) {
  ++stats_.device_allocations;
  stats_.reserved_bytes += bytes;
  stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
}

bool CachingAllocator::add_segment(std::size_t bytes) {
  if (!within_limit(bytes)) return false;
  void* pointer = nullptr;
  try {
    pointer = options_.host ? api_.allocate_host(bytes) : api_.allocate(bytes);
  } catch (const OutOfMemory&) {
    return false;
  }
  count_growth(bytes);
  try {
    pool_.add_segment(pointer, bytes);
  } catch (...) {
    release_memory(pointer, bytes);
    throw;
  }
  return true;
}

// Everything that threads keep goes back into the pool.
bool CachingAllocator::drain_threads() noexcept {
  Piece* list = nullptr;
  caches_.for_each([&](ThreadCache& c) { static_cast<PieceCache&>(c).empty_into(list); });
  if (!list) return false;
  ++returns_;
  while (list) {
    Piece* const next = list->next;
    list->since = returns_;
    finish(list);
    list = next;
  }
  return true;
}

// True when the piece's last user is done.
bool CachingAllocator::settled(Piece& piece) {
  while (!piece.events.empty()) {
    const RawEvent event = piece.events.back();
    if (!api_.query_event(event)) return false;
    idle_events_.push_back(event);
    piece.events.pop_back();
  }
  return true;
}

// The cheap look of every call: the oldest pending pieces, as far as they are done.
void CachingAllocator::collect() {
  while (!pending_.empty() && settled(*pending_.front())) {
    finish(pending_.front());
    pending_.pop_front();
  }
}

// The thorough look before memory is taken from the device: streams finish in any order.
bool CachingAllocator::sweep() {
  const std::size_t before = pending_.size();
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (!settled(**it)) {
      ++it;
      continue;
    }
    finish(*it);
    it = pending_.erase(it);
  }
  return pending_.size() != before;
}

// Work on `stream` issued before that count is over: what was returned there until then is anybody's.
bool CachingAllocator::settle(RawStream stream, std::uint64_t since) {
  std::uint64_t& done = done_[stream];
  done = std::max(done, since);
  return pool_.release_to_all(stream, done);
}

// No work uses the free pieces of the slab.
bool CachingAllocator::is_done(const Slab& slab) const noexcept {
  if (!slab.stream) return true;
  const auto found = done_.find(slab.stream);
  return found != done_.end() && slab.since <= found->second;
}

// A free block of any stream will do when that stream is already past its last use.
bool CachingAllocator::settle_idle_streams() {
  bool any = false;
  for (RawStream stream : pool_.owners()) {
    if (api_.query_stream(stream)) any |= settle(stream, returns_);
  }
  return any;
}

bool CachingAllocator::dissolve_slabs() {
  return bins_.dissolve_empty(
      [this](Block* block, RawStream stream, std::uint64_t since) { pool_.give(block, stream, since); });
}

// Waits for the oldest pending piece. It stays in the list, so that others wait for it, too.
bool CachingAllocator::wait_for_pending(Lock& lock) {
  if (pending_.empty()) return false;
  const RawEvent event = pending_.front()->events.back();
  // Whoever sees first that it is done may use the event for something else: then this waits longer.
  lock.unlock();
  api_.synchronize_event(event);
  lock.lock();
  return true;
}

// Waits for a stream that owns free memory, best for one whose block fits.
bool CachingAllocator::wait_for_stream(const Piece& piece, std::size_t needed, Lock& lock) {
  RawStream stream = nullptr;
  if (const Block* block = pool_.find_foreign(needed, piece.home)) stream = block->stream;
  if (!stream)
    if (const auto owners = pool_.owners(); !owners.empty()) stream = owners.front();
  if (!stream && is_small(piece.bytes))
    stream = bins_.unsettled_owner(piece.size, [this](const Slab& slab) { return is_done(slab); });
  if (!stream) return false;
  return wait_for(stream, lock);
}

// Pages that lie free behind unfinished work, enough of them for the request: waiting for that work once
// costs less than holding more memory from now on. Not always: a program whose sizes never repeat would wait
// at every step. And not for long: the work may wait for this very thread.
bool CachingAllocator::wait_to_move(std::size_t needed, Lock& lock) {
  if (!range_ || mapping_fails_ || moves_waited_for_ > kFreeWaits + returns_ / kReturnsPerWait) return false;
  const auto busy = pool_.busy_pages();
  if (busy.total < needed / kPartWorthWaiting) return false;
  ++moves_waited_for_;
  if (wait_for(busy.most, lock, kLongestMove)) return true;
  moves_waited_for_ += kFreeWaits;
  return false;
}

// Until the stream's work is done, with a limit at most so long. The lock is open meanwhile.
bool CachingAllocator::wait_for(RawStream stream, Lock& lock,
                                std::optional<std::chrono::microseconds> limit) {
  const RawEvent event = take_event();
  const std::uint64_t since = returns_;
  bool reached = true;
  try {
    api_.record_event(event, stream);
    lock.unlock();
    if (limit)
      reached = api_.synchronize_event_for(event, *limit);
    else
      api_.synchronize_event(event);
    lock.lock();
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    idle_events_.push_back(event);
    throw;
  }
  idle_events_.push_back(event);
  if (reached) settle(stream, since);
  return reached;
}

std::size_t CachingAllocator::release_unused() {
  auto unused = pool_.take_free_segments();
  const auto pages = pool_.take_free_pages(kMaxRequest, nullptr);
  unused.insert(unused.end(), pages.begin(), pages.end());
  std::size_t total = 0;
  for (const auto& [pointer, bytes] : unused) {
    release_memory(pointer, bytes);
    total += bytes;
  }
  return total;
}

// Memory of a segment or of pages, which the pool does not know any more.
void CachingAllocator::release_memory(void* pointer, std::size_t bytes) noexcept {
  const auto offset = static_cast<std::size_t>(static_cast<char*>(pointer) - static_cast<char*>(range_));
  stats_.reserved_bytes -= bytes;
  if (options_.host) {
    api_.deallocate_host(pointer, bytes);
  } else if (range_ && offset < range_bytes_) {
    api_.unmap_pages(pointer, bytes);
  } else {
    api_.deallocate(pointer, bytes);
  }
}

}  // namespace gpunn::detail
