#pragma once
// CUDA's atomic functions for the emulated build: relaxed, visible to blocks on other OS threads, no
// ordering.

#include <atomic>

namespace gpunn::emu {

template <class T, class Operation>
inline T atomic_update(T* address, Operation operation) {
  std::atomic_ref<T> target(*address);
  T old = target.load(std::memory_order_relaxed);
  while (!target.compare_exchange_weak(old, operation(old), std::memory_order_relaxed)) {
  }
  return old;
}

template <class T>
inline T atomic_compare_and_swap(T* address, T compare, T value) {
  std::atomic_ref<T>(*address).compare_exchange_strong(compare, value, std::memory_order_relaxed);
  return compare;
}

}  // namespace gpunn::emu

#define GPUNN_EMU_ATOMIC(T, NAME, EXPRESSION)                                              \
  inline T NAME(T* address, T value) {                                                     \
    return gpunn::emu::atomic_update(address, [value](T old) -> T { return EXPRESSION; }); \
  }
#define GPUNN_EMU_ATOMIC_INTEGERS(NAME, EXPRESSION) \
  GPUNN_EMU_ATOMIC(int, NAME, EXPRESSION)           \
  GPUNN_EMU_ATOMIC(unsigned, NAME, EXPRESSION)      \
  GPUNN_EMU_ATOMIC(unsigned long long, NAME, EXPRESSION)

GPUNN_EMU_ATOMIC_INTEGERS(atomicAdd, old + value)
GPUNN_EMU_ATOMIC(float, atomicAdd, old + value)
GPUNN_EMU_ATOMIC(double, atomicAdd, old + value)
GPUNN_EMU_ATOMIC(int, atomicSub, old - value)
GPUNN_EMU_ATOMIC(unsigned, atomicSub, old - value)
GPUNN_EMU_ATOMIC_INTEGERS(atomicMin, old < value ? old : value)
GPUNN_EMU_ATOMIC(long long, atomicMin, old < value ? old : value)
GPUNN_EMU_ATOMIC_INTEGERS(atomicMax, old > value ? old : value)
GPUNN_EMU_ATOMIC(long long, atomicMax, old > value ? old : value)
GPUNN_EMU_ATOMIC_INTEGERS(atomicAnd, old& value)
GPUNN_EMU_ATOMIC_INTEGERS(atomicOr, old | value)
GPUNN_EMU_ATOMIC_INTEGERS(atomicXor, old ^ value)
GPUNN_EMU_ATOMIC_INTEGERS(atomicExch, (static_cast<void>(old), value))
GPUNN_EMU_ATOMIC(float, atomicExch, (static_cast<void>(old), value))
GPUNN_EMU_ATOMIC(unsigned, atomicInc, old >= value ? 0u : old + 1)
GPUNN_EMU_ATOMIC(unsigned, atomicDec, old == 0 || old > value ? value : old - 1)

#undef GPUNN_EMU_ATOMIC_INTEGERS
#undef GPUNN_EMU_ATOMIC

inline int atomicCAS(int* address, int compare, int value) {
  return gpunn::emu::atomic_compare_and_swap(address, compare, value);
}
inline unsigned atomicCAS(unsigned* address, unsigned compare, unsigned value) {
  return gpunn::emu::atomic_compare_and_swap(address, compare, value);
}
inline unsigned long long atomicCAS(unsigned long long* address, unsigned long long compare,
                                    unsigned long long value) {
  return gpunn::emu::atomic_compare_and_swap(address, compare, value);
}
