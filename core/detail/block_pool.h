#pragma once
// Segments of memory cut into blocks: best fit, splitting, coalescing. Arithmetic on addresses only; the
// memory itself is never touched and no device is called. Not thread-safe.
#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpunn/core/detail/size_class.h"
#include "gpunn/core/device_api.h"

namespace gpunn::detail {

/// A piece of a segment. A free one belongs to a stream: work issued there may use it at once, other work
/// must wait.
struct Block {
  char* pointer;
  std::size_t bytes;
  RawStream stream = nullptr;  // of a free block; null: no unfinished work touches it, any stream may have it
  bool free = false;
  Block* previous = nullptr;  // neighbours in the segment
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
  /// Any block; null when empty.
  Block* any() const noexcept;

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
  /// The work that touched this free block has finished: it becomes anybody's.
  void release_to_all(Block* block) noexcept;
  /// Returns a block; from now on work on `stream` may use it. Merges it with free neighbours of that stream
  /// or of none.
  void give(Block* block, RawStream stream) noexcept;
  /// Every stream has finished: all free blocks become anybody's.
  void all_done() noexcept;
  /// Takes segments out that are wholly free and anybody's.
  std::vector<Segment> take_free_segments();

  std::size_t largest_free() const noexcept;
  std::size_t segment_bytes() const noexcept { return segment_bytes_; }
  /// Every segment, for the owner's destructor.
  std::vector<Segment> segments() const;
  /// Blocks fill their segments without gap or overlap, free neighbours that could merge have, sums agree.
  /// For tests.
  bool consistent() const;

 private:
  FreeList& list_of(RawStream stream) { return free_[stream]; }
  Block* cut(Block* block, std::size_t bytes);
  void absorb_next(Block* block) noexcept;

  std::unordered_map<RawStream, FreeList> free_;
  std::unordered_map<Block*, std::size_t>
      segments_;  // by first block, which stays the first; bytes of the segment
  std::size_t segment_bytes_ = 0;
};

}  // namespace gpunn::detail
