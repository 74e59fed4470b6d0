#pragma once
// UTF-8 (RFC 3629) to code points and back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"

namespace gpunn {

/// One character of a checked text.
struct CodePoint {
  char32_t value = 0;
  int bytes = 0;  // that it takes in the text, 1 to 4
};

/// The character that begins at `offset`, which lies within `text`. Throws DataError "<name>: …" with the
/// offset for bytes that are no UTF-8: stray or missing continuation bytes, longer forms than needed,
/// surrogates, values past U+10FFFF.
GPUNN_API CodePoint decode_utf8_at(std::string_view text, std::size_t offset, std::string_view name);

/// All characters; errors as above. `name` stands for the text in messages: a path, or what it is.
GPUNN_API std::u32string decode_utf8(std::string_view text, std::string_view name);
/// Throws DataError for the first bytes that are no UTF-8; returns the number of characters.
GPUNN_API std::size_t check_utf8(std::string_view text, std::string_view name);

/// Throws InvalidArgument for a value that is no character (a surrogate, past U+10FFFF).
GPUNN_API void append_utf8(std::string& out, char32_t character);
GPUNN_API std::string encode_utf8(std::u32string_view characters);

/// `bytes` as UTF-8: what is none becomes U+FFFD, one for each longest start of a character that is cut off
/// and for each other byte (Unicode 14.0, section 3.9; what Python's "replace" does).
GPUNN_API std::string valid_utf8(std::string_view bytes);

/// The same for bytes that come in pieces of any length: whole characters go on at once, a character that a
/// piece cuts off waits for the next one.
class GPUNN_API Utf8Stream {
 public:
  /// What can be said of the bytes so far; may be empty.
  std::string add(std::string_view bytes);
  /// The rest: nothing, or U+FFFD for a character that never ended.
  std::string finish();

 private:
  std::string open_;  // the first bytes of a character, at most 3
};

/// "'a' (U+0061)", for messages; control characters by their number only.
GPUNN_API std::string shown_character(char32_t character);

}  // namespace gpunn
