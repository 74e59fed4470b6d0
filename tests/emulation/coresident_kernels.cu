#include "tests/emulation/coresident_kernels.h"

#include <cmath>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_coresident.cuh"
#include "gpunn/kernels/common/grid_barrier.cuh"

namespace gpunn::test {
namespace {

GPUNN_DEVICE unsigned load_relaxed(unsigned* address) { return atomicAdd(address, 0u); }

// What GridBarrier is not: `kBug` leaves one half of its ordering out. Counts up, for one launch.
template <GridBug kBug>
GPUNN_DEVICE void weak_barrier(unsigned* counter, unsigned round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    if (kBug == GridBug::no_release) {
      atomicAdd(counter, 1u);
    } else {
      ptx::red_release_add(counter, 1);
    }
    const unsigned all = round * gridDim.x;
    if (kBug == GridBug::no_acquire) {
      while (load_relaxed(counter) < all) ptx::spin_pause();
    } else {
      while (ptx::ld_acquire(counter) < all) ptx::spin_pause();
    }
  }
  __syncthreads();
}

template <GridBug kBug>
GPUNN_KERNEL exchange_kernel(ExchangeMemory memory, int rounds) {
  constexpr bool kWeak = kBug == GridBug::no_release || kBug == GridBug::no_acquire;
  GridBarrier barrier(memory.counter);
  const unsigned own = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned next = (blockIdx.x + 1) % gridDim.x * blockDim.x + threadIdx.x;
  unsigned passed = 0;
  float value = memory.x[own], added = 0.0f;
  for (int round = 0; round < rounds; ++round) {
    if (kBug == GridBug::write_after_arrive) barrier.arrive();
    memory.values[own] = value;
    if (kBug == GridBug::missing_arrival && round + 1 == rounds && blockIdx.x == 2) return;
    if (kWeak) {
      weak_barrier<kBug>(memory.counter, ++passed);
    } else if (kBug == GridBug::none_split) {
      barrier.arrive();
      added = static_cast<float>(round + 1) - static_cast<float>(round);  // work of its own
      barrier.wait();
    } else if (kBug == GridBug::write_after_arrive) {
      barrier.wait();
    } else if (kBug != GridBug::no_barrier_before_read) {
      barrier.sync();
    }
    value = memory.values[next] + (kBug == GridBug::none_split ? added : 1.0f);
    if (kWeak) {
      weak_barrier<kBug>(memory.counter, ++passed);
    } else if (kBug != GridBug::no_barrier_before_reuse) {
      barrier.sync();
    }
  }
  memory.y[own] = value;
}

GPUNN_KERNEL grid_shared_offset_kernel(const float* x, float* y, unsigned* counter, int offset) {
  GPUNN_SHARED(tile, float[64]);
  const unsigned t = threadIdx.x, i = blockIdx.x * 64 + t;
  GridBarrier barrier(counter);
  tile[t] = x[i];
  barrier.sync();
  if (offset != 0 && blockIdx.x == 2) tile[static_cast<int>(t) + offset] = x[i];
  barrier.sync();
  y[i] = tile[t];
}

GPUNN_KERNEL higher_block_kernel(unsigned* flags) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x + 1 < gridDim.x)
    while (ptx::ld_acquire(&flags[blockIdx.x + 1]) == 0) ptx::spin_pause();
  ptx::st_release(&flags[blockIdx.x], 1);
}

GPUNN_KERNEL ping_pong_kernel(unsigned hops, unsigned* flags, float* y) {
  const unsigned self = blockIdx.x, other = 1 - self;
  for (unsigned i = 1; i <= hops; ++i) {
    if (self == 1)
      while (ptx::ld_acquire(&flags[other]) < i) ptx::spin_pause();
    y[0] = i == 1 && self == 0 ? 1.0f : y[0] + 1.0f;
    ptx::st_release(&flags[self], i);
    if (self == 0)
      while (ptx::ld_acquire(&flags[other]) < i) ptx::spin_pause();
  }
}

GPUNN_KERNEL grid_sum_kernel(const float* x, float* partial, float* y, unsigned* counter) {
  GPUNN_SHARED(sum, float);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  const unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  GridBarrier barrier(counter);
  if (t == 0) sum = 0.0f;
  __syncthreads();
  atomicAdd(&sum, x[b * threads + t]);
  __syncthreads();
  if (t == 0) partial[b] = sum;
  barrier.sync();
  if (b == 0 && t == 0) {
    float total = 0.0f;
    for (unsigned i = 0; i < gridDim.x * gridDim.y * gridDim.z; ++i) total += partial[i];
    y[0] = total;
  }
}

GPUNN_KERNEL large_shared_kernel(float* y) {
  GPUNN_SHARED(tile, float[10 * 1024]);
  tile[threadIdx.x] = 1.0f;
  y[blockIdx.x * blockDim.x + threadIdx.x] = tile[threadIdx.x];
}

template <GridBug kBug>
cudaError_t run_exchange(const ExchangeShape& shape, const ExchangeMemory& memory, cudaStream_t stream) {
  const LaunchConfig config{dim3(static_cast<unsigned>(shape.blocks)),
                            dim3(static_cast<unsigned>(shape.threads)), 0, stream};
  if (kBug == GridBug::ordinary_launch)
    return launch_kernel("exchange", &exchange_kernel<kBug>, config, memory, shape.rounds);
  return launch_kernel_coresident("exchange", &exchange_kernel<kBug>, config, memory, shape.rounds);
}

}  // namespace

cudaError_t launch_exchange(GridBug bug, const ExchangeShape& shape, const ExchangeMemory& memory,
                            cudaStream_t stream) {
  switch (bug) {
    case GridBug::none:
      return run_exchange<GridBug::none>(shape, memory, stream);
    case GridBug::none_split:
      return run_exchange<GridBug::none_split>(shape, memory, stream);
    case GridBug::no_barrier_before_read:
      return run_exchange<GridBug::no_barrier_before_read>(shape, memory, stream);
    case GridBug::no_barrier_before_reuse:
      return run_exchange<GridBug::no_barrier_before_reuse>(shape, memory, stream);
    case GridBug::write_after_arrive:
      return run_exchange<GridBug::write_after_arrive>(shape, memory, stream);
    case GridBug::no_release:
      return run_exchange<GridBug::no_release>(shape, memory, stream);
    case GridBug::no_acquire:
      return run_exchange<GridBug::no_acquire>(shape, memory, stream);
    case GridBug::missing_arrival:
      return run_exchange<GridBug::missing_arrival>(shape, memory, stream);
    case GridBug::ordinary_launch:
      return run_exchange<GridBug::ordinary_launch>(shape, memory, stream);
  }
  return cudaErrorInvalidValue;
}

std::vector<float> expected_exchange(const std::vector<float>& x, const ExchangeShape& shape) {
  const auto blocks = static_cast<std::size_t>(shape.blocks),
             threads = static_cast<std::size_t>(shape.threads);
  const auto rounds = static_cast<std::size_t>(shape.rounds);
  std::vector<float> y(blocks * threads);
  for (std::size_t b = 0; b < blocks; ++b)
    for (std::size_t t = 0; t < threads; ++t)
      y[b * threads + t] = x[(b + rounds) % blocks * threads + t] + static_cast<float>(rounds);
  return y;
}

bool near_all(const std::vector<float>& got, const std::vector<float>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(std::fabs(got[i] - expected[i]) < 1e-3f)) return false;
  return true;
}

cudaError_t launch_grid_shared_offset(int offset, const float* x, float* y, unsigned* counter) {
  return launch_kernel_coresident("grid_shared_offset", &grid_shared_offset_kernel, {4, 64}, x, y, counter,
                                  offset);
}

cudaError_t launch_higher_block(bool coresident, unsigned* flags) {
  const LaunchConfig config{kHigherBlocks, 32};
  return coresident ? launch_kernel_coresident("higher_block", &higher_block_kernel, config, flags)
                    : launch_kernel("higher_block", &higher_block_kernel, config, flags);
}

cudaError_t launch_ping_pong(unsigned hops, unsigned* flags, float* y) {
  return launch_kernel_coresident("ping_pong", &ping_pong_kernel, {2, 1}, hops, flags, y);
}

cudaError_t launch_grid_sum(dim3 grid, dim3 block, const float* x, float* partial, float* y,
                            unsigned* counter) {
  return launch_kernel_coresident("grid_sum", &grid_sum_kernel, {grid, block}, x, partial, y, counter);
}

cudaError_t launch_large_shared(unsigned blocks, std::size_t dynamic_bytes, float* y) {
  return launch_kernel_coresident("large_shared", &large_shared_kernel, {blocks, 32, dynamic_bytes}, y);
}

cudaError_t occupancy(int& of_each, int threads, std::size_t shared_bytes) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(&of_each, &large_shared_kernel, threads, shared_bytes);
}

cudaError_t device_blocks(int& blocks, unsigned threads, std::size_t shared_bytes) {
  return coresident_blocks(blocks, &large_shared_kernel, threads, shared_bytes);
}

}  // namespace gpunn::test
