#pragma once
// How CPU kernels share out rows over the pool.
#include <algorithm>
#include <cstdint>

namespace gpunn {

/// Rows that one chunk takes: about 32,768 elements, some 20 us of work, so that handing a chunk over does
/// not show. It depends on the size only, so that results do not depend on the number of threads.
inline std::int64_t rows_per_chunk(std::int64_t cols) {
  constexpr std::int64_t kElements = 1 << 15;
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, cols));
}

}  // namespace gpunn
