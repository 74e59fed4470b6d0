#pragma once
// Memory cut into blocks: best fit, splitting, coalescing. It stands in segments, or in a range of addresses
// of which pages are mapped and unmapped. Arithmetic on addresses only; the memory itself is never touched
// and no device is called. Not thread-safe.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpunn/core/detail/size_class.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/memory.h"

namespace gpunn::detail {

/// A piece of a segment or range. A free one belongs to a stream: work issued there may use it at once, other
/// work must wait.
struct Block {
  char* pointer = nullptr;
  std::size_t bytes = 0;
  RawStream stream = nullptr;  // of a free block; null: no unfinished work touches it, any stream may have it
  std::uint64_t since = 0;     // when the newest part of a free block was returned, in the owner's count
  bool free = false;
  bool mapped = true;         // false: addresses of a range without memory
  bool paged = false;         // stands in a range
  Block* previous = nullptr;  // neighbours in the segment or range
  Block* next = nullptr;
  Block* list_previous = nullptr;  // neighbours in the free list
  Block* list_next = nullptr;
};

/// Free blocks of one stream by size class, without order inside a class.
class FreeList {
 public:
  void insert(Block* block) noexcept;
  void erase(Block* block) noexcept;
  /// The smallest block of `bytes` or more, lowest address first; null when there is none.
  Block* fit(std::size_t bytes) const noexcept;
  Block* largest() const noexcept;
  bool empty() const noexcept;
  /// Calls `f(block)` by rising class; `f` must leave the list as it is.
  template <class F>
  void for_each(F&& f) const {
    for (std::size_t c = next_class(0); c < kSizeClasses; c = next_class(c + 1))
      for (Block* b = heads_[c]; b; b = b->list_next) f(b);
  }

 private:
  static constexpr std::size_t kWords = (kSizeClasses + 63) / 64;
  std::size_t next_class(std::size_t from) const noexcept;

  std::array<Block*, kSizeClasses> heads_{};
  std::array<std::uint64_t, kWords> present_{};
};

class BlockPool {
 public:
  using Segment = std::pair<void*, std::size_t>;

  BlockPool() = default;
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  /// Adds fresh memory as one free block that any stream may have.
  void add_segment(void* pointer, std::size_t bytes);
  /// The smallest block of `bytes` or more that `stream` may use at once, cut to size; null when there is
  /// none.
  Block* take(std::size_t bytes, RawStream stream);
  /// The smallest such block of any other stream, left where it is.
  Block* find_foreign(std::size_t bytes, RawStream stream) const noexcept;
  /// Returns a block; from now on work on `stream` may use it. Merges it with free neighbours of that stream
  /// or of none.
  void give(Block* block, RawStream stream, std::uint64_t since = 0) noexcept;
  /// Work on `stream` has finished that was issued before count `since`: blocks returned until then become
  /// anybody's. True when there were any.
  bool release_to_all(RawStream stream, std::uint64_t since);
  /// Streams that own free blocks.
  std::vector<RawStream> owners() const;
  /// Takes segments out that are wholly free and anybody's.
  std::vector<Segment> take_free_segments();

  /// The range, without memory at first; both are multiples of `page_bytes`. At most one in a pool.
  void set_range(void* base, std::size_t bytes, std::size_t page_bytes);
  bool has_range() const noexcept { return range_ != nullptr; }
  /// Addresses to map so that a block of `bytes` for `stream` comes together, with free neighbours counted
  /// in.
  struct Growth {
    Block* block;  // unmapped
    char* at;      // whole pages within it
    std::size_t bytes;
  };
  /// The growth that maps least, in the smallest hole; nothing when there is no room in the range.
  std::optional<Growth> plan_growth(std::size_t bytes, RawStream stream) const noexcept;
  /// Makes room for the bookkeeping of one growth, so that map() cannot fail.
  void prepare_growth() { reserve_nodes(2); }
  /// The pages of `growth` have memory: they join the free blocks.
  void map(const Growth& growth, RawStream stream) noexcept;
  /// Takes out up to `bytes` (rounded up to pages) of pages that are free and anybody's, from the smallest
  /// blocks first; not from the neighbours of `spared`. They have no memory afterwards.
  std::vector<Segment> take_free_pages(std::size_t bytes, const Block* spared);

  /// Whole pages in free blocks that belong to streams: bytes, and the stream that has most of them.
  struct BusyPages {
    std::size_t total = 0;
    RawStream most = nullptr;
  };
  BusyPages busy_pages() const noexcept;

  std::size_t largest_free() const noexcept;
  /// Bytes of memory in segments and mapped pages.
  std::size_t held_bytes() const noexcept { return held_bytes_; }
  /// Every segment, and every run of mapped pages, for the owner's destructor.
  std::vector<Segment> segments() const;
  std::vector<Segment> mapped_runs() const;
  /// Segments and runs of pages with their blocks, in order of address.
  std::vector<MemorySegment> describe() const;
  /// Blocks fill their segments without gap or overlap, free neighbours that could merge have, sums agree.
  /// For tests.
  bool consistent() const;

 private:
  std::pair<std::size_t, std::size_t> whole_pages(const Block& block) const noexcept;
  FreeList& list_of(RawStream stream);
  Block* cut(Block* block, std::size_t bytes);
  void absorb_next(Block* block) noexcept;
  Block* split(Block* block, std::size_t bytes) noexcept;
  void unmap(Block* block) noexcept;
  bool consistent(const Block* first, std::size_t bytes, std::size_t& held) const;

  void reserve_nodes(std::size_t count);
  Block* take_node() noexcept;
  void give_node(Block* block) noexcept;

  FreeList anyones_;
  std::unordered_map<RawStream, FreeList> free_;
  std::unordered_map<Block*, std::size_t>
      segments_;            // by first block, which stays the first; bytes of the segment
  Block* range_ = nullptr;  // first block of the range
  std::size_t range_bytes_ = 0, page_bytes_ = 0;
  FreeList unmapped_;
  std::size_t held_bytes_ = 0;
  Block* spare_ = nullptr;  // unused nodes, linked by list_next
  std::size_t spares_ = 0;
};

}  // namespace gpunn::detail
