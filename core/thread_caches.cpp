#include "gpunn/core/detail/thread_caches.h"

#include <algorithm>

namespace gpunn::detail {
namespace {

constinit std::atomic<std::uint64_t> newest_id{0};
constinit thread_local bool t_ended = false;

}  // namespace

constinit thread_local ThreadCaches::Place ThreadCaches::t_places[kPlaces] = {};

// A thread's share in its caches. Allocators are used after it is gone, too: by destructors of static
// objects.
struct ThreadEnd {
  std::vector<std::shared_ptr<ThreadCache>> caches;

  ~ThreadEnd() {
    t_ended = true;
    for (auto& place : ThreadCaches::t_places) place = {};
    for (const auto& cache : caches) cache->idle.store(true, std::memory_order_release);
  }
};

namespace {
thread_local ThreadEnd t_end;
}

ThreadCache::~ThreadCache() = default;

ThreadCaches::ThreadCaches(Make make) : id_(++newest_id), make_(make) { caches_.push_back(make()); }

ThreadCaches::~ThreadCaches() {
  for (const auto& cache : caches_) cache->orphan.store(true, std::memory_order_release);
}

ThreadCache& ThreadCaches::find() noexcept {
  if (t_ended) return *caches_.front();
  try {
    auto& mine = t_end.caches;
    const auto known = std::find_if(mine.begin(), mine.end(), [&](const auto& c) { return c->owner == id_; });
    if (known != mine.end()) {
      t_places[id_ % kPlaces] = {id_, known->get()};
      return **known;
    }
    std::erase_if(mine, [](const auto& c) { return c->orphan.load(std::memory_order_acquire); });
    mine.reserve(mine.size() + 1);
    std::lock_guard lock(mutex_);
    std::shared_ptr<ThreadCache> cache;
    for (const auto& c : caches_) {
      bool idle = true;
      if (c->idle.compare_exchange_strong(idle, false, std::memory_order_acquire)) {
        cache = c;
        break;
      }
    }
    if (!cache) {
      cache = make_();
      cache->owner = id_;
      caches_.push_back(cache);
    }
    mine.push_back(cache);
    t_places[id_ % kPlaces] = {id_, cache.get()};
    return *cache;
  } catch (...) {
    return *caches_.front();
  }
}

// Every cache is locked.
void ThreadCaches::deal(std::int64_t headroom) noexcept {
  const std::int64_t share = headroom / static_cast<std::int64_t>(caches_.size());
  for (const auto& cache : caches_) cache->credit = share;
}

void ThreadCaches::count_allocation(ThreadCache& cache, std::size_t bytes) noexcept {
  {
    std::lock_guard guard(cache.lock);
    if (cache.count_allocation(bytes)) return;
  }
  std::lock_guard lock(mutex_);
  const AllLocked all(*this);
  cache.live_bytes += static_cast<std::int64_t>(bytes);
  ++cache.allocations;
  std::int64_t live = 0;
  for (const auto& c : caches_) live += c->live_bytes;
  peak_live_bytes_ = std::max(peak_live_bytes_, live);
  deal(peak_live_bytes_ - live);
}

ThreadCaches::Totals ThreadCaches::totals() const noexcept {
  std::lock_guard lock(mutex_);
  const AllLocked all(*this);
  Totals sum;
  std::int64_t live = 0;
  for (const auto& c : caches_) {
    live += c->live_bytes;
    sum.allocations += c->allocations;
    sum.deallocations += c->deallocations;
  }
  sum.live_bytes = static_cast<std::size_t>(live);
  sum.peak_live_bytes = static_cast<std::size_t>(peak_live_bytes_);
  return sum;
}

MemoryStats ThreadCaches::with_totals(MemoryStats device) const noexcept {
  const Totals counted = totals();
  device.live_bytes = counted.live_bytes;
  device.peak_live_bytes = counted.peak_live_bytes;
  device.allocations = counted.allocations;
  device.deallocations = counted.deallocations;
  return device;
}

void ThreadCaches::reset_peak() noexcept {
  std::lock_guard lock(mutex_);
  const AllLocked all(*this);
  peak_live_bytes_ = 0;
  for (const auto& c : caches_) peak_live_bytes_ += c->live_bytes;
  deal(0);
}

}  // namespace gpunn::detail
