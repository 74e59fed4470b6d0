#pragma once
// Byte-pair encoding, compatible with GPT-2's files: any text is a sequence of pieces, each some bytes.
//
//   auto vocab = BytePairVocab::load("vocab.json", "merges.txt");
//   std::vector<std::int64_t> ids = vocab.encode("Hello world");
//   std::string text = vocab.decode(ids);
//
// A text is split into words (letters, digits, other signs, each with the blank before it; English endings;
// spaces) by GPT-2's pattern over the classes of Unicode 14.0, a word into its bytes, and neighbouring pieces
// are merged by the list of merges, of all pairs in the word the earliest in the list first, wherever it
// stands. In the files a byte is written as a printable character: itself, or one from U+0100 on.
// Rico Sennrich et al., "Neural machine translation of rare words with subword units", 2016; on bytes: Alec
// Radford et al., "Language models are unsupervised multitask learners", 2019.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

/// Pieces that stand for themselves, outside of every merge, as they are written: GPT-2's end of text.
using SpecialTokens = std::vector<std::string>;

struct BytePairTraining {
  std::int64_t size = 0;       // of the vocabulary at most: bytes, pieces and special tokens
  std::int64_t min_count = 2;  // pairs that are rarer are not merged
  SpecialTokens special_tokens{"<|endoftext|>"};  // have the last ids; in the text they are no words
};

/// Where encode() meets a special token's text.
enum class SpecialText : std::uint8_t {
  plain,  // a text like any other: what a user writes cannot end a document
  token   // is that token
};

/// Immutable; copies share its tables; may be used from several threads at once.
class GPUNN_API BytePairVocab {
 public:
  /// Reads GPT-2's files: {"piece": id, …} and lines "left right" of pieces, a first line "#version…" left
  /// out. `special_tokens` are looked for; those that are not in the vocabulary do not exist. Throws
  /// DataError naming file and line (offset in the JSON) unless ids are 0 to n - 1, each once, every byte has
  /// a piece, both parts and the result of each merge are pieces, no merge stands twice, and every other
  /// piece is made by one or is a special token; for malformed JSON, more than 250,000 pieces or 1,000,000
  /// merges.
  static BytePairVocab load(const std::string& vocab_path, const std::string& merges_path,
                            const SpecialTokens& special_tokens = {"<|endoftext|>"});
  /// The same from the files' texts; names stand for them in messages.
  static BytePairVocab parse(std::string_view vocab_json, std::string_view merges,
                             const SpecialTokens& special_tokens = {"<|endoftext|>"},
                             std::string_view vocab_name = "vocab.json",
                             std::string_view merges_name = "merges.txt");
  /// Merges the most frequent pair of the words of `text` (UTF-8), then the next, until the vocabulary has
  /// `size` pieces or no pair is frequent enough. Of equal counts the pair with the lower ids is first, left
  /// before right: equal texts give equal vocabularies. Ids: the bytes, in the order of their characters in
  /// the files, then pieces as they are made. Throws DataError for a text that is empty or no UTF-8,
  /// InvalidArgument for a size that bytes and special tokens alone pass, min_count below 1, and special
  /// tokens that are empty, no UTF-8, twice, or spelled as a piece is.
  static BytePairVocab train(std::string_view text, const BytePairTraining& options,
                             std::string_view name = "text");

  /// The files' texts; load() reads them back.
  std::string vocab_json() const;
  std::string merges_text() const;
  /// Writes both, each atomically. Throws Error.
  void save(const std::string& vocab_path, const std::string& merges_path) const;

  std::int64_t size() const noexcept;
  std::int64_t merges() const noexcept;
  /// A piece's bytes, of a special token its text. Throws InvalidArgument for an id outside [0, size()).
  std::string_view piece(std::int64_t id) const;
  /// Id of the piece of exactly these bytes; special tokens are not looked at.
  std::optional<std::int64_t> find(std::string_view bytes) const noexcept;
  std::optional<std::int64_t> special_token(std::string_view text) const noexcept;
  bool is_special(std::int64_t id) const noexcept;

  /// Ids of a text. Time grows as n log n with the longest word. Throws DataError for bytes that are no
  /// UTF-8, with their offset. An empty text has no ids.
  std::vector<std::int64_t> encode(std::string_view text, SpecialText special = SpecialText::plain,
                                   std::string_view name = "text") const;
  /// The bytes of ids, exactly; what a model wrote need not be UTF-8 (valid_utf8() mends it). Throws
  /// InvalidArgument as piece() does, with the place.
  std::string decode(std::span<const std::int64_t> ids) const;

 private:
  struct Tables;
  friend struct BytePairBuilder;
  explicit BytePairVocab(std::shared_ptr<const Tables> tables) noexcept;

  std::shared_ptr<const Tables> tables_;
};

}  // namespace gpunn
