#include "gpunn/training/utf8.h"

#include "gpunn/core/error.h"

namespace gpunn {
namespace {

constexpr char32_t kLast = 0x10FFFF, kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;
constexpr char32_t kReplacement = 0xFFFD;

std::string hex(std::uint32_t value, int digits) {
  std::string out;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += "0123456789ABCDEF"[(value >> shift) & 15];
  return out;
}

/// Names the byte at fault: with its offset a hex editor finds it.
[[noreturn]] void fail(std::string_view name, std::size_t offset, std::string_view what, unsigned char byte) {
  detail::throw_data(
      detail::concat(name, ": byte 0x", hex(byte, 2), " at offset ", offset, " ", what, ": expected UTF-8"));
}

bool is_character(char32_t value) {
  return value <= kLast && (value < kFirstSurrogate || value > kLastSurrogate);
}

struct Start {
  std::size_t bytes;  // of the character, or of what begins none
  bool good;
  bool open;  // the text ends within the character
};

/// What the front of `text` is, which is not empty.
Start start_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {1, true, false};
  if (first < 0xC2 || first > 0xF4) return {1, false, false};
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  // The second byte's bounds exclude longer forms than needed, surrogates and values past U+10FFFF.
  const unsigned low = first == 0xE0   ? 0xA0
                       : first == 0xF0 ? 0x90
                                       : 0x80,
                 high = first == 0xED   ? 0x9F
                        : first == 0xF4 ? 0x8F
                                        : 0xBF;
  for (std::size_t i = 1; i < bytes; ++i) {
    if (i == text.size()) return {i, false, true};
    if (byte(i) < (i == 1 ? low : 0x80U) || byte(i) > (i == 1 ? high : 0xBFU)) return {i, false, false};
  }
  return {bytes, true, false};
}

}  // namespace

CodePoint decode_utf8_at(std::string_view text, std::size_t offset, std::string_view name) {
  GPUNN_CHECK(offset < text.size(), "expected an offset below ", text.size(), ", got ", offset);
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(offset);
  if (first < 0x80) return {first, 1};
  const int bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC0) fail(name, offset, "continues no character", first);
  if (first >= 0xF8) fail(name, offset, "begins no character", first);
  char32_t value = first & (0x7FU >> bytes);
  for (int i = 1; i < bytes; ++i) {
    const std::size_t at = offset + static_cast<std::size_t>(i);
    if (at >= text.size()) fail(name, offset, "begins a character that the text's end cuts off", first);
    if ((byte(at) & 0xC0U) != 0x80U) fail(name, at, "is inside of a character", byte(at));
    value = (value << 6) | (byte(at) & 0x3FU);
  }
  // Longer forms than needed are refused: two spellings of one character would be two vocabulary entries.
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[bytes]) fail(name, offset, "begins a longer form than needed", first);
  if (!is_character(value)) fail(name, offset, "begins a value that is no character", first);
  return {value, bytes};
}

std::u32string decode_utf8(std::string_view text, std::string_view name) {
  std::u32string out;
  // Twice through the text, so that the result takes what it needs and no more.
  out.reserve(check_utf8(text, name));
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8_at(text, at, name);
    out += c.value;
    at += static_cast<std::size_t>(c.bytes);
  }
  return out;
}

std::size_t check_utf8(std::string_view text, std::string_view name) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count)
    at += static_cast<std::size_t>(decode_utf8_at(text, at, name).bytes);
  return count;
}

void append_utf8(std::string& out, char32_t character) {
  GPUNN_CHECK(is_character(character), "expected a character, got the value ",
              static_cast<std::uint32_t>(character));
  const auto add = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  const auto tail = [&](int shift) { add(0x80U | ((character >> shift) & 0x3FU)); };
  if (character < 0x80) return add(character);
  if (character < 0x800) {
    add(0xC0U | (character >> 6));
  } else {
    if (character < 0x10000) {
      add(0xE0U | (character >> 12));
    } else {
      add(0xF0U | (character >> 18));
      tail(12);
    }
    tail(6);
  }
  tail(0);
}

std::string encode_utf8(std::u32string_view characters) {
  std::string out;
  for (const char32_t c : characters) append_utf8(out, c);
  return out;
}

std::string valid_utf8(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.add(bytes);
  return text += stream.finish();
}

std::string Utf8Stream::add(std::string_view bytes) {
  const std::string joined = open_ + std::string(bytes);
  open_.clear();
  std::string out;
  for (std::string_view rest = joined; !rest.empty();) {
    const Start start = start_of(rest);
    if (start.open) {
      open_ = rest;
      break;
    }
    if (start.good)
      out += rest.substr(0, start.bytes);
    else
      append_utf8(out, kReplacement);
    rest.remove_prefix(start.bytes);
  }
  return out;
}

std::string Utf8Stream::finish() {
  std::string out;
  if (!open_.empty()) append_utf8(out, kReplacement);
  open_.clear();
  return out;
}

std::string shown_character(char32_t character) {
  std::string out;
  const bool control = character < 0x20 || (character >= 0x7F && character < 0xA0);
  if (!control && is_character(character)) {
    out = "'";
    append_utf8(out, character);
    out += "' ";
  }
  return out + (control ? "" : "(") + "U+" + hex(character, character > 0xFFFF ? 6 : 4) +
         (control ? "" : ")");
}

}  // namespace gpunn
