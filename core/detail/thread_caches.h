#pragma once
// What threads keep for themselves in front of an allocator, and counters that are exact without a place
// where all threads meet.
//
// Each thread has a cache of its own behind a lock that nobody else wants, so taking it costs some ten
// instructions; whoever needs everything (statistics, trim, a request that finds no memory) takes them one
// after the other. A cache outlives its thread, and a later thread takes it over with what is in it.
//
// The peak of live bytes is exact, too. A thread may raise its live bytes by its credit without telling
// anybody: the credits and the live bytes of all threads together never exceed the peak. What a thread frees
// adds to its credit; one whose credit is used up meets with all others, which finds the true sum, raises the
// peak if it is passed, and deals out what is left below it.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "gpunn/core/detail/spin.h"
#include "gpunn/core/memory.h"

namespace gpunn::detail {

struct ThreadCache {
  virtual ~ThreadCache();

  SpinLock lock;                            // guards all below, and what derived classes add
  std::int64_t live_bytes = 0, credit = 0;  // live: of this thread's calls; negative if it frees for others
  std::uint64_t allocations = 0, deallocations = 0;

  /// Counts an allocation when the credit covers it.
  bool count_allocation(std::size_t bytes) noexcept {
    const auto b = static_cast<std::int64_t>(bytes);
    if (b > credit) return false;
    credit -= b;
    live_bytes += b;
    ++allocations;
    return true;
  }
  void count_deallocation(std::size_t bytes) noexcept {
    const auto b = static_cast<std::int64_t>(bytes);
    credit += b;
    live_bytes -= b;
    ++deallocations;
  }

  std::uint64_t owner = 0;          // the ThreadCaches it belongs to
  std::atomic<bool> idle{false};    // its thread has ended
  std::atomic<bool> orphan{false};  // its ThreadCaches has
};

/// The caches of one allocator. Locks are taken in this order: the allocator's own, this one's, a cache's.
class ThreadCaches {
 public:
  using Make = std::shared_ptr<ThreadCache> (*)();
  explicit ThreadCaches(Make make);
  ~ThreadCaches();
  ThreadCaches(const ThreadCaches&) = delete;
  ThreadCaches& operator=(const ThreadCaches&) = delete;

  /// The calling thread's. Of threads that are ending, and where memory for another ran out, a common one.
  ThreadCache& mine() noexcept {
    const Place& place = t_places[id_ % kPlaces];
    return place.owner == id_ ? *place.cache : find();
  }
  /// Calls `f(cache)` for each with its lock held.
  template <class F>
  void for_each(F&& f) {
    std::lock_guard lock(mutex_);
    for (const auto& cache : caches_) {
      std::lock_guard guard(cache->lock);
      f(*cache);
    }
  }
  /// Calls `f()` while every cache's lock is held.
  template <class F>
  void with_all(F&& f) {
    std::lock_guard lock(mutex_);
    const AllLocked all(*this);
    f();
  }

  /// Counts an allocation whatever the credit. No cache's lock is held.
  void count_allocation(ThreadCache& cache, std::size_t bytes) noexcept;

  struct Totals {
    std::size_t live_bytes = 0, peak_live_bytes = 0;
    std::uint64_t allocations = 0, deallocations = 0;
  };
  Totals totals() const noexcept;
  /// `device` with what the threads counted.
  MemoryStats with_totals(MemoryStats device) const noexcept;
  void reset_peak() noexcept;

 private:
  struct Place {
    std::uint64_t owner = 0;
    ThreadCache* cache = nullptr;
  };
  struct AllLocked {
    explicit AllLocked(const ThreadCaches& caches) noexcept : all(caches.caches_) {
      for (const auto& cache : all) cache->lock.lock();
    }
    ~AllLocked() {
      for (const auto& cache : all) cache->lock.unlock();
    }
    const std::vector<std::shared_ptr<ThreadCache>>& all;
  };
  static constexpr std::size_t kPlaces = 8;
  // Where this thread finds its caches: by owner, a later one displaces an earlier one.
  static constinit thread_local Place t_places[kPlaces];
  friend struct ThreadEnd;

  ThreadCache& find() noexcept;
  void deal(std::int64_t headroom) noexcept;

  const std::uint64_t id_;  // never used again in this process
  const Make make_;
  mutable std::mutex mutex_;                          // guards the list and the peak
  std::vector<std::shared_ptr<ThreadCache>> caches_;  // the first is the common one
  std::int64_t peak_live_bytes_ = 0;
};

}  // namespace gpunn::detail
