// Vocabularies of words, from the counts of sentences or from their saved form.
#include <algorithm>
#include <string>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/training/detail/vocab_state.h"
#include "gpunn/training/text_data.h"
#include "gpunn/training/utf8.h"

namespace gpunn {

namespace {
constexpr std::string_view kKind = "words";
constexpr std::int64_t kFirstWord = 2;
}  // namespace

WordVocab::WordVocab(std::vector<std::string> words) : words_(std::move(words)) {
  for (std::size_t i = 0; i < words_.size(); ++i)
    ids_.emplace(words_[i], static_cast<std::int64_t>(i) + kFirstWord);
}

WordVocab WordVocab::from_sentences(std::span<const std::vector<std::string>> sentences,
                                    WordVocabOptions options) {
  GPUNN_CHECK(options.min_count >= 1, "expected min_count of at least 1, got ", options.min_count);
  GPUNN_CHECK(options.max_words >= 0, "expected max_words of at least 0, got ", options.max_words);
  std::unordered_map<std::string, std::int64_t> counts;
  for (const std::vector<std::string>& sentence : sentences)
    for (const std::string& word : sentence) {
      if (word.empty() || word.find('\n') != std::string::npos)
        detail::throw_data("words: expected words without line ends, got '" + word + "'");
      ++counts[word];
    }
  // Sorted by falling count, then by bytes: the same ids whatever order the counts were hashed in.
  std::vector<std::pair<std::int64_t, std::string>> kept;
  for (auto& [word, count] : counts)
    if (count >= options.min_count) kept.emplace_back(-count, word);
  if (kept.empty())
    detail::throw_data(detail::concat("words: expected one that occurs ", options.min_count,
                                      " times or more, got none among ", counts.size()));
  std::sort(kept.begin(), kept.end());
  if (options.max_words > 0 && kept.size() > static_cast<std::size_t>(options.max_words))
    kept.resize(static_cast<std::size_t>(options.max_words));
  std::vector<std::string> words;
  for (auto& [count, word] : kept) words.push_back(std::move(word));
  return WordVocab(std::move(words));
}

std::string WordVocab::state() const {
  std::string out = detail::vocab_header(kKind, size(), false);
  for (const std::string& word : words_) out += word + "\n";
  return out;
}

WordVocab WordVocab::from_state(std::string_view state, std::string_view name) {
  const detail::VocabHeader header = detail::read_vocab_header(state, kKind, name);
  check_utf8(header.rest, name);
  std::vector<std::string> words;
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::string_view rest = header.rest; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    const std::string_view word = rest.substr(0, end);
    if (word.empty() || end == std::string_view::npos || !seen.emplace(word, words.size()).second)
      detail::throw_data(
          detail::concat(name, ": line ", words.size() + 2, ": expected a word of its own and a line end"));
    words.emplace_back(word);
    rest.remove_prefix(end + 1);
  }
  if (header.unknown || words.empty() || header.size != static_cast<std::int64_t>(words.size()) + kFirstWord)
    detail::throw_data(detail::concat(name, ": expected ", header.size,
                                      " words with padding and unknown, got ", words.size() + 2));
  return WordVocab(std::move(words));
}

std::int64_t WordVocab::id(std::string_view word) const {
  const auto found = ids_.find(std::string(word));
  return found == ids_.end() ? kUnknown : found->second;
}

std::string_view WordVocab::word(std::int64_t id) const {
  GPUNN_CHECK(id >= 0 && id < size(), "expected a word's id in [0, ", size(), "), got ", id);
  if (id < kFirstWord) return id == kPadding ? "<pad>" : "<unk>";
  return words_[static_cast<std::size_t>(id - kFirstWord)];
}

std::vector<std::int64_t> WordVocab::encode(std::span<const std::string> words) const {
  std::vector<std::int64_t> ids;
  ids.reserve(words.size());
  for (const std::string& word : words) ids.push_back(id(word));
  return ids;
}

}  // namespace gpunn
