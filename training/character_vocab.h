#pragma once
// Vocabularies of characters: every character of a text (a Unicode code point, not a byte) gets an id.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

enum class CharacterOrder : std::uint8_t { sorted, first_appearance };

struct CharacterVocabOptions {
  CharacterOrder order = CharacterOrder::sorted;  // by code point
  bool unknown = false;  // id 0 stands for every other character; it is written as U+FFFD
};

/// Immutable; may be used from several threads at once.
class GPUNN_API CharacterVocab {
 public:
  /// The characters of `text` (UTF-8), which `name` stands for in messages. Throws DataError for an empty
  /// text and for bytes that are no UTF-8, with their offset.
  static CharacterVocab from_text(std::string_view text, CharacterVocabOptions options = {},
                                  std::string_view name = "text");

  /// What from_state() makes the same vocabulary of: "characters 65\n", or "characters 65 unknown\n" with an
  /// unknown id, and the characters in the order of their ids, as UTF-8. Goes into checkpoints beside the
  /// weights, whose rows mean nothing without it.
  std::string state() const;
  /// Throws DataError naming `name` for anything that state() does not write, a character twice included.
  static CharacterVocab from_state(std::string_view state, std::string_view name = "vocabulary");

  std::int64_t size() const noexcept { return static_cast<std::int64_t>(characters_.size()); }
  /// Id of the characters that are not known, if there is one: 0.
  std::optional<std::int64_t> unknown() const noexcept;
  /// Its id; that of the unknown one, or none.
  std::optional<std::int64_t> find(char32_t character) const noexcept;
  /// Throws InvalidArgument for an id outside [0, size()).
  char32_t character(std::int64_t id) const;

  /// One id for each character. Throws DataError for bytes that are no UTF-8 and, without an unknown id, for
  /// a character that is not here, with its position in characters and in bytes. An empty text has no ids.
  std::vector<std::int64_t> encode(std::string_view text, std::string_view name = "text") const;
  /// The text of ids. Throws InvalidArgument as character() does, with the place.
  std::string decode(std::span<const std::int64_t> ids) const;

  bool operator==(const CharacterVocab& other) const noexcept {
    return has_unknown_ == other.has_unknown_ && characters_ == other.characters_;
  }

 private:
  CharacterVocab(std::u32string characters, bool has_unknown);

  std::u32string characters_;  // by id
  std::unordered_map<char32_t, std::int64_t> ids_;
  bool has_unknown_ = false;
};

}  // namespace gpunn
