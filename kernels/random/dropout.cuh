#pragma once
// Dropout's mask within another kernel.
#include <cstdint>

#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/philox.h"
#include "gpunn/kernels/random/random_impl.h"

namespace gpunn {

/// v[k] times the factor of element at + k, rounded as dropout() rounds. kWidth is 1, or `at` and it are
/// multiples of 4, so that no block of numbers is drawn for a part of it.
template <int kWidth>
GPUNN_DEVICE void drop_elements(const DropoutMask& mask, std::int64_t at, float (&v)[kWidth]) {
  const float scale = static_cast<float>(mask.scale);
  const auto factor = [&](std::uint32_t bits) { return bits <= mask.greatest_kept ? scale : 0.0f; };
  const std::uint64_t block = mask.offset + static_cast<std::uint64_t>(at) / 4;
  if constexpr (kWidth == 1) {
    const Philox4 random = philox_at(mask.seed, block);
    const int k = static_cast<int>(at % 4);
    const std::uint32_t low = k == 0 ? random.v[0] : random.v[1], high = k == 2 ? random.v[2] : random.v[3];
    v[0] = __fmul_rn(v[0], factor(k < 2 ? low : high));
  } else {
    static_assert(kWidth % 4 == 0);
    GPUNN_UNROLL
    for (int b = 0; b < kWidth / 4; ++b) {
      const Philox4 random = philox_at(mask.seed, block + static_cast<std::uint64_t>(b));
      GPUNN_UNROLL
      for (int j = 0; j < 4; ++j) v[4 * b + j] = __fmul_rn(v[4 * b + j], factor(random.v[j]));
    }
  }
}

}  // namespace gpunn
