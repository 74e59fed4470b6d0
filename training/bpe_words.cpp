// Splitting a text into the words that pairs of bytes are merged in.
#include <algorithm>
#include <array>

#include "gpunn/training/detail/unicode_classes.h"

namespace gpunn::detail {
namespace {

bool contains(std::span<const CharacterRange> ranges, char32_t c) noexcept {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t value, const CharacterRange& r) { return value < r.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

CharacterClass search_class(char32_t c) noexcept {
  if (contains(letter_ranges(), c)) return CharacterClass::letter;
  if (contains(number_ranges(), c)) return CharacterClass::number;
  return contains(space_ranges(), c) ? CharacterClass::space : CharacterClass::other;
}

// Most characters of most texts are below U+0800 (two bytes): no search for them.
constexpr std::size_t kDirect = 0x800;
const std::array<CharacterClass, kDirect>& direct_classes() noexcept {
  static const std::array<CharacterClass, kDirect> table = [] {
    std::array<CharacterClass, kDirect> t{};
    for (std::size_t c = 0; c < kDirect; ++c) t[c] = search_class(static_cast<char32_t>(c));
    return t;
  }();
  return table;
}

struct Character {
  CharacterClass kind;
  std::size_t end;
};

Character character_at(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t first = byte(0);
  if (first < 0x80) return {direct_classes()[first], at + 1};
  const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  char32_t value = first & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) value = (value << 6) | (byte(i) & 0x3FU);
  return {character_class(value), at + bytes};
}

/// End of the run of characters of `kind` from `at` on.
std::size_t run_end(std::string_view text, std::size_t at, CharacterClass kind) noexcept {
  while (at < text.size()) {
    const Character c = character_at(text, at);
    if (c.kind != kind) break;
    at = c.end;
  }
  return at;
}

/// Bytes of an English ending ('s, 't, 're, …) at an apostrophe, 0 when there is none.
std::size_t ending_at(std::string_view text, std::size_t at) noexcept {
  const std::string_view rest = text.substr(at + 1, 2);
  if (rest.empty()) return 0;
  if (rest[0] == 's' || rest[0] == 't' || rest[0] == 'm' || rest[0] == 'd') return 2;
  return rest == "re" || rest == "ve" || rest == "ll" ? 3 : 0;
}

}  // namespace

CharacterClass character_class(char32_t character) noexcept {
  return character < kDirect ? direct_classes()[character] : search_class(character);
}

std::size_t bpe_word_end(std::string_view text, std::size_t at) noexcept {
  if (text[at] == '\'')
    if (const std::size_t ending = ending_at(text, at)) return at + ending;
  Character first = character_at(text, at);
  // One blank belongs to the word behind it.
  if (text[at] == ' ' && first.end < text.size())
    if (const Character next = character_at(text, first.end); next.kind != CharacterClass::space)
      first = next;
  if (first.kind != CharacterClass::space) return run_end(text, first.end, first.kind);
  std::size_t last = at, end = first.end;
  while (end < text.size()) {
    const Character c = character_at(text, end);
    // Of several spaces before a word the last one stays for what follows.
    if (c.kind != CharacterClass::space) return last > at ? last : end;
    last = end;
    end = c.end;
  }
  return end;
}

}  // namespace gpunn::detail
