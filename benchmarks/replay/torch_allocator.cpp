#include "benchmarks/replay/torch_allocator.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/error.h"

namespace gpunn::replay {
namespace {

using detail::round_up;

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kRound = 512;        // every request
constexpr std::size_t kSmallLimit = kMiB;  // largest small request
constexpr std::size_t kSmallSegment = 2 * kMiB;
constexpr std::size_t kMediumLimit = 10 * kMiB;  // below it: a shared segment
constexpr std::size_t kMediumSegment = 20 * kMiB;
constexpr std::size_t kLargeRound = 2 * kMiB;

std::size_t segment_bytes(std::size_t rounded) {
  if (rounded <= kSmallLimit) return kSmallSegment;
  return rounded < kMediumLimit ? kMediumSegment : round_up(rounded, kLargeRound);
}

struct Chunk {
  char* pointer = nullptr;
  std::size_t bytes = 0;
  RawStream stream = nullptr;
  bool small = false, in_use = false;
  Chunk *previous = nullptr, *next = nullptr;  // in its segment
  std::size_t requested = 0;
  std::vector<RawStream> users;
};

struct BySize {
  bool operator()(const Chunk* a, const Chunk* b) const {
    if (a->stream != b->stream) return a->stream < b->stream;
    if (a->bytes != b->bytes) return a->bytes < b->bytes;
    return a->pointer < b->pointer;
  }
};

class TorchAllocator final : public MemoryResource {
 public:
  explicit TorchAllocator(DeviceApi& api) : api_(api) {}

  ~TorchAllocator() override {
    for (const Waiting& w : waiting_)
      for (RawEvent event : w.events) api_.destroy_event(event);
    for (const auto& [pointer, bytes] : segments_) api_.deallocate(pointer, bytes);
  }

  void* allocate(std::size_t bytes, RawStream stream) override {
    if (bytes == 0) return nullptr;
    std::lock_guard lock(mutex_);
    if (bytes > detail::kMaxRequest) throw OutOfMemory("torch: request too large");
    process_events(false);
    const std::size_t size = round_up(bytes, kRound);
    Chunk* chunk = take(size, stream);
    if (!chunk) chunk = add_segment(size, stream);
    if (!chunk) {
      process_events(true);
      release_free_segments();
      chunk = add_segment(size, stream);
    }
    if (!chunk)
      throw OutOfMemory("torch: out of memory for " + detail::bytes_text(bytes) + " with " +
                        detail::bytes_text(stats_.reserved_bytes) + " reserved");
    split(*chunk, size);
    chunk->in_use = true;
    chunk->requested = bytes;
    live_[chunk->pointer] = chunk;
    ++stats_.allocations;
    stats_.live_bytes += bytes;
    stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
    return chunk->pointer;
  }

  void deallocate(void* pointer, std::size_t, RawStream) noexcept override {
    if (!pointer) return;
    std::lock_guard lock(mutex_);
    const auto found = live_.find(pointer);
    Chunk* const chunk = found->second;
    live_.erase(found);
    ++stats_.deallocations;
    stats_.live_bytes -= chunk->requested;
    if (chunk->users.empty()) return give(chunk);
    Waiting waiting{chunk, {}};
    for (RawStream user : chunk->users) {
      waiting.events.push_back(api_.create_event());
      api_.record_event(waiting.events.back(), user);
    }
    chunk->users.clear();
    waiting_.push_back(std::move(waiting));
  }

  void record_use(void* pointer, RawStream stream) override {
    std::lock_guard lock(mutex_);
    Chunk& chunk = *live_.at(pointer);
    const auto known = std::find(chunk.users.begin(), chunk.users.end(), stream);
    if (chunk.stream != stream && known == chunk.users.end()) chunk.users.push_back(stream);
  }

  std::size_t trim() override {
    std::lock_guard lock(mutex_);
    process_events(true);
    return release_free_segments();
  }

  MemoryStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peaks() override {
    std::lock_guard lock(mutex_);
    stats_.peak_live_bytes = stats_.live_bytes;
    stats_.peak_reserved_bytes = stats_.reserved_bytes;
  }

 private:
  using Pool = std::set<Chunk*, BySize>;
  struct Waiting {
    Chunk* chunk;
    std::vector<RawEvent> events;
  };

  Pool& pool_of(bool small) { return small ? small_ : large_; }

  // The best fit of the stream's own pool; other streams' free memory is never looked at.
  Chunk* take(std::size_t size, RawStream stream) {
    Chunk key;
    key.stream = stream;
    key.bytes = size;
    Pool& pool = pool_of(size <= kSmallLimit);
    const auto found = pool.lower_bound(&key);
    if (found == pool.end() || (*found)->stream != stream) return nullptr;
    Chunk* const chunk = *found;
    pool.erase(found);
    return chunk;
  }

  Chunk* add_segment(std::size_t size, RawStream stream) {
    const std::size_t bytes = segment_bytes(size);
    void* pointer = nullptr;
    try {
      pointer = api_.allocate(bytes);
    } catch (const OutOfMemory&) {
      return nullptr;
    }
    segments_[pointer] = bytes;
    ++stats_.device_allocations;
    stats_.reserved_bytes += bytes;
    stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
    Chunk* const chunk = make();
    chunk->pointer = static_cast<char*>(pointer);
    chunk->bytes = bytes;
    chunk->stream = stream;
    chunk->small = size <= kSmallLimit;
    return chunk;
  }

  // The rest goes back to the pool if it is worth keeping.
  void split(Chunk& chunk, std::size_t size) {
    const std::size_t left = chunk.bytes - size;
    if (chunk.small ? left < kRound : left <= kSmallLimit) return;
    Chunk* const rest = make();
    rest->pointer = chunk.pointer + size;
    rest->bytes = left;
    rest->stream = chunk.stream;
    rest->small = chunk.small;
    rest->previous = &chunk;
    rest->next = chunk.next;
    if (rest->next) rest->next->previous = rest;
    chunk.next = rest;
    chunk.bytes = size;
    pool_of(rest->small).insert(rest);
  }

  void give(Chunk* chunk) {
    chunk->in_use = false;
    Pool& pool = pool_of(chunk->small);
    if (Chunk* const before = chunk->previous; before && !before->in_use) {
      pool.erase(before);
      chunk = join(before, chunk);
    }
    if (Chunk* const after = chunk->next; after && !after->in_use) {
      pool.erase(after);
      chunk = join(chunk, after);
    }
    pool.insert(chunk);
  }

  Chunk* join(Chunk* first, Chunk* second) {
    first->bytes += second->bytes;
    first->next = second->next;
    if (first->next) first->next->previous = first;
    idle_.push_back(second);
    return first;
  }

  // Blocks whose other users are done become free.
  void process_events(bool wait) {
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      while (!it->events.empty()) {
        const RawEvent event = it->events.back();
        if (wait) api_.synchronize_event(event);
        if (!api_.query_event(event)) break;
        api_.destroy_event(event);
        it->events.pop_back();
      }
      if (!it->events.empty()) {
        ++it;
        continue;
      }
      give(it->chunk);
      it = waiting_.erase(it);
    }
  }

  std::size_t release_free_segments() {
    std::size_t total = 0;
    for (Pool* pool : {&small_, &large_})
      for (auto it = pool->begin(); it != pool->end();) {
        Chunk* const chunk = *it;
        if (chunk->previous || chunk->next) {
          ++it;
          continue;
        }
        it = pool->erase(it);
        api_.deallocate(chunk->pointer, chunk->bytes);
        segments_.erase(chunk->pointer);
        stats_.reserved_bytes -= chunk->bytes;
        total += chunk->bytes;
        idle_.push_back(chunk);
      }
    return total;
  }

  Chunk* make() {
    if (idle_.empty()) {
      chunks_.emplace_back();
      return &chunks_.back();
    }
    Chunk* const chunk = idle_.back();
    idle_.pop_back();
    *chunk = {};
    return chunk;
  }

  DeviceApi& api_;
  mutable std::mutex mutex_;
  Pool small_, large_;
  std::unordered_map<void*, Chunk*> live_;
  std::unordered_map<void*, std::size_t> segments_;
  std::deque<Waiting> waiting_;
  std::deque<Chunk> chunks_;
  std::vector<Chunk*> idle_;
  MemoryStats stats_;
};

}  // namespace

std::unique_ptr<MemoryResource> make_torch_allocator(DeviceApi& api) {
  return std::make_unique<TorchAllocator>(api);
}

}  // namespace gpunn::replay
