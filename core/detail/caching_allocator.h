#pragma once
// The caching allocator of devices with streams. What a thread returned last it finds again in its own cache;
// everything else happens under one lock. Device calls are made under it, and they are rare; waiting is not.
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "gpunn/core/detail/block_pool.h"
#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/piece_cache.h"
#include "gpunn/core/detail/piece_table.h"
#include "gpunn/core/detail/slab_bins.h"
#include "gpunn/core/detail/thread_caches.h"
#include "gpunn/core/memory.h"

namespace gpunn::detail {

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
  std::vector<MemorySegment> segments() const override;

 private:
  using Lock = std::unique_lock<std::mutex>;

  PieceCache& cache() noexcept { return static_cast<PieceCache&>(caches_.mine()); }
  void* allocate_shared(std::size_t bytes, RawStream stream);
  void deallocate_shared(Piece* piece, RawStream stream, Piece* evicted) noexcept;

  // Finding memory (caching_search.cpp)
  bool find(Piece& piece, Lock& lock);
  bool find_cached(Piece& piece);
  bool take_block(Piece& piece);
  bool take_foreign_piece(Piece& piece);
  bool grow(std::size_t bytes, RawStream stream);
  bool open_range();
  bool grow_pages(std::size_t bytes, RawStream stream);
  bool add_segment(std::size_t bytes);
  bool within_limit(std::size_t bytes) const;
  void count_growth(std::size_t bytes);

  bool drain_threads() noexcept;
  bool settled(Piece& piece);
  void collect();
  bool sweep();
  bool settle_idle_streams();
  bool settle(RawStream stream, std::uint64_t since);
  bool is_done(const Slab& slab) const noexcept;
  bool dissolve_slabs();
  bool wait_for_pending(Lock& lock);
  bool wait_for_stream(const Piece& piece, std::size_t needed, Lock& lock);
  bool wait_to_move(std::size_t needed, Lock& lock);
  bool wait_for(RawStream stream, Lock& lock, std::optional<std::chrono::microseconds> limit = {});

  void finish(Piece* piece) noexcept;
  void put_back(Piece& piece) noexcept;
  void defer(Piece* piece, RawStream also) noexcept;
  std::size_t release_unused();

  Piece* take_piece();
  void drop_piece(Piece* piece) noexcept;
  RawEvent take_event();
  void release_memory(void* pointer, std::size_t bytes) noexcept;
  [[noreturn]] void throw_out_of_memory(std::size_t bytes) const;

  DeviceApi& api_;
  const CachingOptions options_;
  mutable ThreadCaches caches_{
      []() -> std::shared_ptr<ThreadCache> { return std::make_shared<PieceCache>(); }};
  mutable std::mutex mutex_;  // guards all below; the table is read under a cache's lock as well
  BlockPool pool_;
  SlabBins bins_;
  PieceTable table_;
  std::deque<Piece> pieces_;  // owns all; references stay valid
  Piece* unused_ = nullptr;
  std::deque<Piece*> pending_;         // returned, but some stream may still use them
  std::vector<RawEvent> idle_events_;  // with room for all that were made
  std::size_t events_made_ = 0;
  std::uint64_t returns_ = 0;  // counts what was returned
  std::uint64_t moves_waited_for_ = 0;
  std::unordered_map<RawStream, std::uint64_t> done_;  // work issued before that count has finished
  void* range_ = nullptr;                              // addresses of the pool's range
  std::size_t range_bytes_ = 0;
  bool range_tried_ = false, mapping_fails_ = false;
  MemoryStats stats_;  // what concerns the device; threads count the rest
};

}  // namespace gpunn::detail
