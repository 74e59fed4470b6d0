#pragma once
// Walking several strided operands of one shape together, on the host.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "gpunn/core/shape.h"

namespace gpunn::detail {

/// Shape and per-operand strides (elements) of one joint walk; operand 0 decides the order of ordered().
template <int K>
struct StridedDims {
  int rank = 0;
  std::int64_t* shape;
  std::int64_t* strides[K];
};

/// Drops extents of 1 and merges neighbours that every operand walks as one; the order of elements stays. The
/// result has rank >= 1. Extents must be positive.
template <int K>
int coalesce(StridedDims<K> d) {
  int last = -1;
  for (int i = 0; i < d.rank; ++i) {
    const std::int64_t extent = d.shape[i];
    if (extent == 1) continue;
    bool merges = last >= 0;
    for (int k = 0; k < K && merges; ++k) merges = d.strides[k][last] == d.strides[k][i] * extent;
    if (!merges) d.shape[++last] = 1;
    d.shape[last] *= extent;
    for (int k = 0; k < K; ++k) d.strides[k][last] = d.strides[k][i];
  }
  if (last >= 0) return last + 1;
  d.shape[0] = 1;
  for (int k = 0; k < K; ++k) d.strides[k][0] = 1;
  return 1;
}

/// Reorders dimensions so that operand 0's strides fall: for work whose order of elements does not matter.
template <int K>
void sort_by_stride(StridedDims<K> d) {
  for (int i = 1; i < d.rank; ++i)
    for (int j = i; j > 0 && d.strides[0][j - 1] < d.strides[0][j]; --j) {
      std::swap(d.shape[j - 1], d.shape[j]);
      for (int k = 0; k < K; ++k) std::swap(d.strides[k][j - 1], d.strides[k][j]);
    }
}

/// Calls f(n, offsets) for each run along the last dimension within elements [begin, end) of the row-major
/// order; `offsets` holds the run's first element per operand.
template <int K, class F>
void walk(int rank, const std::int64_t* shape, const std::int64_t* const (&strides)[K], std::int64_t begin,
          std::int64_t end, F&& f) {
  if (begin >= end) return;
  std::int64_t index[kMaxRank], offsets[K] = {};
  std::int64_t rest = begin;
  for (int i = rank - 1; i >= 0; --i) {
    index[i] = rest % shape[i];
    rest /= shape[i];
    for (int k = 0; k < K; ++k) offsets[k] += index[i] * strides[k][i];
  }
  const int last = rank - 1;
  while (true) {
    const std::int64_t n = std::min(end - begin, shape[last] - index[last]);
    f(n, offsets);
    begin += n;
    if (begin >= end) return;
    for (int k = 0; k < K; ++k) offsets[k] -= index[last] * strides[k][last];
    index[last] = 0;
    for (int i = last - 1; i >= 0; --i) {
      for (int k = 0; k < K; ++k) offsets[k] += strides[k][i];
      if (++index[i] < shape[i]) break;
      for (int k = 0; k < K; ++k) offsets[k] -= shape[i] * strides[k][i];
      index[i] = 0;
    }
  }
}

/// Elements from the first to the last one that a walk touches (strides >= 0); 0 when there is none.
inline std::int64_t extent_of(int rank, const std::int64_t* shape, const std::int64_t* strides) {
  std::int64_t last = 0;
  for (int i = 0; i < rank; ++i) {
    if (shape[i] == 0) return 0;
    last += (shape[i] - 1) * strides[i];
  }
  return last + 1;
}

}  // namespace gpunn::detail
