#pragma once
// Random numbers on the host: a seed and an offset into a Philox stream.
#include <cstdint>
#include <mutex>

#include "gpunn/core/api.h"
#include "gpunn/core/philox.h"

namespace gpunn {

/// Position in a Philox stream. Ops take a range of it with reserve(), so the same program draws the same
/// numbers.
class GPUNN_API Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) noexcept : seed_(seed) {}
  void set_seed(std::uint64_t seed) noexcept;
  std::uint64_t seed() const noexcept;
  std::uint64_t offset() const noexcept;
  /// Continues a saved stream.
  void set_state(std::uint64_t seed, std::uint64_t offset) noexcept;
  /// First block of a range of `blocks` blocks of four numbers that nobody else gets.
  std::uint64_t reserve(std::uint64_t blocks) noexcept;

 private:
  mutable std::mutex mutex_;
  std::uint64_t seed_;
  std::uint64_t offset_ = 0;
};

/// Seeds the current Runtime's generator and rewinds it.
GPUNN_API void manual_seed(std::uint64_t seed);

/// Two independent standard normals from two words (Box-Muller in double, rounded to float).
GPUNN_API void philox_normal(std::uint32_t a, std::uint32_t b, float& first, float& second) noexcept;

/// A small sequential reader of one Philox subsequence, for host code (shuffles, augmentation, initial
/// weights).
class GPUNN_API PhiloxStream {
 public:
  PhiloxStream(std::uint64_t seed, std::uint64_t subsequence) noexcept
      : seed_(seed), subsequence_(subsequence) {}
  std::uint32_t bits() noexcept;
  /// [0, 1), 24 bits.
  float uniform() noexcept { return philox_uniform(bits()); }
  /// Standard normal (Box-Muller in double, rounded to float).
  float normal() noexcept;
  /// Unbiased in [0, n), n >= 1.
  std::uint64_t below(std::uint64_t n) noexcept;

 private:
  std::uint64_t seed_, subsequence_, block_ = 0;
  Philox4 current_{};
  int used_ = 4;
  float spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace gpunn
