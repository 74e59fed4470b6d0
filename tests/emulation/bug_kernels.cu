#include "tests/emulation/bug_kernels.h"

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_kernel.cuh"
#include "gpunn/kernels/ptx/cp_async.cuh"

namespace gpunn::test {
namespace {

constexpr unsigned kFull = 0xffffffffu;

GPUNN_DEVICE float warp_sum(float v) {
  GPUNN_UNROLL
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(kFull, v, offset);
  return v;
}

template <SumBug kBug>
GPUNN_DEVICE float block_sum(float v) {
  GPUNN_SHARED(part, float[kSumThreads / 32]);
  v = warp_sum(v);
  if (kBug != SumBug::no_barrier_before_reuse)
    __syncthreads();  // part may still be read by the previous call
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  if (kBug != SumBug::no_barrier_after_write) __syncthreads();
  v = 0.0f;
  for (int i = 0; i < kSumThreads / 32; ++i) v += part[i];
  return v;
}

template <SumBug kBug>
GPUNN_KERNEL two_sums_kernel(const float* x, float* y) {
  const float a = block_sum<kBug>(x[threadIdx.x]);
  const float b = block_sum<kBug>(2.0f * x[threadIdx.x]);
  y[threadIdx.x] = a + b;
}

template <bool kCorrect>
GPUNN_KERNEL reverse_kernel(const float* x, float* y) {
  GPUNN_SHARED(tile, float[kReverseThreads]);
  tile[threadIdx.x] = x[threadIdx.x];
  if (kCorrect) __syncwarp();
  y[threadIdx.x] = tile[(threadIdx.x & 32) + 31 - (threadIdx.x & 31)];
}

template <bool kCorrect>
GPUNN_KERNEL last_block_sum_kernel(const float* x, float* partial, unsigned* counter, float* y) {
  if (threadIdx.x != 0) return;
  partial[blockIdx.x] = x[blockIdx.x];
  if (kCorrect) __threadfence();
  if (atomicAdd(counter, 1u) != gridDim.x - 1) return;
  if (kCorrect) __threadfence();
  float sum = 0.0f;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
  y[0] = sum;
}

template <bool kCorrect>
GPUNN_KERNEL async_reverse_kernel(const float* x, float* y) {
  GPUNN_SHARED(tile, float[kTileThreads]);
  if (threadIdx.x < kTileThreads / 4) ptx::cp_async_16(&tile[threadIdx.x * 4], x + threadIdx.x * 4);
  ptx::cp_async_commit();
  if (kCorrect) ptx::cp_async_wait<0>();
  __syncthreads();
  const float v = tile[kTileThreads - 1 - threadIdx.x];
  if (!kCorrect) ptx::cp_async_wait<0>();
  y[threadIdx.x] = v;
}

GPUNN_KERNEL scale_kernel(const float* x, float* y, float factor, int n) {
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    y[i] = factor * x[i];
}

GPUNN_KERNEL static_offset_kernel(const float* x, float* y, int offset) {
  GPUNN_SHARED(tile, float[kTileThreads]);
  GPUNN_SHARED(other, float[kTileThreads]);
  const int i = static_cast<int>(threadIdx.x);
  other[i] = 7.0f;
  __syncthreads();
  tile[i + offset] = x[i];
  __syncthreads();
  y[i] = (i >= offset ? tile[i] : x[0]) + other[kTileThreads - 1] - 7.0f;
}

GPUNN_KERNEL dynamic_offset_kernel(const float* x, float* y, int offset) {
  GPUNN_DYN_SHARED(memory);
  float* tile = reinterpret_cast<float*>(memory);
  const int i = static_cast<int>(threadIdx.x);
  tile[i + offset] = x[i];
  __syncthreads();
  y[i] = i >= offset ? tile[i] : x[0];
}

GPUNN_KERNEL copy_kernel(const float* x, float* y, int n, int limit) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < limit) y[i] = x[i < n ? i : 0];
}

template <int kRead, bool kMaximum>
GPUNN_KERNEL partials_kernel(const float* x, float* y) {
  GPUNN_SHARED(part, float[kPartialWarps + 1]);
  const float v = warp_sum(x[threadIdx.x]);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  float result = 0.0f;
  // Written so that a NaN stays: a comparison that is false for NaN takes the new value.
  for (int i = 0; i < kRead; ++i)
    result = kMaximum ? (result > part[i] ? result : part[i]) : result + part[i];
  y[threadIdx.x] = result;
}

GPUNN_KERNEL vector_sum_kernel(const float* x, float* y, int first) {
  const float4 v = *reinterpret_cast<const float4*>(x + first + threadIdx.x * 4);
  y[threadIdx.x] = v.x + v.y + v.z + v.w;
}

GPUNN_KERNEL divergent_barrier_kernel(const float* x, float* y, int waiting) {
  if (static_cast<int>(threadIdx.x) < waiting) __syncthreads();
  y[threadIdx.x] = x[threadIdx.x];
}

GPUNN_KERNEL early_exit_kernel(const float* x, float* y, int n, bool correct) {
  const bool outside = static_cast<int>(threadIdx.x) >= n;
  if (!correct && outside) return;
  __syncthreads();
  if (!outside) y[threadIdx.x] = x[threadIdx.x];
}

GPUNN_KERNEL half_shuffle_kernel(const float* x, float* y, unsigned mask) {
  float v = x[threadIdx.x];
  if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(mask, v, 1);
  y[threadIdx.x] = v;
}

template <bool kCorrect>
GPUNN_KERNEL block_counts_kernel(float* y) {
  for (int i = 0; i < kRaceRounds; ++i) {
    if (kCorrect) {
      atomicAdd(&y[threadIdx.x], 1.0f);
    } else {
      y[threadIdx.x] += 1.0f;
    }
  }
}

GPUNN_KERNEL spin_kernel(const unsigned* flag) {
  while (ptx::ld_acquire(flag) == 0) ptx::spin_pause();
}

GPUNN_KERNEL long_kernel(float* y, int rounds) {
  float v = 0.0f;
  for (int i = 0; i < rounds; ++i) {
    v += 1.0f;
    __syncthreads();
  }
  y[threadIdx.x] = v;
}

}  // namespace

cudaError_t launch_two_sums(SumBug bug, const float* x, float* y) {
  auto* kernel = &two_sums_kernel<SumBug::none>;
  if (bug == SumBug::no_barrier_after_write) kernel = &two_sums_kernel<SumBug::no_barrier_after_write>;
  if (bug == SumBug::no_barrier_before_reuse) kernel = &two_sums_kernel<SumBug::no_barrier_before_reuse>;
  return launch_kernel("two_sums", kernel, {1, kSumThreads}, x, y);
}

cudaError_t launch_reverse(bool correct, const float* x, float* y) {
  return launch_kernel("reverse", correct ? &reverse_kernel<true> : &reverse_kernel<false>,
                       {1, kReverseThreads}, x, y);
}

cudaError_t launch_last_block_sum(bool correct, const float* x, float* partial, unsigned* counter, float* y) {
  return launch_kernel("last_block_sum",
                       correct ? &last_block_sum_kernel<true> : &last_block_sum_kernel<false>,
                       {kFenceBlocks, 32}, x, partial, counter, y);
}

cudaError_t launch_async_reverse(bool correct, const float* x, float* y) {
  return launch_kernel("async_reverse", correct ? &async_reverse_kernel<true> : &async_reverse_kernel<false>,
                       {1, kTileThreads}, x, y);
}

cudaError_t launch_scale(const float* x, float* y, float factor, int n, cudaStream_t stream) {
  return launch_kernel("scale", &scale_kernel, {2, 64, 0, stream}, x, y, factor, n);
}

cudaError_t launch_static_offset(int offset, const float* x, float* y) {
  return launch_kernel("static_offset", &static_offset_kernel, {1, kTileThreads}, x, y, offset);
}

cudaError_t launch_dynamic_offset(int offset, const float* x, float* y) {
  return launch_kernel("dynamic_offset", &dynamic_offset_kernel,
                       {1, kTileThreads, kTileThreads * sizeof(float)}, x, y, offset);
}

cudaError_t launch_copy(bool correct, const float* x, float* y, int n) {
  const unsigned blocks = static_cast<unsigned>(n) / 256 + 1;
  return launch_kernel("copy", &copy_kernel, {blocks, 256}, x, y, n, correct ? n : n + 1);
}

cudaError_t launch_partials(bool correct, bool maximum, const float* x, float* y) {
  auto* kernel = &partials_kernel<kPartialWarps, false>;
  if (correct && maximum) kernel = &partials_kernel<kPartialWarps, true>;
  if (!correct)
    kernel = maximum ? &partials_kernel<kPartialWarps + 1, true> : &partials_kernel<kPartialWarps + 1, false>;
  return launch_kernel("partials", kernel, {1, kPartialWarps * 32}, x, y);
}

cudaError_t launch_vector_sum(int first, const float* x, float* y) {
  return launch_kernel("vector_sum", &vector_sum_kernel, {1, 32}, x, y, first);
}

cudaError_t launch_divergent_barrier(bool correct, const float* x, float* y) {
  return launch_kernel("divergent_barrier", &divergent_barrier_kernel, {1, kReverseThreads}, x, y,
                       correct ? kReverseThreads : 40);
}

cudaError_t launch_early_exit(bool correct, const float* x, float* y, int n) {
  return launch_kernel("early_exit", &early_exit_kernel, {1, kReverseThreads}, x, y, n, correct);
}

cudaError_t launch_half_shuffle(bool correct, const float* x, float* y) {
  return launch_kernel("half_shuffle", &half_shuffle_kernel, {1, kReverseThreads}, x, y,
                       correct ? 0xffffu : kFull);
}

cudaError_t launch_block_counts(bool correct, float* y) {
  return launch_kernel("block_counts", correct ? &block_counts_kernel<true> : &block_counts_kernel<false>,
                       {kRaceBlocks, kRaceThreads}, y);
}

cudaError_t launch_spin(const unsigned* flag) { return launch_kernel("spin", &spin_kernel, {2, 32}, flag); }

cudaError_t launch_long(float* y, int rounds, cudaStream_t stream) {
  return launch_kernel("long", &long_kernel, {1, 64, 0, stream}, y, rounds);
}

}  // namespace gpunn::test
