#pragma once
// Gzip in memory (RFC 1952), through zlib.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"
#include "gpunn/io/file.h"

namespace gpunn {

/// Bounds on what a compressed file may grow to: at most `max_bytes`, and beyond `free_bytes` no more than
/// `max_ratio` times the compressed size. (Deflate can reach 1032 : 1; real data sets stay under 20 : 1.)
struct GzipLimits {
  std::uint64_t max_bytes = kMaxFileBytes;
  std::uint64_t free_bytes = std::uint64_t{16} << 20;
  std::uint64_t max_ratio = 200;
};

/// Whether `data` starts like a gzip file.
GPUNN_API bool is_gzip(std::span<const std::uint8_t> data) noexcept;

/// Decompresses all members of a gzip file. Throws DataError "<path>: …" naming the offset in the compressed
/// file when it is damaged, ends early, has bytes after its end, fails its check sum, or passes the limits.
/// Needs the result's size plus 100 KiB; up to twice the result when the size stored in the file is wrong or
/// it has several members.
GPUNN_API Bytes gunzip(std::span<const std::uint8_t> data, std::string_view path,
                       const GzipLimits& limits = {});

/// Compresses into one member without name or time: equal bytes for equal data (and zlib version). `level` 1
/// to 9.
GPUNN_API Bytes gzip(std::span<const std::uint8_t> data, int level = 6);

/// The file, decompressed when its first bytes are gzip's, whatever its name. Throws DataError.
GPUNN_API Bytes read_file_maybe_gzip(const std::string& path, const GzipLimits& limits = {});

}  // namespace gpunn
