#pragma once
// Into how many pieces a long sum is cut that blocks work on side by side. It depends on sizes alone, so that
// the bits do.
#include <cstdint>

namespace gpunn {

inline constexpr std::int64_t kMostPieces = 512;
inline constexpr std::int64_t kPieceBlocks = 1056;  // eight on each of 132 multiprocessors

/// How many pieces to cut `parts` into when `blocks` blocks work on each; 0 only without parts.
inline std::int64_t piece_count(std::int64_t parts, std::int64_t blocks) {
  const std::int64_t wanted = blocks < kPieceBlocks ? kPieceBlocks / (blocks > 0 ? blocks : 1) : 1;
  const std::int64_t most = wanted < kMostPieces ? wanted : kMostPieces;
  return parts < most ? parts : most;
}

}  // namespace gpunn
