#pragma once
// What a byte-pair vocabulary is made of, for its readers, trainer and encoder.
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpunn/training/bpe.h"

namespace gpunn {

struct BytePairMerge {
  std::int32_t left, right, result;
};

/// Filled by a reader or the trainer; index() makes the rest.
struct BytePairVocab::Tables {
  std::vector<std::string> pieces;    // bytes by id
  std::vector<std::int32_t> special;  // ids of special tokens
  std::vector<BytePairMerge> merges;  // by rank
  // Made by index(): merges by their left piece, and within by the right one.
  std::unordered_map<std::string_view, std::int32_t> ids;  // no special tokens; keys lie in `pieces`
  std::array<std::int32_t, 256> byte_ids{};                // -1: there is none
  struct Entry {
    std::int32_t right, rank;
  };
  std::vector<std::size_t> begins;  // [pieces + 1], into entries
  std::vector<Entry> entries;

  static constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::max();

  Tables() = default;
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  /// Ids of the pieces, once these are complete.
  void index_pieces();
  void index_merges();
  /// Rank of a pair, kNone when it is not merged.
  std::int32_t rank(std::int32_t left, std::int32_t right) const noexcept;
};

/// The way into BytePairVocab's private part.
struct BytePairBuilder {
  using Tables = BytePairVocab::Tables;
  static BytePairVocab make(std::shared_ptr<Tables> tables);
};

namespace detail {

/// The character that stands for a byte in GPT-2's files: its own code point where that is printable and no
/// blank, else one from U+0100 on, in the order of the bytes.
const std::array<char32_t, 256>& byte_characters() noexcept;
/// Bytes in the order of their characters: that of the ids in GPT-2's vocabulary.
std::array<std::uint8_t, 256> bytes_in_order() noexcept;
/// A piece as it stands in the files.
std::string spelled(std::string_view bytes);
/// The bytes of a piece as it stands in the files; false when some character stands for no byte.
bool spelled_bytes(std::string_view spelling, std::string& bytes);

}  // namespace detail
}  // namespace gpunn
