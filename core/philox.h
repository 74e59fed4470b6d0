#pragma once
// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC'11). The same (seed, offset) gives the same bits on every device.
#include <cstdint>

#include "gpunn/core/hd.h"

namespace gpunn {

struct Philox4 {
  std::uint32_t v[4];
};

/// Ten rounds over a 128-bit counter with a 64-bit key.
GPUNN_HD Philox4 philox4x32(Philox4 counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter.v[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter.v[2];
    counter = {{static_cast<std::uint32_t>(p1 >> 32) ^ counter.v[1] ^ key0, static_cast<std::uint32_t>(p1),
                static_cast<std::uint32_t>(p0 >> 32) ^ counter.v[3] ^ key1, static_cast<std::uint32_t>(p0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// Four numbers for position `block` of the stream (seed): elements 4*block … 4*block+3.
GPUNN_HD Philox4 philox_at(std::uint64_t seed, std::uint64_t block, std::uint64_t subsequence = 0) {
  return philox4x32(
      {{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
        static_cast<std::uint32_t>(subsequence), static_cast<std::uint32_t>(subsequence >> 32)}},
      static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// Uniform in [0, 1): the upper 24 bits, so every value is exact in float.
GPUNN_HD float philox_uniform(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

}  // namespace gpunn
