#pragma once
// Sums over many images are taken in pieces, each by a block; this adds the pieces of each result in a fixed
// order. How many pieces there are depends on sizes alone.
#include <cstdint>

#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/conv2d/pieces_impl.h"

namespace gpunn {

inline constexpr int kPieceResults = 16, kPieceThreads = 16;  // results of a block, threads of each
/// The parts [first, end) of one of `pieces` pieces, as even as may be.
struct PieceRange {
  std::int64_t first, end;
};
GPUNN_DEVICE PieceRange piece_range(std::int64_t parts, std::int64_t pieces, std::int64_t piece) {
  return {parts * piece / pieces, parts * (piece + 1) / pieces};
}

/// sums[i] = partial[0][i] + partial[1][i] + ...; `partial` [pieces, results]. A thread adds every
/// kPieceThreads-th piece, then those sums are added in order.
template <class T>
GPUNN_KERNEL __launch_bounds__(kPieceResults* kPieceThreads)
    piece_sum_kernel(const float* partial, T* sums, std::int64_t pieces, std::int64_t results) {
  GPUNN_SHARED(shared, float[kPieceThreads][kPieceResults]);
  const int result = static_cast<int>(threadIdx.x) % kPieceResults;
  const int part = static_cast<int>(threadIdx.x) / kPieceResults;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kPieceResults + result;
  float sum = 0.0f;
  if (i < results)
    for (std::int64_t piece = part; piece < pieces; piece += kPieceThreads)
      sum += partial[piece * results + i];
  shared[part][result] = sum;
  __syncthreads();  // every thread's sum is there
  if (part != 0 || i >= results) return;
  sum = 0.0f;
  for (int j = 0; j < kPieceThreads; ++j) sum += shared[j][result];
  sums[i] = from_float<T>(sum);
}

template <class T>
void sum_pieces(const float* partial, T* sums, std::int64_t pieces, std::int64_t results, const Exec& exec) {
  const auto blocks = static_cast<unsigned>((results + kPieceResults - 1) / kPieceResults);
  launch("piece_sum_kernel", piece_sum_kernel<T>, Grid{dim3(blocks), dim3(kPieceResults * kPieceThreads)},
         exec, partial, sums, pieces, results);
}

}  // namespace gpunn
