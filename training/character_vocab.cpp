#include "gpunn/training/character_vocab.h"

#include <algorithm>
#include <unordered_set>

#include "gpunn/core/error.h"
#include "gpunn/training/detail/vocab_state.h"
#include "gpunn/training/utf8.h"

namespace gpunn {

namespace {
// What Unicode has for characters that cannot be shown.
constexpr char32_t kReplacement = 0xFFFD;
constexpr std::string_view kKind = "characters";
}  // namespace

CharacterVocab::CharacterVocab(std::u32string characters, bool has_unknown)
    : characters_(std::move(characters)), has_unknown_(has_unknown) {
  for (std::size_t i = 0; i < characters_.size(); ++i)
    ids_.emplace(characters_[i], static_cast<std::int64_t>(i));
}

CharacterVocab CharacterVocab::from_text(std::string_view text, CharacterVocabOptions options,
                                         std::string_view name) {
  if (text.empty()) detail::throw_data(detail::concat(name, ": expected at least one character, got none"));
  std::u32string characters;
  std::unordered_set<char32_t> seen;
  // A U+FFFD of the text itself is one more character that is not known.
  if (options.unknown) seen.insert(kReplacement);
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8_at(text, at, name);
    if (seen.insert(c.value).second) characters += c.value;
    at += static_cast<std::size_t>(c.bytes);
  }
  if (options.order == CharacterOrder::sorted) std::sort(characters.begin(), characters.end());
  if (options.unknown) characters.insert(characters.begin(), kReplacement);
  return {std::move(characters), options.unknown};
}

std::string CharacterVocab::state() const {
  return detail::vocab_header(kKind, size(), has_unknown_) + encode_utf8(characters_);
}

CharacterVocab CharacterVocab::from_state(std::string_view state, std::string_view name) {
  const detail::VocabHeader header = detail::read_vocab_header(state, kKind, name);
  std::u32string characters = decode_utf8(header.rest, name);
  if (static_cast<std::int64_t>(characters.size()) != header.size)
    detail::throw_data(
        detail::concat(name, ": expected ", header.size, " characters, got ", characters.size()));
  // Two ids of one character would make encode() and decode() disagree with the weights.
  std::unordered_set<char32_t> seen;
  for (std::size_t i = 0; i < characters.size(); ++i)
    if (!seen.insert(characters[i]).second)
      detail::throw_data(detail::concat(name, ": id ", i, ": character ", shown_character(characters[i]),
                                        " has an id already"));
  if (header.unknown && characters[0] != kReplacement)
    detail::throw_data(detail::concat(name, ": expected U+FFFD as the unknown character, got ",
                                      shown_character(characters[0])));
  return {std::move(characters), header.unknown};
}

std::optional<std::int64_t> CharacterVocab::unknown() const noexcept {
  return has_unknown_ ? std::optional<std::int64_t>(0) : std::nullopt;
}

std::optional<std::int64_t> CharacterVocab::find(char32_t character) const noexcept {
  const auto found = ids_.find(character);
  return found == ids_.end() ? unknown() : std::optional<std::int64_t>(found->second);
}

char32_t CharacterVocab::character(std::int64_t id) const {
  GPUNN_CHECK(id >= 0 && id < size(), "expected a character's id in [0, ", size(), "), got ", id);
  return characters_[static_cast<std::size_t>(id)];
}

std::vector<std::int64_t> CharacterVocab::encode(std::string_view text, std::string_view name) const {
  std::vector<std::int64_t> ids;
  ids.reserve(check_utf8(text, name));
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_utf8_at(text, at, name);
    const std::optional<std::int64_t> id = find(c.value);
    if (!id)
      detail::throw_data(detail::concat(name, ": character ", shown_character(c.value), " at position ",
                                        ids.size(), " (offset ", at, ") is none of the vocabulary's ",
                                        size()));
    ids.push_back(*id);
    at += static_cast<std::size_t>(c.bytes);
  }
  return ids;
}

std::string CharacterVocab::decode(std::span<const std::int64_t> ids) const {
  std::string text;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    GPUNN_CHECK(ids[i] >= 0 && ids[i] < size(), "expected characters' ids in [0, ", size(), "), got ", ids[i],
                " at place ", i);
    append_utf8(text, characters_[static_cast<std::size_t>(ids[i])]);
  }
  return text;
}

}  // namespace gpunn
