#pragma once
// Small allocations: slabs of equal pieces, cut from blocks. Arithmetic on addresses only. Not thread-safe.
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "gpunn/core/detail/block_pool.h"

namespace gpunn::detail {

/// Largest request served from slabs. Pieces keep 256-byte alignment.
inline constexpr std::size_t kSmallRequest = 32 * 1024;
inline constexpr std::size_t kPieceAlignment = 256;
/// Larger ones are rounded to it.
inline constexpr std::size_t kLargeUnit = 512;

/// One block cut into pieces of one size, for one stream: work issued there may use any free piece at once.
struct Slab {
  Block* block = nullptr;
  RawStream stream = nullptr;
  std::size_t piece_bytes = 0;
  std::uint32_t pieces = 0;
  std::uint64_t since = 0;          // when the newest free piece was returned, in the owner's count
  std::vector<std::uint32_t> free;  // indices; capacity for all, so returning one never allocates
  bool listed = false;              // has free pieces and stands in its bin's list
  std::list<Slab*>::iterator place;
  std::list<Slab*> node;  // the list node while not listed, for the same reason
};

class SlabBins {
 public:
  /// Bytes of the piece that serves a request, and of the slab to make for it.
  static std::size_t piece_bytes(std::size_t request) noexcept;
  static std::size_t slab_bytes(std::size_t piece) noexcept;

  /// A free piece of `stream`, or null.
  std::pair<Slab*, void*> take(std::size_t piece, RawStream stream) noexcept;
  /// A free piece of that size or larger of any slab for which `done(slab)`: no work uses its free pieces.
  template <class F>
  std::pair<Slab*, void*> take_foreign(std::size_t piece, F&& done) noexcept {
    for (auto it = bins_.lower_bound({piece, nullptr}); it != bins_.end(); ++it)
      for (Slab* slab : it->second)
        if (done(*slab)) return take_from(*slab);
    return {nullptr, nullptr};
  }
  /// The stream of a slab with free pieces of that size or larger that is not `done(slab)`; null: none.
  template <class F>
  RawStream unsettled_owner(std::size_t piece, F&& done) const {
    for (auto it = bins_.lower_bound({piece, nullptr}); it != bins_.end(); ++it)
      for (const Slab* slab : it->second)
        if (slab->stream && !done(*slab)) return slab->stream;
    return nullptr;
  }
  /// Makes a slab of `block`.
  void add(Block* block, std::size_t piece, RawStream stream);
  /// Returns a piece. Gives the slab's block back when the slab is empty and its bin has another with free
  /// pieces.
  Block* give(Slab* slab, void* pointer, std::uint64_t since) noexcept;
  /// Takes every empty slab apart; calls `f(block, stream, since)` for each. True when there were any.
  template <class F>
  bool dissolve_empty(F&& f) {
    const std::size_t before = slabs_.size();
    for (auto it = slabs_.begin(); it != slabs_.end();) {
      Slab& slab = *it->second;
      if (slab.free.size() != slab.pieces) {
        ++it;
        continue;
      }
      unlist(slab);
      f(slab.block, slab.stream, slab.since);
      it = slabs_.erase(it);
    }
    return slabs_.size() != before;
  }

 private:
  using Bin = std::list<Slab*>;
  using Key = std::pair<std::size_t, RawStream>;

  std::pair<Slab*, void*> take_from(Slab& slab) noexcept;
  void list(Slab& slab) noexcept;
  void unlist(Slab& slab) noexcept;

  std::map<Key, Bin> bins_;  // slabs with free pieces
  std::map<Block*, std::unique_ptr<Slab>> slabs_;
};

}  // namespace gpunn::detail
