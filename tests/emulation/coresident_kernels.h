#pragma once
// Kernels whose blocks wait for each other, with their planted bugs.

#include <cuda_runtime_api.h>

#include <vector>

namespace gpunn::test {

enum class GridBug {
  none,
  none_split,               // arrives, does work of its own, waits
  no_barrier_before_read,   // reads the neighbour's value too early
  no_barrier_before_reuse,  // writes its next value while the neighbour may still read
  write_after_arrive,       // writes its value between arrive() and wait()
  no_release,               // a barrier by relaxed additions
  no_acquire,               // a barrier by relaxed loads
  missing_arrival,          // one block leaves before the last barrier
  ordinary_launch,
};

struct ExchangeShape {
  int blocks, threads, rounds;
};
inline constexpr ExchangeShape kExchangeShape{4, 64, 5};

struct ExchangeMemory {
  const float* x;     // [blocks * threads]
  float* values;      // [blocks * threads]
  float* y;           // [blocks * threads]
  unsigned* counter;  // [1], as GridBarrier wants it
};

// In each round every block takes its neighbour's values plus one: y[b][t] = x[b + rounds][t] + rounds.
cudaError_t launch_exchange(GridBug bug, const ExchangeShape& shape, const ExchangeMemory& memory,
                            cudaStream_t stream = nullptr);
std::vector<float> expected_exchange(const std::vector<float>& x, const ExchangeShape& shape);
bool near_all(const std::vector<float>& got, const std::vector<float>& expected);

// y = x through a shared tile of each of 4 blocks of 64 threads; block 2 writes `offset` elements too far.
cudaError_t launch_grid_shared_offset(int offset, const float* x, float* y, unsigned* counter);

// Each block but the last waits for a flag of the next one; flags [kHigherBlocks] are zero.
inline constexpr int kHigherBlocks = 16;
cudaError_t launch_higher_block(bool coresident, unsigned* flags);

// Two blocks of one thread hand a number to and fro; flags [2] are zero, y[0] = 2 hops.
cudaError_t launch_ping_pong(unsigned hops, unsigned* flags, float* y);

// Sums x over a grid and blocks of three dimensions by a barrier between two steps; partial [blocks], y [1].
cudaError_t launch_grid_sum(dim3 grid, dim3 block, const float* x, float* partial, float* y,
                            unsigned* counter);

// A co-resident kernel with `static` shared memory of 40 KiB besides the dynamic one.
cudaError_t launch_large_shared(unsigned blocks, std::size_t dynamic_bytes, float* y);
// cudaOccupancyMaxActiveBlocksPerMultiprocessor of a small kernel, and the whole device's number.
cudaError_t occupancy(int& of_each, int threads, std::size_t shared_bytes);
cudaError_t device_blocks(int& blocks, unsigned threads, std::size_t shared_bytes);

}  // namespace gpunn::test
