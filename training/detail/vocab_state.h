#pragma once
// The first line of a saved vocabulary: "<kind> <size>" with " unknown" behind when it has such an id.
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "gpunn/core/error.h"

namespace gpunn::detail {

struct VocabHeader {
  std::int64_t size = 0;
  bool unknown = false;
  std::string_view rest;  // after the line
};

inline std::string vocab_header(std::string_view kind, std::int64_t size, bool unknown) {
  return concat(kind, ' ', size, unknown ? " unknown\n" : "\n");
}

/// Throws DataError "<name>: …". Whoever reads the rest compares its entries with `size`; nothing is
/// allocated by it.
inline VocabHeader read_vocab_header(std::string_view state, std::string_view kind, std::string_view name) {
  const std::size_t end = state.find('\n');
  std::string_view line = state.substr(0, end);
  VocabHeader header;
  bool good = end != std::string_view::npos && line.substr(0, kind.size()) == kind;
  if (good) {
    line.remove_prefix(kind.size());
    constexpr std::string_view kUnknown = " unknown";
    if (line.size() > kUnknown.size() && line.substr(line.size() - kUnknown.size()) == kUnknown) {
      header.unknown = true;
      line.remove_suffix(kUnknown.size());
    }
    good = line.size() > 1 && line[0] == ' ' && line[1] != '0';
    if (good) {
      const auto [stop, error] = std::from_chars(line.data() + 1, line.data() + line.size(), header.size);
      good = error == std::errc() && stop == line.data() + line.size() && header.size > 0;
    }
  }
  if (!good)
    throw_data(concat(name, ": expected a first line '", kind, " N' or '", kind,
                      " N unknown' with N of at least 1"));
  header.rest = state.substr(end + 1);
  return header;
}

}  // namespace gpunn::detail
