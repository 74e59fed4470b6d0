// Byte-pair encoding: the tables, and texts to ids and back.
#include "gpunn/training/bpe.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/training/detail/bpe_tables.h"
#include "gpunn/training/detail/unicode_classes.h"
#include "gpunn/training/utf8.h"

namespace gpunn {
namespace {

using Tables = BytePairBuilder::Tables;

/// Merges the pieces of one word after the other. What it allocates is used again.
class WordEncoder {
 public:
  explicit WordEncoder(const Tables& tables) : tables_(tables) {}

  /// Appends the ids of `word`.
  void encode(std::string_view word, std::vector<std::int64_t>& out) {
    const auto n = static_cast<std::int32_t>(word.size());
    links_.resize(word.size());
    for (std::int32_t i = 0; i < n; ++i)
      links_[at(i)] = {tables_.byte_ids[static_cast<unsigned char>(word[at(i)])], i - 1, i + 1};
    for (std::int32_t i = 0; i + 1 < n; ++i) propose(i, n);
    // One rank at a time, from left to right: a pair that a merge brings about waits for the next round even
    // where its rank is lower.
    while (!waiting_.empty()) {
      const std::int32_t rank = waiting_.top().first;
      made_.clear();
      for (; !waiting_.empty() && waiting_.top().first == rank; waiting_.pop())
        merge(rank, waiting_.top().second, n);
      for (const std::int32_t i : made_) {
        propose(links_[at(i)].before, n);
        propose(i, n);
      }
    }
    for (std::int32_t i = 0; i < n; i = links_[at(i)].after) out.push_back(links_[at(i)].id);
  }

 private:
  struct Link {
    std::int32_t id;  // -1: went into the piece before
    std::int32_t before, after;
  };
  using Waiting = std::pair<std::int32_t, std::int32_t>;  // rank, place

  static std::size_t at(std::int32_t i) noexcept { return static_cast<std::size_t>(i); }

  void propose(std::int32_t i, std::int32_t n) {
    if (i < 0 || links_[at(i)].after >= n) return;
    const std::int32_t rank = tables_.rank(links_[at(i)].id, links_[at(links_[at(i)].after)].id);
    if (rank != Tables::kNone) waiting_.emplace(rank, i);
  }

  void merge(std::int32_t rank, std::int32_t i, std::int32_t n) {
    const BytePairMerge& m = tables_.merges[at(rank)];
    Link& left = links_[at(i)];
    // What was proposed may be merged otherwise by now.
    if (left.id != m.left || left.after >= n || links_[at(left.after)].id != m.right) return;
    Link& right = links_[at(left.after)];
    left.id = m.result;
    left.after = right.after;
    right.id = -1;
    if (left.after < n) links_[at(left.after)].before = i;
    made_.push_back(i);
  }

  const Tables& tables_;
  std::vector<Link> links_;
  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> waiting_;
  std::vector<std::int32_t> made_;
};

/// Words that were met before in the text, with their ids: texts repeat themselves.
class WordCache {
 public:
  explicit WordCache(const Tables& tables) : encoder_(tables) {}

  void encode(std::string_view word, std::vector<std::int64_t>& out) {
    const auto known = places_.find(word);
    if (known != places_.end()) {
      out.insert(out.end(), ids_.begin() + known->second.first, ids_.begin() + known->second.second);
      return;
    }
    const std::size_t first = out.size();
    encoder_.encode(word, out);
    if (places_.size() >= kMaxWords || word.size() > kMaxBytes) return;
    const auto begin = std::ssize(ids_);
    ids_.insert(ids_.end(), out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
    places_.emplace(word, std::pair{begin, std::ssize(ids_)});
  }

 private:
  static constexpr std::size_t kMaxWords = 100'000, kMaxBytes = 64;

  WordEncoder encoder_;
  std::unordered_map<std::string_view, std::pair<std::ptrdiff_t, std::ptrdiff_t>> places_;
  std::vector<std::int64_t> ids_;
};

/// Finds special tokens in a text from front to back; of two at one place the longer one.
class SpecialSearch {
 public:
  SpecialSearch(const Tables& tables, std::string_view text) : tables_(tables), text_(text) {
    for (const std::int32_t id : tables.special) next_.emplace_back(text.find(piece(id)), id);
  }

  /// The first one from `from` on: its place (npos: none) and id.
  std::pair<std::size_t, std::int32_t> find(std::size_t from) {
    std::pair<std::size_t, std::int32_t> best{std::string_view::npos, -1};
    for (auto& [place, id] : next_) {
      if (place < from) place = text_.find(piece(id), from);
      if (place < best.first || (place == best.first && place != std::string_view::npos &&
                                 piece(id).size() > piece(best.second).size()))
        best = {place, id};
    }
    return best;
  }

 private:
  std::string_view piece(std::int32_t id) const { return tables_.pieces[static_cast<std::size_t>(id)]; }

  const Tables& tables_;
  std::string_view text_;
  std::vector<std::pair<std::size_t, std::int32_t>> next_;  // place of each, not before the last search
};

}  // namespace

void Tables::index_pieces() {
  ids.reserve(pieces.size());
  std::vector<bool> is_special(pieces.size());
  for (const std::int32_t id : special) is_special[static_cast<std::size_t>(id)] = true;
  byte_ids.fill(-1);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (is_special[i]) continue;
    ids.emplace(pieces[i], static_cast<std::int32_t>(i));
    if (pieces[i].size() == 1)
      byte_ids[static_cast<unsigned char>(pieces[i][0])] = static_cast<std::int32_t>(i);
  }
}

void Tables::index_merges() {
  begins.assign(pieces.size() + 1, 0);
  for (const BytePairMerge& m : merges) ++begins[static_cast<std::size_t>(m.left) + 1];
  for (std::size_t i = 1; i < begins.size(); ++i) begins[i] += begins[i - 1];
  entries.resize(merges.size());
  std::vector<std::size_t> next(begins.begin(), begins.end() - 1);
  for (std::size_t rank = 0; rank < merges.size(); ++rank)
    entries[next[static_cast<std::size_t>(merges[rank].left)]++] = {merges[rank].right,
                                                                    static_cast<std::int32_t>(rank)};
  for (std::size_t i = 0; i + 1 < begins.size(); ++i)
    std::sort(entries.begin() + static_cast<std::ptrdiff_t>(begins[i]),
              entries.begin() + static_cast<std::ptrdiff_t>(begins[i + 1]),
              [](const Entry& a, const Entry& b) {
                return std::pair(a.right, a.rank) < std::pair(b.right, b.rank);
              });
}

std::int32_t Tables::rank(std::int32_t left, std::int32_t right) const noexcept {
  const Entry* const end = entries.data() + begins[static_cast<std::size_t>(left) + 1];
  const Entry* const found =
      std::lower_bound(entries.data() + begins[static_cast<std::size_t>(left)], end, right,
                       [](const Entry& e, std::int32_t value) { return e.right < value; });
  return found != end && found->right == right ? found->rank : kNone;
}

BytePairVocab BytePairBuilder::make(std::shared_ptr<Tables> tables) {
  return BytePairVocab(std::move(tables));
}

BytePairVocab::BytePairVocab(std::shared_ptr<const Tables> tables) noexcept : tables_(std::move(tables)) {}

std::int64_t BytePairVocab::size() const noexcept { return std::ssize(tables_->pieces); }
std::int64_t BytePairVocab::merges() const noexcept { return std::ssize(tables_->merges); }

std::string_view BytePairVocab::piece(std::int64_t id) const {
  GPUNN_CHECK(id >= 0 && id < size(), "expected a piece's id in [0, ", size(), "), got ", id);
  return tables_->pieces[static_cast<std::size_t>(id)];
}

std::optional<std::int64_t> BytePairVocab::find(std::string_view bytes) const noexcept {
  const auto found = tables_->ids.find(bytes);
  return found == tables_->ids.end() ? std::nullopt : std::optional<std::int64_t>(found->second);
}

std::optional<std::int64_t> BytePairVocab::special_token(std::string_view text) const noexcept {
  for (const std::int32_t id : tables_->special)
    if (tables_->pieces[static_cast<std::size_t>(id)] == text) return id;
  return std::nullopt;
}

bool BytePairVocab::is_special(std::int64_t id) const noexcept {
  return std::find(tables_->special.begin(), tables_->special.end(), id) != tables_->special.end();
}

std::vector<std::int64_t> BytePairVocab::encode(std::string_view text, SpecialText special,
                                                std::string_view name) const {
  // Places within a word are 32 bits wide.
  GPUNN_CHECK(text.size() < (std::size_t{1} << 31), "expected a text below 2 GiB, got ", text.size(),
              " bytes");
  check_utf8(text, name);
  std::vector<std::int64_t> ids;
  WordCache words(*tables_);
  const auto plain = [&](std::string_view part) {
    for (std::size_t at = 0; at < part.size();) {
      const std::size_t end = detail::bpe_word_end(part, at);
      words.encode(part.substr(at, end - at), ids);
      at = end;
    }
  };
  std::size_t at = 0;
  if (special == SpecialText::token) {
    SpecialSearch search(*tables_, text);
    for (auto found = search.find(0); found.first != std::string_view::npos; found = search.find(at)) {
      plain(text.substr(at, found.first - at));
      ids.push_back(found.second);
      at = found.first + tables_->pieces[static_cast<std::size_t>(found.second)].size();
    }
  }
  plain(text.substr(at));
  return ids;
}

std::string BytePairVocab::decode(std::span<const std::int64_t> ids) const {
  std::string bytes;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    GPUNN_CHECK(ids[i] >= 0 && ids[i] < size(), "expected pieces' ids in [0, ", size(), "), got ", ids[i],
                " at place ", i);
    bytes += tables_->pieces[static_cast<std::size_t>(ids[i])];
  }
  return bytes;
}

}  // namespace gpunn
