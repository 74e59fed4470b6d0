// Making a byte-pair vocabulary from a text: pairs are counted once, then only where a merge changed a word.
#include <algorithm>
#include <memory>
#include <queue>
#include <tuple>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/training/bpe.h"
#include "gpunn/training/detail/bpe_tables.h"
#include "gpunn/training/detail/unicode_classes.h"
#include "gpunn/training/utf8.h"

namespace gpunn {
namespace {

using Tables = BytePairBuilder::Tables;
using Pair = std::pair<std::int32_t, std::int32_t>;

constexpr std::uint64_t key_of(Pair p) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(p.first)} << 32 | static_cast<std::uint32_t>(p.second);
}

struct Word {
  std::vector<std::int32_t> ids;
  std::int64_t count;
};

/// Counts the words of a text between special tokens, in the order of their first appearance.
std::vector<std::pair<std::string_view, std::int64_t>> count_words(std::string_view text,
                                                                   const SpecialTokens& special) {
  std::vector<std::pair<std::string_view, std::int64_t>> words;
  std::unordered_map<std::string_view, std::size_t> places;
  const auto count = [&](std::string_view part) {
    for (std::size_t at = 0; at < part.size();) {
      const std::size_t end = detail::bpe_word_end(part, at);
      const auto [found, is_new] = places.emplace(part.substr(at, end - at), words.size());
      if (is_new) words.emplace_back(found->first, 0);
      ++words[found->second].second;
      at = end;
    }
  };
  std::vector<std::string_view> parts{text};
  for (const std::string& token : special) {
    std::vector<std::string_view> cut;
    for (std::string_view part : parts) {
      for (std::size_t end = part.find(token); end != std::string_view::npos; end = part.find(token)) {
        cut.push_back(part.substr(0, end));
        part.remove_prefix(end + token.size());
      }
      cut.push_back(part);
    }
    parts = std::move(cut);
  }
  for (const std::string_view part : parts) count(part);
  return words;
}

class Trainer {
 public:
  Trainer(std::string_view text, const SpecialTokens& special) : tables_(std::make_shared<Tables>()) {
    for (const std::uint8_t byte : detail::bytes_in_order())
      add_piece(std::string(1, static_cast<char>(byte)));
    std::array<std::int32_t, 256> byte_ids{};
    for (std::int32_t id = 0; id < 256; ++id)
      byte_ids[static_cast<unsigned char>(tables_->pieces[static_cast<std::size_t>(id)][0])] = id;
    for (const auto& [bytes, count] : count_words(text, special)) {
      Word word{.ids = {}, .count = count};
      for (const char byte : bytes) word.ids.push_back(byte_ids[static_cast<unsigned char>(byte)]);
      words_.push_back(std::move(word));
    }
    for (std::size_t w = 0; w < words_.size(); ++w) change(w, words_[w].count);
    settle();
  }

  /// Merges until there are `pieces` or no pair has `min_count`.
  void run(std::size_t pieces, std::int64_t min_count) {
    while (tables_->pieces.size() < pieces && !waiting_.empty()) {
      const Candidate best = waiting_.top();
      waiting_.pop();
      PairCount& now = pairs_[key_of(best.pair)];
      if (now.count != best.count) {
        // Merges of other pairs took some of it since.
        if (now.count > 0) waiting_.push({now.count, best.pair});
        continue;
      }
      if (best.count < min_count) break;
      merge(best.pair, std::move(now.words));
    }
  }

  std::shared_ptr<Tables> take(const SpecialTokens& special) {
    for (const std::string& token : special) {
      tables_->special.push_back(static_cast<std::int32_t>(tables_->pieces.size()));
      tables_->pieces.push_back(token);
    }
    tables_->index_pieces();
    tables_->index_merges();
    // Both would be one key of the vocabulary's file.
    std::string bytes;
    for (const std::string& token : special)
      GPUNN_CHECK(!detail::spelled_bytes(token, bytes) || tables_->ids.find(bytes) == tables_->ids.end(),
                  "expected special tokens unlike any piece's spelling, got '", token, "'");
    return std::move(tables_);
  }

 private:
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const noexcept {
      return std::tie(count, other.pair) < std::tie(other.count, pair);
    }
  };
  struct PairCount {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // that hold the pair, or once did; some twice
  };

  std::int32_t add_piece(std::string bytes) {
    const auto [found, is_new] =
        ids_.emplace(std::move(bytes), static_cast<std::int32_t>(tables_->pieces.size()));
    // The bytes may be a piece already, merged from other parts.
    if (is_new) tables_->pieces.push_back(found->first);
    return found->second;
  }

  /// Adds `by` to the count of each pair of a word.
  void change(std::size_t w, std::int64_t by) {
    const std::vector<std::int32_t>& ids = words_[w].ids;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const Pair pair{ids[i], ids[i + 1]};
      Difference& d = differences_[key_of(pair)];
      d.pair = pair;
      d.count += by;
      if (by > 0 && (d.words.empty() || d.words.back() != w))
        d.words.push_back(static_cast<std::uint32_t>(w));
    }
  }

  /// Takes the changes over; pairs that have become more frequent wait again with their new count.
  void settle() {
    for (auto& [key, d] : differences_) {
      if (d.count == 0) continue;
      PairCount& now = pairs_[key];
      now.count += d.count;
      if (d.count < 0) continue;
      now.words.insert(now.words.end(), d.words.begin(), d.words.end());
      waiting_.push({now.count, d.pair});
    }
    differences_.clear();
  }

  void merge(Pair pair, const std::vector<std::uint32_t>& holders) {
    const std::int32_t result = add_piece(tables_->pieces[static_cast<std::size_t>(pair.first)] +
                                          tables_->pieces[static_cast<std::size_t>(pair.second)]);
    tables_->merges.push_back({pair.first, pair.second, result});
    for (const std::uint32_t w : holders) {
      std::vector<std::int32_t>& ids = words_[w].ids;
      const auto begins_pair = [&](std::size_t i) {
        return i + 1 < ids.size() && ids[i] == pair.first && ids[i + 1] == pair.second;
      };
      std::size_t first = 0;
      while (first < ids.size() && !begins_pair(first)) ++first;
      if (first == ids.size()) continue;
      change(w, -words_[w].count);
      std::size_t kept = first;
      for (std::size_t i = first; i < ids.size(); ++kept) {
        const bool merged = begins_pair(i);
        const std::int32_t id = merged ? result : ids[i];
        i += merged ? 2 : 1;
        ids[kept] = id;
      }
      ids.resize(kept);
      change(w, words_[w].count);
    }
    settle();
  }

  struct Difference {
    Pair pair;
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;
  };

  std::shared_ptr<Tables> tables_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<Word> words_;
  std::unordered_map<std::uint64_t, PairCount> pairs_;
  std::unordered_map<std::uint64_t, Difference> differences_;  // of the merge at hand
  std::priority_queue<Candidate> waiting_;
};

void check_special(const SpecialTokens& special) {
  for (std::size_t i = 0; i < special.size(); ++i) {
    const std::string& token = special[i];
    GPUNN_CHECK(!token.empty(), "expected special tokens of at least one character, got an empty one");
    GPUNN_CHECK(std::find(special.begin(), special.begin() + static_cast<std::ptrdiff_t>(i), token) ==
                    special.begin() + static_cast<std::ptrdiff_t>(i),
                "expected each special token once, got '", token, "' twice");
    try {
      check_utf8(token, "special token");
    } catch (const DataError& error) {
      throw InvalidArgument(error.what());
    }
  }
}

}  // namespace

BytePairVocab BytePairVocab::train(std::string_view text, const BytePairTraining& options,
                                   std::string_view name) {
  check_special(options.special_tokens);
  const std::int64_t special = std::ssize(options.special_tokens);
  GPUNN_CHECK(options.size >= 256 + special && options.size <= std::int64_t{1} << 30,
              "expected a size of at least ", 256 + special, ", for bytes and special tokens, got ",
              options.size);
  GPUNN_CHECK(options.min_count >= 1, "expected min_count of at least 1, got ", options.min_count);
  if (text.empty()) detail::throw_data(detail::concat(name, ": expected at least one character, got none"));
  check_utf8(text, name);
  Trainer trainer(text, options.special_tokens);
  trainer.run(static_cast<std::size_t>(options.size - special), options.min_count);
  return BytePairBuilder::make(trainer.take(options.special_tokens));
}

}  // namespace gpunn
