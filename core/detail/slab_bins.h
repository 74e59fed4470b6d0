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

/// One block cut into pieces of one size, for one stream: work issued there may use any free piece at once.
struct Slab {
  Block* block = nullptr;
  RawStream stream = nullptr;
  std::size_t piece_bytes = 0;
  std::uint32_t pieces = 0;
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
  /// A free piece of that size or larger of any stream; the caller has waited for the device.
  std::pair<Slab*, void*> take_foreign(std::size_t piece) noexcept;
  /// Makes a slab of `block`.
  void add(Block* block, std::size_t piece, RawStream stream);
  /// Returns a piece. Gives the slab's block back when the slab is empty and its bin has another with free
  /// pieces.
  Block* give(Slab* slab, void* pointer) noexcept;
  /// Takes every empty slab apart; calls `f(block, stream)` for each.
  template <class F>
  void dissolve_empty(F&& f) {
    for (auto it = slabs_.begin(); it != slabs_.end();) {
      Slab& slab = *it->second;
      if (slab.free.size() != slab.pieces) {
        ++it;
        continue;
      }
      unlist(slab);
      f(slab.block, slab.stream);
      it = slabs_.erase(it);
    }
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
