#include "gpunn/core/random.h"

#include <cmath>
#include <numbers>

#include "gpunn/core/runtime.h"

namespace gpunn {

void Generator::set_seed(std::uint64_t seed) noexcept { set_state(seed, 0); }

std::uint64_t Generator::seed() const noexcept {
  std::lock_guard lock(mutex_);
  return seed_;
}

std::uint64_t Generator::offset() const noexcept {
  std::lock_guard lock(mutex_);
  return offset_;
}

void Generator::set_state(std::uint64_t seed, std::uint64_t offset) noexcept {
  std::lock_guard lock(mutex_);
  seed_ = seed;
  offset_ = offset;
}

std::uint64_t Generator::reserve(std::uint64_t blocks) noexcept {
  std::lock_guard lock(mutex_);
  const std::uint64_t first = offset_;
  offset_ += blocks;
  return first;
}

void manual_seed(std::uint64_t seed) { Runtime::current().generator().set_seed(seed); }

void philox_normal(std::uint32_t a, std::uint32_t b, float& first, float& second) noexcept {
  // (0, 1]: the logarithm's argument must not be zero.
  const double u = (static_cast<double>(a) + 1.0) * 0x1p-32;
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(b) * 0x1p-32);
  const double radius = std::sqrt(-2.0 * std::log(u));
  first = static_cast<float>(radius * std::cos(angle));
  second = static_cast<float>(radius * std::sin(angle));
}

std::uint32_t PhiloxStream::bits() noexcept {
  if (used_ == 4) {
    current_ = philox_at(seed_, block_++, subsequence_);
    used_ = 0;
  }
  return current_.v[used_++];
}

float PhiloxStream::normal() noexcept {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const std::uint32_t a = bits();
  float first;
  philox_normal(a, bits(), first, spare_);
  has_spare_ = true;
  return first;
}

std::uint64_t PhiloxStream::below(std::uint64_t n) noexcept {
  if (n <= 1) return 0;
  // Rejection of the last incomplete multiple of n keeps every value equally likely.
  if (n <= (std::uint64_t{1} << 32)) {
    const std::uint64_t range = std::uint64_t{1} << 32;
    const std::uint64_t limit = range - range % n;
    std::uint64_t value = bits();
    while (value >= limit) value = bits();
    return value % n;
  }
  const std::uint64_t excess = (~std::uint64_t{0} % n + 1) % n;  // 2^64 mod n
  for (;;) {
    const std::uint64_t low = bits();
    const std::uint64_t value = (std::uint64_t{bits()} << 32) | low;
    if (value <= ~std::uint64_t{0} - excess) return value % n;
  }
}

}  // namespace gpunn
