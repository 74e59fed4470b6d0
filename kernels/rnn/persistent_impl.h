#pragma once
// The plan of the persistent kernels: a block keeps the weights of 16 units in shared memory and takes tiles
// of 16 sequences; blocks that share tiles form a group and differ in their units.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/rnn/rnn_impl.h"

namespace gpunn {

inline constexpr int kPersistentUnits = 16, kPersistentRows = 16, kPersistentWarps = 8;
inline constexpr std::int64_t kPersistentBlocks = 132;  // one on each multiprocessor of an H100
inline constexpr std::int64_t kPersistentShared = 227 * 1024;
inline constexpr std::int64_t kPersistentTiles = 8;  // of a block
// Stages of a warp's pipeline where there is room, else kFewStages: with more, more of a sum's slices are on
// their way at once.
inline constexpr int kForwardStages = 4, kBackwardStages = 6, kFewStages = 3;

constexpr std::int64_t rnn_pieces(std::int64_t n, std::int64_t of) { return (n + of - 1) / of; }

/// Shared bytes of a block that keeps `columns` columns of a product over K and the f32 states of `tiles`
/// tiles.
constexpr std::int64_t rnn_persistent_bytes(std::int64_t K, std::int64_t columns, std::int64_t element,
                                            std::int64_t stages, std::int64_t tiles) {
  const std::int64_t slice = element == 2 ? 32 : 16, pad = 16 / element;
  const std::int64_t weights = columns * (rnn_pieces(K, slice) * slice + pad) * element;
  const std::int64_t staged = stages * kPersistentRows * (slice + pad) * element;
  const std::int64_t sums = kPersistentRows * (columns + 4) * std::int64_t{sizeof(float)};
  const std::int64_t states = tiles * kPersistentRows * kPersistentUnits * std::int64_t{sizeof(float)};
  return weights + kPersistentWarps * (staged > sums ? staged : sums) + states;
}

/// How many groups share the batch of a device that holds `blocks` blocks; 0: not even one fits.
constexpr std::int64_t rnn_persistent_groups(const RnnSizes& s, std::int64_t blocks) {
  const std::int64_t most = blocks / rnn_pieces(s.H, kPersistentUnits);
  const std::int64_t tiles = rnn_pieces(s.B, kPersistentRows);
  return most < tiles ? most : tiles;
}

struct RnnPersistentPlan {
  unsigned* counter;  // of the grid's barrier
  int bytes;          // that rows of the exchanged states or gradients let move at a time
  int weight_bytes;   // and those of w_hh; backward moves them element by element
};

}  // namespace gpunn
