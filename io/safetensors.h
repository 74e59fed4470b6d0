#pragma once
// safetensors, the native format of weights: named tensors and text metadata, no code.
//
// Layout: header length (8 bytes, little-endian), header (JSON, one object), tensor bytes without gaps.
// Format: https://github.com/huggingface/safetensors. Everything in the header is checked against the file
// before anything of the header's choosing is allocated.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Pairs of key and value, in the order of the file.
using TextMetadata = std::vector<std::pair<std::string, std::string>>;

/// What the header says of one tensor.
struct SafetensorsInfo {
  std::string dtype;                 // as in the file: "F32", "BF16", …
  std::vector<std::int64_t> shape;   // up to 32 extents; load() takes up to 8
  std::uint64_t begin = 0, end = 0;  // bytes, from the end of the header
};

/// An open file. Copies share it; it may be read from several threads. A file replaced by rename while open
/// stays the old one.
class GPUNN_API SafetensorsFile {
 public:
  /// Reads and checks the header; needs twice the header's size plus at most 64 MiB. Throws DataError naming
  /// path and offset: header longer than 100,000,000 bytes or than the file, not a JSON object, duplicate or
  /// unknown keys, metadata that is not text, sizes that overflow or contradict the offsets, offsets with
  /// holes, overlaps, or not ending with the file, more than 131,072 tensors, names over 4,096 bytes.
  static SafetensorsFile open(const std::string& path);

  const std::string& path() const noexcept;
  std::size_t size() const noexcept;
  /// Names in the header's order.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const noexcept;
  /// Throws DataError when there is no such tensor.
  const SafetensorsInfo& info(std::string_view name) const;
  /// `__metadata__`, empty when there is none.
  const TextMetadata& metadata() const noexcept;

  /// Reads one tensor into new CPU memory. F32, F64, F16, BF16, I32, I64, U8 and BOOL; throws Unsupported
  /// naming tensor and dtype for others and for more than 8 dimensions, DataError when there is no such
  /// tensor, the file has become shorter, or a BOOL is neither 0 nor 1.
  Tensor load(std::string_view name) const;

 private:
  struct Data;
  explicit SafetensorsFile(std::shared_ptr<const Data> data) noexcept;
  std::shared_ptr<const Data> data_;
};

/// All tensors of a file, in the header's order. Errors as open() and load().
GPUNN_API std::vector<NamedTensor> load_safetensors(const std::string& path);

/// Writes the tensors atomically (AtomicFile). Equal input gives equal bytes: the header keeps the given
/// order, the data is ordered by falling element size (so that every tensor is aligned), then as given.
/// Tensors may live on any device and have any strides; device tensors are fetched one at a time. Throws
/// InvalidArgument for undefined tensors, empty or duplicate names, names or metadata that are not UTF-8, and
/// what open() would refuse; Error when writing fails.
GPUNN_API void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                                 const TextMetadata& metadata = {});

}  // namespace gpunn
