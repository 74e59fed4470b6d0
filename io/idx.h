#pragma once
// IDX files, the format of MNIST and its kin (plain or gzip).
//
// Layout: two zero bytes, a type byte, the number of dimensions, each extent as a big-endian 32-bit number,
// then the elements in row-major order, big-endian. Format: http://yann.lecun.com/exdb/mnist/.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"
#include "gpunn/core/dtype.h"
#include "gpunn/core/shape.h"
#include "gpunn/core/tensor.h"
#include "gpunn/io/file.h"
#include "gpunn/io/gzip.h"

namespace gpunn {

/// Element type byte of the format.
enum class IdxType : std::uint8_t { u8 = 0x08, i8 = 0x09, i16 = 0x0b, i32 = 0x0c, f32 = 0x0d, f64 = 0x0e };

/// What a caller knows of a file; anything else in it is an error.
struct IdxExpected {
  std::optional<IdxType> type{};
  std::optional<int> rank{};
};

/// A file's contents in the machine's byte order.
struct GPUNN_API IdxArray {
  IdxType type = IdxType::u8;  // in the file
  DType dtype = DType::u8;     // of `data`: i8 and i16 are widened to i32, which has all their values
  Shape shape;                 // rank 1 to 8
  Bytes data;                  // shape.numel() elements of dtype

  /// A copy as a tensor on the CPU.
  Tensor to_tensor() const;
};

/// Reads an IDX file, decompressing it when it is gzip. Throws DataError naming path, offset, what was
/// expected and what came: wrong magic or type, rank outside 1 to 8, sizes that overflow, too few bytes,
/// bytes after the end.
GPUNN_API IdxArray read_idx(const std::string& path, const IdxExpected& expected = {},
                            const GzipLimits& limits = {});
/// The same from memory (not compressed); `path` is for messages.
GPUNN_API IdxArray parse_idx(std::span<const std::uint8_t> file, std::string_view path,
                             const IdxExpected& expected = {});

}  // namespace gpunn
