#pragma once
// Classes of characters by Unicode's general categories, and the words that GPT-2's byte-pair encoding splits
// a text into by them.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "gpunn/core/api.h"

namespace gpunn::detail {

struct CharacterRange {
  char32_t first, last;
};
/// Of Unicode 14.0, rising and disjoint; training/unicode_classes.py makes them.
std::span<const CharacterRange> letter_ranges() noexcept;
std::span<const CharacterRange> number_ranges() noexcept;
std::span<const CharacterRange> space_ranges() noexcept;

enum class CharacterClass : std::uint8_t { other, letter, number, space };
GPUNN_API CharacterClass character_class(char32_t character) noexcept;

/// Where the word that begins at `at` < text.size() ends. `text` is UTF-8 and `at` the first byte of a
/// character; neither is checked. Words are what this pattern matches, the first alternative that does:
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
GPUNN_API std::size_t bpe_word_end(std::string_view text, std::size_t at) noexcept;

}  // namespace gpunn::detail
