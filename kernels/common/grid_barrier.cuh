#pragma once
// A barrier of all blocks of a launch, for kernels started by launch_coresident().
//
// The counter's low bits count arrivals and its highest bit is the phase: the first block adds what carries
// the count of all blocks into it, so that a full round leaves zero arrivals and the other phase. A block
// remembers the phase it arrived in and waits for the other one. So the counter needs no reset inside a
// kernel, and a launch that ends well leaves it ready for the next, of whatever grid. It is zero before its
// first use (launch-time scratch memory before each launch: zero_grid_barrier), and is zeroed again after a
// launch that failed, which may have left some blocks' arrivals in it.
//
// Data that blocks exchange is read by ordinary loads after the barrier. It must not be read through a
// `const T* __restrict__` or __ldg: those may come from a cache that no barrier invalidates.

#include <cstddef>

#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/ptx/grid.cuh"

namespace gpunn {

/// What to reserve for a counter, so that polling it disturbs nobody's data.
inline constexpr std::size_t kGridBarrierBytes = 128;

/// Made by every thread of every block before any of them arrives. All threads of all blocks make the same
/// calls. Between arrive() and wait() a block may do work that needs nothing of other blocks and writes
/// nothing that they read after this barrier.
class GridBarrier {
 public:
  GPUNN_DEVICE explicit GridBarrier(unsigned* counter) : counter_(counter), phase_(0) {
    ptx::require_coresident();
    if (leads()) phase_ = ptx::ld_acquire(counter_) & kPhase;
  }

  /// What the block wrote before becomes visible to those who have waited.
  GPUNN_DEVICE void arrive() {
    __syncthreads();  // all of the block's writes come before the leader's release
    if (leads()) ptx::grid_arrive(counter_, step(), phase_);
  }

  /// Until all blocks have arrived.
  GPUNN_DEVICE void wait() {
    if (leads()) {
      while (!ptx::grid_left_phase(counter_, phase_)) ptx::spin_pause();
      phase_ ^= kPhase;
    }
    __syncthreads();  // the others read only after the leader's acquire
  }

  GPUNN_DEVICE void sync() {
    arrive();
    wait();
  }

 private:
  static constexpr unsigned kPhase = 0x80000000u;

  GPUNN_DEVICE static bool leads() { return (threadIdx.x | threadIdx.y | threadIdx.z) == 0; }
  GPUNN_DEVICE static unsigned step() {
    if ((blockIdx.x | blockIdx.y | blockIdx.z) != 0) return 1;
    return kPhase - (gridDim.x * gridDim.y * gridDim.z - 1);
  }

  unsigned* counter_;
  unsigned phase_;  // of the leader's next arrival
};

/// On the stream, before the launch.
inline void zero_grid_barrier(unsigned* counter, const Exec& exec) {
  detail::before_launch("zero_grid_barrier", {}, exec);
  const cudaError_t error =
      cudaMemsetAsync(counter, 0, sizeof *counter, static_cast<cudaStream_t>(exec.stream));
  if (error != cudaSuccess) detail::launch_failed(static_cast<int>(error), "zero_grid_barrier", {});
  detail::after_launch(exec);
}

}  // namespace gpunn
