#pragma once
// Texts and sentences: files, splits, words and their vocabulary.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

/// A text file (plain or gzip). A byte order mark is dropped. Throws DataError naming the path when it cannot
/// be read, has no text, or holds bytes that are no UTF-8, with their offset.
GPUNN_API std::string load_text(const std::string& path);
/// Its lines without their ends (LF or CRLF) and spaces around them; empty ones are left out. Errors as
/// load_text(); also when no line is left.
GPUNN_API std::vector<std::string> load_lines(const std::string& path);

/// What comes first is for training.
struct TextSplit {
  std::string train, validation;
};
/// The first `train_part` of the characters, and the others; characters stay whole. Throws InvalidArgument
/// unless both parts have one, DataError for a text that is no UTF-8.
GPUNN_API TextSplit split_text(std::string_view text, double train_part = 0.9);

/// Words in lower case. Letters, digits and everything beyond ASCII are parts of words, so are apostrophes
/// and hyphens between two of them ("it's", "well-made"); other punctuation stands alone, equal marks in a
/// row together ("...", "--"). Lower case is made of ASCII, Latin-1, Greek and Cyrillic capitals. Throws
/// DataError for a text that is no UTF-8.
GPUNN_API std::vector<std::string> split_words(std::string_view sentence, std::string_view name = "text");

struct WordVocabOptions {
  std::int64_t min_count = 1;  // rarer words are unknown
  std::int64_t max_words = 0;  // the most frequent ones only; 0: all
};

/// Words with ids: 0 is padding, 1 the unknown word, the others follow from the most frequent one on, equal
/// counts in the order of their bytes. Immutable; may be used from several threads at once.
class GPUNN_API WordVocab {
 public:
  static constexpr std::int64_t kPadding = 0, kUnknown = 1;

  /// The words of `sentences` (split_words() makes them). Throws InvalidArgument for options below their
  /// least values, DataError when no word is left, or a word is empty or holds a line end.
  static WordVocab from_sentences(std::span<const std::vector<std::string>> sentences,
                                  WordVocabOptions options = {});

  /// "words 3\n" and a line for each word but the first two.
  std::string state() const;
  /// Throws DataError naming `name` for anything that state() does not write.
  static WordVocab from_state(std::string_view state, std::string_view name = "vocabulary");

  /// Padding and the unknown word included.
  std::int64_t size() const noexcept { return static_cast<std::int64_t>(words_.size()) + 2; }
  /// kUnknown when it is not here.
  std::int64_t id(std::string_view word) const;
  /// "<pad>", "<unk>" for the first two. Throws InvalidArgument for an id outside [0, size()).
  std::string_view word(std::int64_t id) const;
  std::vector<std::int64_t> encode(std::span<const std::string> words) const;

 private:
  explicit WordVocab(std::vector<std::string> words);

  std::vector<std::string> words_;  // from id 2 on
  std::unordered_map<std::string, std::int64_t> ids_;
};

}  // namespace gpunn
