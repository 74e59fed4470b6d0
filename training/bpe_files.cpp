// GPT-2's files of a byte-pair vocabulary: reading them with every contradiction refused, and writing them.
#include <algorithm>
#include <memory>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/training/bpe.h"
#include "gpunn/training/detail/bpe_tables.h"

namespace gpunn {
namespace detail {

const std::array<char32_t, 256>& byte_characters() noexcept {
  static const std::array<char32_t, 256> table = [] {
    std::array<char32_t, 256> t{};
    char32_t next = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
      t[b] = printable ? b : next++;
    }
    return t;
  }();
  return table;
}

std::array<std::uint8_t, 256> bytes_in_order() noexcept {
  std::array<std::uint8_t, 256> bytes{};
  for (std::size_t i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  const std::array<char32_t, 256>& c = byte_characters();
  std::sort(bytes.begin(), bytes.end(), [&](std::uint8_t a, std::uint8_t b) { return c[a] < c[b]; });
  return bytes;
}

std::string spelled(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    const char32_t c = byte_characters()[static_cast<unsigned char>(byte)];
    // None is above U+0143: two bytes at most.
    if (c >= 0x80) out += static_cast<char>(0xC0U | (c >> 6));
    out += static_cast<char>(c < 0x80 ? c : 0x80U | (c & 0x3FU));
  }
  return out;
}

bool spelled_bytes(std::string_view spelling, std::string& bytes) {
  constexpr std::size_t kCharacters = 0x144;
  static const std::array<std::int16_t, kCharacters> inverse = [] {
    std::array<std::int16_t, kCharacters> t{};
    t.fill(-1);
    for (std::size_t b = 0; b < 256; ++b) t[byte_characters()[b]] = static_cast<std::int16_t>(b);
    return t;
  }();
  bytes.clear();
  for (std::size_t i = 0; i < spelling.size(); ++i) {
    const unsigned first = static_cast<unsigned char>(spelling[i]);
    std::size_t c = first;
    if (first >= 0x80) {
      const unsigned second = i + 1 < spelling.size() ? static_cast<unsigned char>(spelling[i + 1]) : 0U;
      if (first < 0xC2 || first > 0xC5 || (second & 0xC0U) != 0x80U) return false;
      c = ((first & 0x1FU) << 6) | (second & 0x3FU);
      ++i;
    }
    if (c >= kCharacters || inverse[c] < 0) return false;
    bytes += static_cast<char>(inverse[c]);
  }
  return true;
}

}  // namespace detail

namespace {

using Tables = BytePairBuilder::Tables;

constexpr std::size_t kMaxMerges = 1'000'000;
// What a file of that many merges can reasonably take; a JSON document has the limit of its reader.
constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20;

/// Text of a file in a message.
std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out + (text.size() > kShown ? "…'" : "'");
}

struct Names {
  std::string_view vocab, merges;
};

class Reader {
 public:
  Reader(const SpecialTokens& special, Names names)
      : special_(special), names_(names), tables_(std::make_shared<Tables>()) {}

  void read_vocab(std::string_view text) {
    const JsonValue json = JsonValue::parse(text, names_.vocab, {.max_depth = 2, .max_bytes = kMaxBytes});
    const JsonValue::Object& members = json.as_object();
    const auto n = static_cast<std::int64_t>(members.size());
    std::vector<bool> taken(members.size());
    tables_->pieces.resize(members.size());
    for (const auto& [key, value] : members) {
      const std::int64_t id = value.as_int();
      if (id < 0 || id >= n)
        value.fail(detail::concat("expected ids from 0 to ", n - 1, " for ", n, " pieces, got ", id));
      if (taken[static_cast<std::size_t>(id)]) value.fail(detail::concat("a second piece has the id ", id));
      taken[static_cast<std::size_t>(id)] = true;
      read_piece(key, id, value);
    }
    tables_->index_pieces();
    for (int byte = 0; byte < 256; ++byte)
      if (tables_->byte_ids[static_cast<std::size_t>(byte)] < 0)
        detail::throw_data(detail::concat(names_.vocab, ": byte ", byte, " has no piece, expected ",
                                          detail::spelled(std::string(1, static_cast<char>(byte)))));
  }

  void read_merges(std::string_view text) {
    std::size_t line_number = 0;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++line_number;
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (line_number == 1 && line.rfind("#version", 0) == 0) continue;
      if (tables_->merges.size() >= kMaxMerges)
        fail(line_number, detail::concat("expected at most ", kMaxMerges, " merges"));
      read_merge(line, line_number);
    }
    tables_->index_merges();
    check_repeats();
    check_all_are_made();
  }

  BytePairVocab take() { return BytePairBuilder::make(std::move(tables_)); }

 private:
  [[noreturn]] void fail(std::size_t line, const std::string& what) const {
    detail::throw_data(detail::concat(names_.merges, ": line ", line, ": ", what));
  }

  void read_piece(const std::string& key, std::int64_t id, const JsonValue& place) {
    std::string& piece = tables_->pieces[static_cast<std::size_t>(id)];
    if (key.empty()) place.fail("expected pieces of at least one byte, got an empty one");
    if (std::find(special_.begin(), special_.end(), key) != special_.end()) {
      piece = key;
      tables_->special.push_back(static_cast<std::int32_t>(id));
    } else if (!detail::spelled_bytes(key, piece)) {
      place.fail("piece " + quoted(key) + " holds a character that stands for no byte");
    }
  }

  std::int32_t piece_of(std::string_view spelling, std::size_t line) {
    const bool good = detail::spelled_bytes(spelling, bytes_);
    const auto found = good ? tables_->ids.find(bytes_) : tables_->ids.end();
    if (found == tables_->ids.end())
      fail(line, detail::concat("piece ", quoted(spelling), " is not in ", names_.vocab));
    return found->second;
  }

  void read_merge(std::string_view line, std::size_t line_number) {
    const std::size_t blank = line.find(' ');
    if (blank == 0 || blank == std::string_view::npos || blank + 1 == line.size() ||
        line.find(' ', blank + 1) != std::string_view::npos)
      fail(line_number, "expected two pieces with one blank between them, got " + quoted(line));
    const std::int32_t left = piece_of(line.substr(0, blank), line_number),
                       right = piece_of(line.substr(blank + 1), line_number);
    bytes_ = tables_->pieces[static_cast<std::size_t>(left)];
    bytes_ += tables_->pieces[static_cast<std::size_t>(right)];
    const auto result = tables_->ids.find(bytes_);
    if (result == tables_->ids.end())
      fail(line_number,
           detail::concat("merges to ", quoted(detail::spelled(bytes_)), ", which is not in ", names_.vocab));
    tables_->merges.push_back({left, right, result->second});
    lines_.push_back(static_cast<std::uint32_t>(line_number));
  }

  void check_repeats() const {
    for (std::size_t piece = 0; piece + 1 < tables_->begins.size(); ++piece)
      for (std::size_t i = tables_->begins[piece] + 1; i < tables_->begins[piece + 1]; ++i) {
        const Tables::Entry &a = tables_->entries[i - 1], &b = tables_->entries[i];
        if (a.right == b.right)
          fail(lines_[static_cast<std::size_t>(b.rank)],
               detail::concat("the merge of line ", lines_[static_cast<std::size_t>(a.rank)], " again"));
      }
  }

  // Files of two vocabularies fit each other otherwise when the one has more of everything.
  void check_all_are_made() const {
    std::vector<bool> made(tables_->pieces.size());
    for (const BytePairMerge& m : tables_->merges) made[static_cast<std::size_t>(m.result)] = true;
    for (const std::int32_t id : tables_->special) made[static_cast<std::size_t>(id)] = true;
    for (std::size_t id = 0; id < made.size(); ++id)
      if (!made[id] && tables_->pieces[id].size() > 1)
        detail::throw_data(detail::concat(
            names_.vocab, ": piece ", quoted(detail::spelled(tables_->pieces[id])), " with id ", id,
            " is made by no merge of ", names_.merges, " and is no special token"));
  }

  const SpecialTokens& special_;
  Names names_;
  std::shared_ptr<Tables> tables_;
  std::vector<std::uint32_t> lines_;  // of each merge
  std::string bytes_;
};

}  // namespace

BytePairVocab BytePairVocab::parse(std::string_view vocab_json, std::string_view merges,
                                   const SpecialTokens& special_tokens, std::string_view vocab_name,
                                   std::string_view merges_name) {
  Reader reader(special_tokens, {vocab_name, merges_name});
  reader.read_vocab(vocab_json);
  reader.read_merges(merges);
  return reader.take();
}

BytePairVocab BytePairVocab::load(const std::string& vocab_path, const std::string& merges_path,
                                  const SpecialTokens& special_tokens) {
  const std::string vocab = read_text_file(vocab_path, kMaxBytes);
  return parse(vocab, read_text_file(merges_path, kMaxBytes), special_tokens, vocab_path, merges_path);
}

std::string BytePairVocab::vocab_json() const {
  JsonWriter json;
  json.begin_object();
  for (std::int64_t id = 0; id < size(); ++id)
    json.field(is_special(id) ? std::string(piece(id)) : detail::spelled(piece(id)), id);
  return json.end_object().take();
}

std::string BytePairVocab::merges_text() const {
  std::string out = "#version: 0.2\n";
  for (const BytePairMerge& m : tables_->merges)
    out += detail::spelled(piece(m.left)) + " " + detail::spelled(piece(m.right)) + "\n";
  return out;
}

void BytePairVocab::save(const std::string& vocab_path, const std::string& merges_path) const {
  write_file_atomic(vocab_path, vocab_json());
  write_file_atomic(merges_path, merges_text());
}

}  // namespace gpunn
