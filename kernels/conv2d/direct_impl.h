#pragma once
// How the direct convolution shares out a picture; between the entry and its kernel.
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn {

inline constexpr int kDirectFilters = 16;  // results of a thread for each of its pixels
inline constexpr int kDirectColumns = 32;  // pixels of a tile side by side, a thread each
inline constexpr int kDirectRows = 2;      // pixels of a thread, kDirectColumns threads' height apart
inline constexpr int kDirectWarps = 4;
inline constexpr int kDirectThreads = kDirectWarps * kDirectColumns;
inline constexpr int kDirectHigh = kDirectWarps * kDirectRows;  // rows of a tile
inline constexpr int kDirectChannels = 4;                       // of a group, at most

struct DirectTile {
  int rows, columns;  // of x's part of a tile
  int across, down;   // tiles of a picture
  int chunks;         // of kDirectFilters filters of a group
  int chunk_blocks;   // blocks that share the chunks of a tile; the others follow each other in a block
  bool vectors;       // results move four channels at a time (channels last)
};

void direct_tiles_cuda(const Conv2dProblem& p, const DirectTile& tile, const Exec& exec);

}  // namespace gpunn
