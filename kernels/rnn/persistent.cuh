#pragma once
// What the persistent kernels share: shared memory, weights that stay, the launch.
#include "gpunn/core/launch_coresident.cuh"
#include "gpunn/kernels/common/grid_barrier.cuh"
#include "gpunn/kernels/rnn/persistent_impl.h"
#include "gpunn/kernels/rnn/rnn_product.cuh"
#include "gpunn/kernels/rnn/rnn_units.cuh"
#include "gpunn/kernels/rnn/steps_impl.h"

namespace gpunn {

/// kN columns: the units' gates in forward, the units in backward.
template <class T, bool kTensor, int kN, int kStages>
using RnnPersistentConfig = rnn_product::Config<T, kTensor, kPersistentRows, kN, kPersistentWarps, kStages>;

/// A block's shared memory: weights [kN, ld], the warps' own, f32 states [tiles, kThreads].
template <class C>
struct RnnPersistentMemory {
  using T = typename C::T;
  static constexpr int kOwn = rnn_product::kOwnBytes<C, C::kSizeA>;
  static_assert(C::kThreads == kPersistentRows * kPersistentUnits);  // a thread per element of a tile

  GPUNN_DEVICE RnnPersistentMemory(unsigned char* memory, std::int64_t K)
      : ld(static_cast<int>((K + C::kSlice - 1) / C::kSlice) * C::kSlice + C::kPad),
        weights(reinterpret_cast<T*>(memory)),
        warps(memory + C::kN * ld * static_cast<int>(sizeof(T))),
        states(reinterpret_cast<float*>(warps + C::kWarps * kOwn)) {}

  /// `at(n, k)` is where an element of the weights lies, null for n and k beyond them; neighbours along k.
  template <class At>
  GPUNN_DEVICE void keep_rows(const T* any, int bytes, At at) {
    rnn_product::copy_rows(weights, C::kN, ld - C::kPad, ld, static_cast<int>(threadIdx.x), C::kThreads, any,
                           bytes, at);
    ptx::cp_async_wait_all();
    __syncthreads();  // the weights have arrived from every thread
  }
  /// The same for neighbours along n, transposed on the way.
  template <class At>
  GPUNN_DEVICE void keep_columns(At at) {
    constexpr int kAhead = 8;  // elements of a thread on their way
    const int count = C::kN * (ld - C::kPad);
    GPUNN_ROLLED
    for (int first = static_cast<int>(threadIdx.x); first < count; first += kAhead * C::kThreads) {
      T values[kAhead];
      GPUNN_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        const int i = first + a * C::kThreads;
        const T* const from = i < count ? at(i % C::kN, i / C::kN) : nullptr;
        values[a] = from ? *from : from_float<T>(0.0f);
      }
      GPUNN_UNROLL
      for (int a = 0; a < kAhead; ++a) {
        const int i = first + a * C::kThreads;
        if (i < count) weights[i % C::kN * ld + i / C::kN] = values[a];
      }
    }
    __syncthreads();  // the weights are there for all warps
  }
  GPUNN_DEVICE T* own() const { return reinterpret_cast<T*>(warps + rnn_product::warp() * kOwn); }
  GPUNN_DEVICE float* state(int tile) const {
    return states + tile * C::kThreads + static_cast<int>(threadIdx.x);
  }

  int ld;
  T* weights;
  unsigned char* warps;
  float* states;
};

/// All warps' shares of left [kM, K] x weights, of which a thread sums the columns it asks for with total().
/// `left(r, k)` is where an element of the left rows lies, or null.
template <class C, class Left>
GPUNN_DEVICE void rnn_persistent_product(const RnnPersistentMemory<C>& memory, std::int64_t K,
                                         const typename C::T* any, int bytes, Left left) {
  using T = typename C::T;
  T* const own = memory.own();
  rnn_product::Sums<C> sum = {};
  rnn_product::sum_slices<C>(
      own, C::kSizeA, K,
      [&](T* stage, std::int64_t k0) {
        rnn_product::load_tile<T, C::kM, C::kSlice, C::kLdK>(
            stage, any, bytes, [&](int r, int k) -> const T* { return left(r, k0 + k); });
      },
      [&](const T* stage, std::int64_t k) {
        rnn_product::multiply<C, false>(stage, memory.weights + k, memory.ld, sum);
      });
  rnn_product::store_sums<C>(sum, reinterpret_cast<float*>(own));
  __syncthreads();  // every warp's sums are there
}

/// Launches with as many groups as the device has room for; false if not even one.
template <class C, class P, class K>
bool rnn_launch_persistent(const char* name, K kernel, const P& p, std::int64_t terms,
                           const RnnPersistentPlan& plan, const Exec& exec) {
  const std::int64_t units = rnn_pieces(p.sizes.H, kPersistentUnits);
  const std::int64_t tiles = rnn_pieces(p.sizes.B, kPersistentRows);
  for (std::int64_t groups = rnn_persistent_groups(p.sizes, kPersistentBlocks); groups > 0; groups /= 2) {
    const auto bytes = static_cast<std::size_t>(
        rnn_persistent_bytes(terms, C::kN, sizeof(typename C::T), C::kStages, rnn_pieces(tiles, groups)));
    if (coresident_blocks(kernel, C::kThreads, bytes, exec) < units * groups) continue;
    zero_grid_barrier(plan.counter, exec);
    launch_coresident(
        name, kernel,
        Grid{dim3(static_cast<unsigned>(units), static_cast<unsigned>(groups)), dim3(C::kThreads), bytes},
        exec, p, plan);
    return true;
  }
  return false;
}

}  // namespace gpunn
