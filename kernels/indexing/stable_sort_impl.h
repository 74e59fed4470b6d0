#pragma once
// A stable sort of small unsigned keys on a GPU: what makes sums over repeated
// indices come out the same each time. Least significant digit first, eight
// bits a pass; no floating atomics, no order that depends on scheduling.
#include <cstddef>
#include <cstdint>

#include "gpunn/core/exec.h"

namespace gpunn {

/// Most keys at once: positions are 32-bit.
inline constexpr std::int64_t kMostSortedKeys = std::int64_t{1} << 31;

/// Keys in rising order and where each came from; equal keys keep their order.
struct SortedKeys {
  const std::uint32_t* keys;       // [n]
  const std::uint32_t* positions;  // [n]
};

/// Where the caller writes the n keys, in a workspace of sort_workspace(n)
/// bytes.
std::uint32_t* sort_input(void* workspace);
std::size_t sort_workspace(std::int64_t n);
/// Sorts n keys (1 <= n <= kMostSortedKeys) that are all <= most.
SortedKeys sort_keys_cuda(void* workspace, std::int64_t n, std::uint32_t most, const Exec& exec);

}  // namespace gpunn
