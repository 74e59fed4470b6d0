#include "gpunn/training/text_data.h"

#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/io/gzip.h"
#include "gpunn/training/utf8.h"

namespace gpunn {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kSpaces = " \t\r\f\v";
  const std::size_t first = line.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(kSpaces) - first + 1);
}

char32_t lower_case(char32_t c) {
  const auto within = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  if (within(U'A', U'Z')) return c + 32;
  if (within(0xC0, 0xDE) && c != 0xD7) return c + 32;     // Latin-1, but the times sign
  if (within(0x391, 0x3A9) && c != 0x3A2) return c + 32;  // Greek
  if (within(0x410, 0x42F)) return c + 32;                // Cyrillic
  if (within(0x400, 0x40F)) return c + 80;
  return c;
}

bool is_space(char32_t c) { return c <= U' ' || c == 0x7F || c == 0xA0 || c == 0x2028 || c == 0x2029; }

bool is_mark(char32_t c) {
  return c > U' ' && c < 0x7F && !(c >= U'0' && c <= U'9') && !(c >= U'a' && c <= U'z');
}

}  // namespace

std::string load_text(const std::string& path) {
  const Bytes bytes = read_file_maybe_gzip(path);
  std::string_view text = as_text(bytes);
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) text.remove_prefix(kByteOrderMark.size());
  if (text.empty()) detail::throw_data(path + ": expected text, got an empty file");
  check_utf8(text, path);
  return std::string(text);
}

std::vector<std::string> load_lines(const std::string& path) {
  const std::string text = load_text(path);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = trimmed(std::string_view(text).substr(at, end - at));
    if (!line.empty()) lines.emplace_back(line);
    at = end + 1;
  }
  if (lines.empty()) detail::throw_data(path + ": expected lines of text, got blank ones only");
  return lines;
}

TextSplit split_text(std::string_view text, double train_part) {
  GPUNN_CHECK(train_part > 0 && train_part < 1, "expected a part for training between 0 and 1, got ",
              train_part);
  const std::size_t count = check_utf8(text, "text");
  const auto train = static_cast<std::size_t>(std::floor(static_cast<double>(count) * train_part));
  GPUNN_CHECK(train > 0 && train < count, "expected a text with characters for both parts, got ", count);
  std::size_t at = 0;
  for (std::size_t i = 0; i < train; ++i)
    at += static_cast<std::size_t>(decode_utf8_at(text, at, "text").bytes);
  return {std::string(text.substr(0, at)), std::string(text.substr(at))};
}

std::vector<std::string> split_words(std::string_view sentence, std::string_view name) {
  std::u32string text = decode_utf8(sentence, name);
  for (char32_t& c : text) c = lower_case(c);
  const auto in_word = [&](std::size_t i) {
    return i < text.size() && !is_space(text[i]) && !is_mark(text[i]);
  };
  std::vector<std::string> words;
  for (std::size_t i = 0; i < text.size();) {
    if (is_space(text[i])) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    if (is_mark(text[i])) {
      while (end < text.size() && text[end] == text[i]) ++end;
    } else {
      while (in_word(end) ||
             (end < text.size() && (text[end] == U'\'' || text[end] == U'-') && in_word(end + 1)))
        ++end;
    }
    words.push_back(encode_utf8(std::u32string_view(text).substr(i, end - i)));
    i = end;
  }
  return words;
}

}  // namespace gpunn
