#pragma once
// What a kernel body may name, for the emulated build: qualifiers, built-in variables, barriers, votes,
// shuffles.

#include <cassert>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "gpunn/core/emulation/context.h"
#include "gpunn/core/emulation/device_atomics.h"
#include "gpunn/core/emulation/device_math.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
// __noinline__ stays undefined: libstdc++ spells __attribute__((__noinline__)).
#define __launch_bounds__(...)
#define __grid_constant__
#define __cluster_dims__(...)
#define __align__(n) alignas(n)

#define threadIdx (::gpunn::emu::context.thread)
#define blockIdx (::gpunn::emu::context.block)
#define blockDim (::gpunn::emu::context.block_dim)
#define gridDim (::gpunn::emu::context.grid_dim)

namespace gpunn::emu {

enum class Vote { count, all, any };
enum class Shuffle { index, up, down, exclusive };
enum class Reduction { add, min_unsigned, max_unsigned, min_signed, max_signed, bit_and, bit_or, bit_xor };

GPUNN_EMU_API void sync_threads();
GPUNN_EMU_API int sync_threads_vote(Vote kind, bool predicate);
GPUNN_EMU_API void sync_warp(unsigned mask);
GPUNN_EMU_API std::uint64_t shuffle(unsigned mask, std::uint64_t bits, Shuffle kind, int argument, int width);
GPUNN_EMU_API unsigned ballot(unsigned mask, bool predicate);
GPUNN_EMU_API unsigned match_any(unsigned mask, std::uint64_t bits);
GPUNN_EMU_API std::uint64_t reduce_warp(unsigned mask, std::uint64_t bits, Reduction kind);
GPUNN_EMU_API void thread_fence();
GPUNN_EMU_API void yield();  // lets other threads of the block run; what a spin loop calls
[[noreturn]] GPUNN_EMU_API void trap();

template <class T>
inline T shuffle_value(unsigned mask, T value, Shuffle kind, int argument, int width) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, kind, argument, width);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace gpunn::emu

inline constexpr int warpSize = 32;

inline void __syncthreads() { gpunn::emu::sync_threads(); }
inline int __syncthreads_count(int p) {
  return gpunn::emu::sync_threads_vote(gpunn::emu::Vote::count, p != 0);
}
inline int __syncthreads_and(int p) { return gpunn::emu::sync_threads_vote(gpunn::emu::Vote::all, p != 0); }
inline int __syncthreads_or(int p) { return gpunn::emu::sync_threads_vote(gpunn::emu::Vote::any, p != 0); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { gpunn::emu::sync_warp(mask); }

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return gpunn::emu::shuffle_value(mask, value, gpunn::emu::Shuffle::index, lane, width);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return gpunn::emu::shuffle_value(mask, value, gpunn::emu::Shuffle::up, static_cast<int>(delta), width);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return gpunn::emu::shuffle_value(mask, value, gpunn::emu::Shuffle::down, static_cast<int>(delta), width);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  return gpunn::emu::shuffle_value(mask, value, gpunn::emu::Shuffle::exclusive, lane_mask, width);
}

inline unsigned __ballot_sync(unsigned mask, int p) { return gpunn::emu::ballot(mask, p != 0); }
inline int __any_sync(unsigned mask, int p) { return gpunn::emu::ballot(mask, p != 0) != 0; }
inline int __all_sync(unsigned mask, int p) { return gpunn::emu::ballot(mask, p == 0) == 0; }
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return gpunn::emu::match_any(mask, bits);
}

inline unsigned __reduce_add_sync(unsigned mask, unsigned v) {
  return static_cast<unsigned>(gpunn::emu::reduce_warp(mask, v, gpunn::emu::Reduction::add));
}
inline int __reduce_add_sync(unsigned mask, int v) {
  return static_cast<int>(__reduce_add_sync(mask, static_cast<unsigned>(v)));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v) {
  return static_cast<unsigned>(gpunn::emu::reduce_warp(mask, v, gpunn::emu::Reduction::min_unsigned));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v) {
  return static_cast<unsigned>(gpunn::emu::reduce_warp(mask, v, gpunn::emu::Reduction::max_unsigned));
}
inline int __reduce_min_sync(unsigned mask, int v) {
  const auto bits = static_cast<std::uint64_t>(std::int64_t{v});
  return static_cast<int>(gpunn::emu::reduce_warp(mask, bits, gpunn::emu::Reduction::min_signed));
}
inline int __reduce_max_sync(unsigned mask, int v) {
  const auto bits = static_cast<std::uint64_t>(std::int64_t{v});
  return static_cast<int>(gpunn::emu::reduce_warp(mask, bits, gpunn::emu::Reduction::max_signed));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned v) {
  return static_cast<unsigned>(gpunn::emu::reduce_warp(mask, v, gpunn::emu::Reduction::bit_and));
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned v) {
  return static_cast<unsigned>(gpunn::emu::reduce_warp(mask, v, gpunn::emu::Reduction::bit_or));
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned v) {
  return static_cast<unsigned>(gpunn::emu::reduce_warp(mask, v, gpunn::emu::Reduction::bit_xor));
}

inline void __threadfence() { gpunn::emu::thread_fence(); }
inline void __threadfence_block() { gpunn::emu::thread_fence(); }
inline void __threadfence_system() { gpunn::emu::thread_fence(); }
inline void __nanosleep(unsigned) { gpunn::emu::yield(); }
[[noreturn]] inline void __trap() { gpunn::emu::trap(); }
