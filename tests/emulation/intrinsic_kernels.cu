#include "tests/emulation/intrinsic_kernels.h"

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_kernel.cuh"
#include "gpunn/kernels/ptx/barrier.cuh"

namespace gpunn::test {
namespace {

constexpr unsigned kFull = 0xffffffffu;

GPUNN_KERNEL shuffle_kernel(ShuffleKind kind, int argument, int width, int* out) {
  const int value = 100 + static_cast<int>(threadIdx.x);
  int result = 0;
  switch (kind) {
    case ShuffleKind::index:
      result = __shfl_sync(kFull, value, argument, width);
      break;
    case ShuffleKind::up:
      result = __shfl_up_sync(kFull, value, static_cast<unsigned>(argument), width);
      break;
    case ShuffleKind::down:
      result = __shfl_down_sync(kFull, value, static_cast<unsigned>(argument), width);
      break;
    case ShuffleKind::exclusive:
      result = __shfl_xor_sync(kFull, value, argument, width);
      break;
  }
  out[threadIdx.x] = result;
}

GPUNN_KERNEL submasks_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int v = static_cast<int>(threadIdx.x);
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  if (lane < 16) {
    for (int offset = 8; offset > 0; offset /= 2) v += __shfl_xor_sync(half, v, offset);
  } else {
    for (int round = 0; round < 3; ++round)
      for (int offset = 8; offset > 0; offset /= 2) v = max(v, __shfl_xor_sync(half, v, offset));
    __syncwarp(half);
  }
  const unsigned quad = 0xfu << (lane & ~3);
  int sum = v;
  sum += __shfl_xor_sync(quad, sum, 1);
  sum += __shfl_xor_sync(quad, sum, 2);
  __syncwarp();
  out[threadIdx.x] = sum + __popc(__ballot_sync(kFull, v & 1));
}

GPUNN_KERNEL votes_kernel(unsigned mask, int* out) {
  const int lane = static_cast<int>(threadIdx.x), value = lane % 5;
  if (((mask >> lane) & 1u) == 0) return;
  int* own = out + lane * 8;
  own[0] = static_cast<int>(__ballot_sync(mask, value == 1));
  own[1] = __any_sync(mask, value == 4);
  own[2] = __all_sync(mask, value < 4);
  own[3] = static_cast<int>(__match_any_sync(mask, value));
  own[4] = __reduce_add_sync(mask, value - 2);
  own[5] = __reduce_min_sync(mask, value - 2);
  own[6] = __reduce_max_sync(mask, value - 2);
  own[7] = static_cast<int>(__reduce_xor_sync(mask, static_cast<unsigned>(value)));
}

GPUNN_DEVICE int linear_thread() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}

GPUNN_KERNEL block_shape_kernel(int* out) {
  atomicAdd(&out[linear_thread()], static_cast<int>(100 * threadIdx.z + 10 * threadIdx.y + threadIdx.x + 1));
}

GPUNN_KERNEL block_shape_reversed_kernel(int* out) {
  GPUNN_SHARED(values, int[1024]);
  const int last = static_cast<int>(blockDim.x * blockDim.y * blockDim.z) - 1;
  values[linear_thread()] = static_cast<int>(100 * threadIdx.z + 10 * threadIdx.y + threadIdx.x + 1);
  __syncthreads();
  atomicAdd(&out[linear_thread()], values[last - linear_thread()]);
}

GPUNN_KERNEL barrier_votes_kernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(i % 3 == 0), all = __syncthreads_and(i < 64),
            any = __syncthreads_or(i == 63);
  out[i] = count * 100 + (all != 0 ? 10 : 0) + (any != 0 ? 1 : 0);
}

GPUNN_KERNEL producer_consumer_kernel(const float* x, int n, float* out) {
  constexpr int kFullBarrier = 1, kEmptyBarrier = 2, kThreads = 128;
  GPUNN_SHARED(row, float[32]);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  if (warp == 0) {
    for (int i = 0; i < n; ++i) {
      if (i > 0) ptx::bar_sync(kEmptyBarrier, kThreads);
      row[lane] = x[i * 32 + lane];
      ptx::bar_arrive(kFullBarrier, kThreads);
    }
    return;
  }
  float sum = 0.0f;
  for (int i = 0; i < n; ++i) {
    ptx::bar_sync(kFullBarrier, kThreads);
    sum += row[lane] * static_cast<float>(warp);
    if (i + 1 < n) ptx::bar_arrive(kEmptyBarrier, kThreads);
  }
  out[threadIdx.x] = sum;
}

GPUNN_KERNEL chain_kernel(unsigned* flags, float* values, float* out) {
  if (threadIdx.x != 0) return;
  float before = 0.0f;
  if (blockIdx.x > 0) {
    while (ptx::ld_acquire(&flags[blockIdx.x - 1]) == 0) ptx::spin_pause();
    before = values[blockIdx.x - 1];
  }
  values[blockIdx.x] = out[blockIdx.x] = before + 1.0f;
  ptx::st_release(&flags[blockIdx.x], 1);
}

GPUNN_KERNEL spin_inside_block_kernel(unsigned* flag, int* out) {
  if (threadIdx.x == 0) {
    while (ptx::ld_acquire(flag) == 0) ptx::spin_pause();
    out[0] = 1;
  }
  if (threadIdx.x == 70) ptx::st_release(flag, 1);
}

GPUNN_KERNEL atomics_kernel(unsigned* out, float* sum) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&out[0], i);
  atomicSub(&out[1], 1u);
  atomicMin(&out[2], i + 5);
  atomicMax(&out[3], i);
  atomicAnd(&out[4], ~(1u << (i % 8)));
  atomicOr(&out[5], 1u << (i % 8));
  atomicXor(&out[6], i);
  atomicInc(&out[7], 9u);
  atomicDec(&out[8], 9u);
  if (atomicExch(&out[9], i + 1) == 0) atomicAdd(&out[10], 1u);
  if (atomicCAS(&out[11], 0u, i + 1) == 0) atomicAdd(&out[12], 1u);
  atomicAdd(sum, 0.5f);
}

GPUNN_KERNEL block_sums_kernel(float* out) {
  GPUNN_SHARED(part, float[32]);
  float v = static_cast<float>(threadIdx.x);
  GPUNN_UNROLL
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(kFull, v, offset);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();  // all partial sums are written
  if (threadIdx.x < 32) {
    if (threadIdx.x >= blockDim.x / 32) part[threadIdx.x] = 0.0f;
    __syncwarp();
    float sum = 0.0f;
    for (int i = 0; i < 32; ++i) sum += part[i];
    __syncwarp();
    part[threadIdx.x] = sum;
  }
  __syncthreads();  // the total is written
  if (threadIdx.x == blockDim.x - 1) out[blockIdx.x] = part[0] + static_cast<float>(blockIdx.x);
}

}  // namespace

cudaError_t launch_shuffle(ShuffleKind kind, int argument, int width, int* out) {
  return launch_kernel("shuffle", &shuffle_kernel, {1, 32}, kind, argument, width, out);
}
cudaError_t launch_submasks(int* out, int warps) {
  return launch_kernel("submasks", &submasks_kernel, {1, static_cast<unsigned>(warps) * 32}, out);
}
cudaError_t launch_votes(unsigned mask, int* out) {
  return launch_kernel("votes", &votes_kernel, {1, 32}, mask, out);
}
cudaError_t launch_block_shape(dim3 block, bool reversed, int* out) {
  return launch_kernel("block_shape", reversed ? &block_shape_reversed_kernel : &block_shape_kernel,
                       {2, block}, out);
}
cudaError_t launch_barrier_votes(int threads, int* out) {
  return launch_kernel("barrier_votes", &barrier_votes_kernel, {1, static_cast<unsigned>(threads)}, out);
}
cudaError_t launch_producer_consumer(const float* x, int n, float* out) {
  return launch_kernel("producer_consumer", &producer_consumer_kernel, {1, 128}, x, n, out);
}
cudaError_t launch_chain(int blocks, unsigned* flags, float* values, float* out) {
  return launch_kernel("chain", &chain_kernel, {static_cast<unsigned>(blocks), 32}, flags, values, out);
}
cudaError_t launch_spin_inside_block(unsigned* flag, int* out) {
  return launch_kernel("spin_inside_block", &spin_inside_block_kernel, {1, 96}, flag, out);
}
cudaError_t launch_atomics(int threads, unsigned* out, float* sum) {
  return launch_kernel("atomics", &atomics_kernel, {static_cast<unsigned>(threads) / 64, 64}, out, sum);
}
cudaError_t launch_block_sums(int blocks, int threads, float* out) {
  return launch_kernel("block_sums", &block_sums_kernel,
                       {static_cast<unsigned>(blocks), static_cast<unsigned>(threads)}, out);
}

}  // namespace gpunn::test
