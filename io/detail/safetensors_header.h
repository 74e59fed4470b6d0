#pragma once
// The header of a safetensors file: parsing, checking, limits.
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "gpunn/core/dtype.h"
#include "gpunn/io/safetensors.h"

namespace gpunn::detail {

inline constexpr std::uint64_t kSafetensorsMaxHeader = 100'000'000;
inline constexpr std::uint64_t kSafetensorsLengthBytes = 8;
inline constexpr std::size_t kSafetensorsMaxTensors = 131'072;
inline constexpr std::size_t kSafetensorsMaxMetadata = 65'536;
inline constexpr std::size_t kSafetensorsMaxName = 4'096;
inline constexpr std::size_t kSafetensorsMaxRank = 32;
inline constexpr std::string_view kSafetensorsMetadata = "__metadata__";

struct SafetensorsHeader {
  std::deque<std::pair<std::string, SafetensorsInfo>> tensors;  // a deque: `index` points into it
  std::unordered_map<std::string_view, std::size_t> index;
  TextMetadata metadata;
};

/// Throws DataError naming the offset in the file. `buffer_bytes`: what follows the header.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::string_view path,
                                           std::uint64_t buffer_bytes);

/// Ours for the format's name, none for those we do not have; and the reverse.
std::optional<DType> dtype_of_safetensors(std::string_view name) noexcept;
const char* safetensors_name_of(DType dtype) noexcept;

}  // namespace gpunn::detail
