#pragma once
// The binary files of CIFAR-10 and CIFAR-100, plain or gzip.
//
// Records without a header: one label byte (CIFAR-100: the coarse one and the fine one), then 3,072 bytes of
// a 32 x 32 picture, all red ones, all green ones, all blue ones, row by row. Format:
// https://www.cs.toronto.edu/~kriz/cifar.html (A. Krizhevsky, 2009).
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/file.h"
#include "gpunn/io/gzip.h"

namespace gpunn {

inline constexpr int kCifarSide = 32;
inline constexpr std::size_t kCifarPixels = 3 * kCifarSide * kCifarSide;  // bytes of a picture

enum class CifarKind : std::uint8_t { cifar10, cifar100 };

struct CifarImages {
  Bytes pixels;                             // [N, 3, 32, 32]
  std::vector<std::int64_t> labels;         // [N]: 0 to 9, or the fine labels 0 to 99
  std::vector<std::int64_t> coarse_labels;  // [N] of CIFAR-100: 0 to 19; else empty
};

/// Throws DataError "<path>: …" naming the offset unless the file is one or more whole records with labels in
/// range.
GPUNN_API CifarImages parse_cifar(std::span<const std::uint8_t> file, std::string_view path, CifarKind kind);
/// The same of a file; needs its size twice. Throws DataError also when it cannot be read or decompressed.
GPUNN_API CifarImages read_cifar(const std::string& path, CifarKind kind, const GzipLimits& limits = {});

/// "airplane" … "truck", by label of CIFAR-10.
GPUNN_API std::span<const char* const> cifar10_classes() noexcept;

}  // namespace gpunn
