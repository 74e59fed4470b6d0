#pragma once
// The pieces that a thread returned last, by size and stream: the next request for the same takes one without
// asking the allocator.
#include <array>
#include <cstddef>
#include <cstdint>

#include "gpunn/core/detail/piece_table.h"
#include "gpunn/core/detail/thread_caches.h"

namespace gpunn::detail {

/// Largest piece that threads keep.
inline constexpr std::size_t kCachedPiece = std::size_t{1} << 20;

struct PieceCache final : ThreadCache {
  static constexpr std::size_t kBytes = std::size_t{4} << 20;  // most that a thread keeps
  static constexpr std::size_t kBins = 64;

  struct Bin {
    std::size_t size = 0;
    RawStream stream = nullptr;
    Piece* top = nullptr;
  };

  /// A piece of that size and stream, or null. The lock is held, here and below.
  Piece* take(std::size_t size, RawStream stream) noexcept {
    Bin* bin = bin_of(size, stream);
    if (!bin->top || bin->size != size || bin->stream != stream) return nullptr;
    Piece* const piece = bin->top;
    bin->top = piece->next;
    held_bytes -= size;
    return piece;
  }
  /// False when it has no room. Pieces of another size or stream that stand in the way are put on `evicted`.
  bool give(Piece* piece, Piece*& evicted) noexcept {
    if (held_bytes + piece->size > kBytes) return false;
    Bin* const bin = bin_of(piece->size, piece->stream);
    if (bin->size != piece->size || bin->stream != piece->stream) {
      empty(*bin, evicted);
      bin->size = piece->size;
      bin->stream = piece->stream;
    }
    piece->next = bin->top;
    bin->top = piece;
    held_bytes += piece->size;
    return true;
  }
  /// Moves everything to `list`.
  void empty_into(Piece*& list) noexcept {
    if (held_bytes == 0) return;
    for (Bin& bin : bins) empty(bin, list);
  }

  std::array<Bin, kBins> bins;
  std::size_t held_bytes = 0;

 private:
  // Two places for each size and stream: its own and the neighbour, if that has it already or is empty.
  Bin* bin_of(std::size_t size, RawStream stream) noexcept {
    constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;
    const std::uint64_t hash = ((size >> 8) ^ (reinterpret_cast<std::uintptr_t>(stream) >> 4)) * kGolden;
    Bin* const first = &bins[hash >> 58];
    if (first->size == size && first->stream == stream) return first;
    Bin* const second = &bins[(hash >> 58) ^ 1];
    if (second->size == size && second->stream == stream) return second;
    return first->top && !second->top ? second : first;
  }
  void empty(Bin& bin, Piece*& list) noexcept {
    while (Piece* piece = bin.top) {
      bin.top = piece->next;
      held_bytes -= piece->size;
      piece->next = list;
      list = piece;
    }
  }
};

}  // namespace gpunn::detail
