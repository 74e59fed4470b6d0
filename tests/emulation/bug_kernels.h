#pragma once
// Kernels with a planted bug, each beside its correct twin (`correct` true, or bug `none`).

#include <cuda_runtime.h>

namespace gpunn::test {

inline constexpr int kSumThreads = 256, kTileThreads = 128, kReverseThreads = 64, kPartialWarps = 3,
                     kFenceBlocks = 16;
inline constexpr int kRaceBlocks = 8, kRaceThreads = 64, kRaceRounds = 200;

enum class SumBug { none, no_barrier_after_write, no_barrier_before_reuse };
// y[i] = sum of x plus sum of 2 x, by two reductions through the same shared array; x, y [kSumThreads]
cudaError_t launch_two_sums(SumBug bug, const float* x, float* y);

// y[i] = x[kReverse - 1 - i] inside each warp; x, y [kReverseThreads]
cudaError_t launch_reverse(bool correct, const float* x, float* y);

// y[0] = sum of x, finished by the last block to arrive; x, partial [kFenceBlocks], counter [1] is zero
cudaError_t launch_last_block_sum(bool correct, const float* x, float* partial, unsigned* counter, float* y);

// y[i] = x[kTileThreads - 1 - i] through cp.async
cudaError_t launch_async_reverse(bool correct, const float* x, float* y);

// y = factor * x, n elements
cudaError_t launch_scale(const float* x, float* y, float factor, int n, cudaStream_t stream);

// Writes x through a shared tile, `offset` elements too far: y[i] = x[i - offset] for i >= offset;
// [kTileThreads]
cudaError_t launch_static_offset(int offset, const float* x, float* y);
cudaError_t launch_dynamic_offset(int offset, const float* x, float* y);
// y[i] = x[i] for i < n; if wrong also i == n
cudaError_t launch_copy(bool correct, const float* x, float* y, int n);

// Sum or maximum of the sums of kPartialWarps warps; the wrong ones read a fourth partial that nobody wrote.
cudaError_t launch_partials(bool correct, bool maximum, const float* x, float* y);

// y[i] = x[first + 4 i] + ... + x[first + 4 i + 3] by float4 loads, i < 32; right if first is a multiple of 4
cudaError_t launch_vector_sum(int first, const float* x, float* y);

// y = x with a barrier on the way; kReverseThreads threads
cudaError_t launch_divergent_barrier(bool correct, const float* x, float* y);
cudaError_t launch_early_exit(bool correct, const float* x, float* y, int n);
// Half of each warp adds its neighbour's value.
cudaError_t launch_half_shuffle(bool correct, const float* x, float* y);
// y[i] += 1, kRaceRounds times by each of kRaceBlocks blocks
cudaError_t launch_block_counts(bool correct, float* y);
// Waits for a flag that nobody sets.
cudaError_t launch_spin(const unsigned* flag);
// Keeps one block busy for many rounds.
cudaError_t launch_long(float* y, int rounds, cudaStream_t stream);

}  // namespace gpunn::test
