#pragma once
// Kernels that exercise one device intrinsic each. Host declarations.

#include <cuda_runtime.h>

namespace gpunn::test {

enum class ShuffleKind { index, up, down, exclusive };
// out[lane] of one warp holding 100 + lane
cudaError_t launch_shuffle(ShuffleKind kind, int argument, int width, int* out);
// Two half warps run different numbers of shuffles, then quads, then the whole warp: out[i] = 4 * (sum or
// maximum) + votes
cudaError_t launch_submasks(int* out, int warps);
// out [8 per lane]: ballot, any, all, match_any, reduce add, min, max, xor of value lane % 5
cudaError_t launch_votes(unsigned mask, int* out);
// out[linear] += 100 z + 10 y + x + 1 by atomics; then reversed through shared memory if `reversed`
cudaError_t launch_block_shape(dim3 block, bool reversed, int* out);
// out[i] = count(i % 3 == 0) * 100 + and(i < 64) * 10 + or(i == 63)
cudaError_t launch_barrier_votes(int threads, int* out);
// Warp 0 hands n rows of 32 numbers to warps 1..3 by named barriers; out[i] = (i / 32) * column sum, i >= 32
cudaError_t launch_producer_consumer(const float* x, int n, float* out);
// Each block waits for the one before it: out[b] = b + 1
cudaError_t launch_chain(int blocks, unsigned* flags, float* values, float* out);
// One thread of a block waits for a flag that a thread of another warp sets; out[0] = 1
cudaError_t launch_spin_inside_block(unsigned* flag, int* out);
// out: [add, sub, min, max, and, or, xor, inc, dec, exchange count, cas count] over `threads` threads, float
// add last
cudaError_t launch_atomics(int threads, unsigned* out, float* sum);
// Sum of each block's thread numbers through two levels of shared memory and both kinds of barrier
cudaError_t launch_block_sums(int blocks, int threads, float* out);

}  // namespace gpunn::test
