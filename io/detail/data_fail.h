#pragma once
// Errors of the parsers: "<path>: <what> at offset <n> …", always a DataError.
#include <cstdint>
#include <string>
#include <string_view>

#include "gpunn/core/error.h"

namespace gpunn::detail {

/// Throws DataError "<path>: <parts…>".
template <class... Parts>
[[noreturn]] void fail_data(std::string_view path, const Parts&... parts) {
  throw_data(concat(path, ": ", parts...));
}

/// "0x00000803", for magic numbers and bytes.
inline std::string hex(std::uint64_t value, int digits) {
  std::string out = "0x";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[(value >> shift) & 15];
  return out;
}

/// Text from a file for a message: printable ASCII in quotes, at most 40 characters.
inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out + (text.size() > kShown ? "…'" : "'");
}

}  // namespace gpunn::detail
