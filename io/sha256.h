#pragma once
// SHA-256 (FIPS 180-4), for check sums of data sets and weights. Not for secrets. Written here because the
// library links no cryptography, and one digest is no reason to.
#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "gpunn/core/api.h"

namespace gpunn {

/// A digest of bytes that come in pieces.
class GPUNN_API Sha256 {
 public:
  void update(std::span<const std::uint8_t> data) noexcept;
  /// The digest of everything so far as 64 lower-case hexadecimal digits; more may follow.
  std::string hex() const;

 private:
  void block(const std::uint8_t* data) noexcept;

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};
  std::uint64_t bytes_ = 0;
};

GPUNN_API std::string sha256_hex(std::span<const std::uint8_t> data);
/// The file's digest, read in pieces. Throws DataError.
GPUNN_API std::string sha256_of_file(const std::string& path);

}  // namespace gpunn
