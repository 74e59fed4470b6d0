// Byte-pair encoding: ids of another library, round trips, files that contradict themselves, the trainer.
#include "gpunn/training/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/philox.h"
#include "gpunn/core/random.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/training/detail/unicode_classes.h"
#include "gpunn/training/utf8.h"
#include "tests/support/data_error.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using testing::data_error;
using ::testing::ElementsAre;
using testing::golden_path;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Ids = std::vector<std::int64_t>;

const BytePairVocab& golden_vocab() {
  static const BytePairVocab vocab =
      BytePairVocab::load(golden_path("bpe_vocab.json"), golden_path("bpe_merges.txt"));
  return vocab;
}

const JsonValue& golden_samples() {
  static const JsonValue samples = JsonValue::read(golden_path("bpe_samples.json"));
  return samples;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = detail::bpe_word_end(text, at);
    words.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

/// Characters of every kind: blanks, letters of many scripts, digits, signs, control characters.
std::string random_text(PhiloxStream& random, std::size_t length) {
  const std::u32string usual = U"  '' \n\tstmdrevl aeTH019.,!";
  const auto below = [&](std::uint64_t n) { return random.below(n); };
  std::string text;
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint64_t range = below(4) == 0 ? 0x110000 : below(2) == 0 ? 0x3100 : 0;
    auto c = range > 0 ? static_cast<char32_t>(below(range)) : usual[below(usual.size())];
    if (c >= 0xD800 && c < 0xE000) c -= 0x2000;
    append_utf8(text, c);
  }
  return text;
}

TEST(BytePairGolden, WordsAndIdsAreTheOtherLibrarys) {
  const BytePairVocab& vocab = golden_vocab();
  EXPECT_EQ(vocab.size(), 800);
  EXPECT_EQ(vocab.special_token("<|endoftext|>"), 799);
  std::size_t count = 0;
  for (const JsonValue& sample : golden_samples().at("samples").as_array()) {
    const std::string& text = sample.at("text").as_string();
    std::vector<std::string> words;
    for (const JsonValue& word : sample.at("words").as_array()) words.push_back(word.as_string());
    EXPECT_EQ(words_of(text), words) << text;
    Ids ids;
    for (const JsonValue& id : sample.at("ids").as_array()) ids.push_back(id.as_int());
    EXPECT_EQ(vocab.encode(text, SpecialText::token), ids) << text;
    EXPECT_EQ(vocab.decode(ids), text);
    ++count;
  }
  EXPECT_GT(count, 200U);
}

TEST(BytePairGolden, TrainerMakesTheSameFiles) {
  const std::string& corpus = golden_samples().at("corpus").as_string();
  const BytePairVocab trained = BytePairVocab::train(corpus, {.size = 800, .min_count = 1});
  EXPECT_EQ(trained.merges_text(), read_text_file(golden_path("bpe_merges.txt")));
  EXPECT_EQ(trained.vocab_json(), golden_vocab().vocab_json());
}

TEST(BytePairTest, BytesHaveThePublishedCharacters) {
  // The first and last of each run of GPT-2's table.
  const BytePairVocab vocab = BytePairVocab::train("x", {.size = 256, .special_tokens = {}});
  EXPECT_EQ(vocab.size(), 256);
  EXPECT_EQ(vocab.merges(), 0);
  const JsonValue json = JsonValue::parse(vocab.vocab_json(), "json");
  const std::map<std::string, std::pair<int, int>> known{
      {"!", {0, 0x21}},   {"~", {93, 0x7E}},  {"¡", {94, 0xA1}},  {"¬", {105, 0xAC}},
      {"®", {106, 0xAE}}, {"ÿ", {187, 0xFF}}, {"Ā", {188, 0x00}}, {"Ċ", {198, 0x0A}},
      {"Ġ", {220, 0x20}}, {"ġ", {221, 0x7F}}, {"Ń", {255, 0xAD}}};
  for (const auto& [character, place] : known) {
    EXPECT_EQ(json.at(character).as_int(), place.first) << character;
    EXPECT_EQ(vocab.piece(place.first), std::string(1, static_cast<char>(place.second))) << character;
  }
}

TEST(BytePairTest, RandomTextsComeBack) {
  PhiloxStream random(11, 0);
  const BytePairVocab& vocab = golden_vocab();
  for (int i = 0; i < 10'000; ++i) {
    const std::string text = random_text(random, 1 + random.below(24));
    const Ids ids = vocab.encode(text);
    ASSERT_EQ(vocab.decode(ids), text) << i;
    for (const std::int64_t id : ids) ASSERT_LT(id, 799);
    std::string joined;
    for (const std::string& word : words_of(text)) joined += word;
    ASSERT_EQ(joined, text) << i;
  }
}

TEST(BytePairTest, ShakespeareComesBack) {
  const char* data = std::getenv("GPUNN_TEST_DATA_DIR");  // NOLINT(concurrency-mt-unsafe): tests set none
  const std::string path = std::string(data ? data : "") + "/text/tinyshakespeare.txt";
  if (!data || !path_exists(path)) GTEST_SKIP() << "no tinyshakespeare under GPUNN_TEST_DATA_DIR";
  const std::string text = read_text_file(path);
  const Ids ids = golden_vocab().encode(text);
  EXPECT_EQ(golden_vocab().decode(ids), text);
  EXPECT_LT(ids.size(), text.size() * 7 / 10);
}

TEST(BytePairTest, MergesGoByRankAndThenFromLeftToRight) {
  const auto vocab_of = [](const std::vector<std::string>& pieces, const std::string& merges) {
    std::string json = BytePairVocab::train("x", {.size = 256, .special_tokens = {}}).vocab_json();
    json.pop_back();
    std::int64_t id = 256;
    for (const std::string& piece : pieces) json += ",\"" + piece + "\":" + std::to_string(id++);
    return BytePairVocab::parse(json + "}", merges);
  };
  const auto pieces = [](const BytePairVocab& vocab, std::string_view text) {
    std::vector<std::string> out;
    for (const std::int64_t id : vocab.encode(text)) out.emplace_back(vocab.piece(id));
    return out;
  };
  EXPECT_THAT(pieces(vocab_of({"aa"}, "a a\n"), "aaaaa"), ElementsAre("aa", "aa", "a"));
  // The earlier line wins wherever it stands in the word.
  EXPECT_THAT(pieces(vocab_of({"bc", "ab"}, "b c\na b\n"), "abcab"), ElementsAre("a", "bc", "ab"));
  // Every "a b" of the word is merged before the earlier line that the first of them makes possible.
  EXPECT_THAT(pieces(vocab_of({"aba", "ab"}, "ab a\na b\n"), "abab"), ElementsAre("ab", "ab"));
  EXPECT_THAT(pieces(vocab_of({"aba", "ab"}, "ab a\na b\n"), "abac"), ElementsAre("aba", "c"));
  // Two ways to one piece.
  const BytePairVocab both = vocab_of({"ab", "bc", "abc"}, "a b\nb c\nab c\na bc\n");
  EXPECT_THAT(pieces(both, "abc"), ElementsAre("abc"));
  EXPECT_EQ(both.merges(), 4);
  // Words are apart: the blank goes with the word behind it.
  EXPECT_THAT(pieces(vocab_of({"ba"}, "b a\n"), "b a ba"), ElementsAre("b", " ", "a", " ", "ba"));
}

TEST(BytePairTest, LongWordsTakeNoQuadraticTime) {
  // Quadratic merging would take minutes.
  const std::string text(200'000, 'a');
  const BytePairVocab vocab = BytePairVocab::train(std::string(4096, 'a'), {.size = 270, .min_count = 1});
  const Ids ids = vocab.encode(text);
  EXPECT_LT(ids.size(), 200U);
  EXPECT_EQ(vocab.decode(ids), text);
}

TEST(BytePairTest, SpecialTokensOnlyWhereAskedFor) {
  const BytePairVocab vocab =
      BytePairVocab::train("<a> text <ab> text", {.size = 300, .special_tokens = {"<a>", "<ab>", "<a><a>"}});
  const std::int64_t a = *vocab.special_token("<a>"), ab = *vocab.special_token("<ab>");
  EXPECT_EQ(ab, a + 1);
  EXPECT_TRUE(vocab.is_special(a));
  EXPECT_FALSE(vocab.is_special(a - 1));
  EXPECT_FALSE(vocab.special_token("a"));
  EXPECT_FALSE(vocab.find("<a>")) << "no piece: the trainer takes it for no word";
  EXPECT_EQ(vocab.encode("<a>x<ab>", SpecialText::token), (Ids{a, *vocab.find("x"), ab}));
  EXPECT_EQ(vocab.encode("<a><a><a>", SpecialText::token), (Ids{ab + 1, a})) << "the longer one first";
  const Ids plain = vocab.encode("<a>");
  EXPECT_EQ(std::count(plain.begin(), plain.end(), a), 0);
  EXPECT_EQ(vocab.decode(Ids{a, ab}), "<a><ab>");
}

TEST(BytePairTest, IdsOutsideAreRefused) {
  const BytePairVocab& vocab = golden_vocab();
  EXPECT_THAT([&] { vocab.decode(Ids{1, 800}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("800 at place 1")));
  EXPECT_THROW(vocab.decode(Ids{-1}), InvalidArgument);
  EXPECT_THROW(vocab.piece(800), InvalidArgument);
  EXPECT_EQ(data_error([&] { vocab.encode("ab\xFF", SpecialText::plain, "poem"); }),
            "poem: byte 0xFF at offset 2 begins no character: expected UTF-8");
  EXPECT_TRUE(vocab.encode("").empty());
  EXPECT_EQ(vocab.decode({}), "");
}

TEST(BytePairTest, BytesThatAreNoText) {
  const BytePairVocab& vocab = golden_vocab();
  const Ids cut{*vocab.find("\xC3")};
  EXPECT_EQ(vocab.decode(cut), "\xC3");
  EXPECT_EQ(valid_utf8(vocab.decode(cut)), "\uFFFD");
  // Unicode 14.0, table 3-8 and others: one mark for each longest beginning.
  EXPECT_EQ(valid_utf8("a\xF1\x80\x80\xE1\x80\xC2"
                       "b\x80"
                       "c\x80\xBF"
                       "d"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(valid_utf8("\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80"),
            "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(valid_utf8("\xE2\x82"), "\uFFFD");
  const std::string text = "añ€😀\xED\x9F\xBF\uFFFD";
  EXPECT_EQ(valid_utf8(text), text);
  // In pieces of any length the same text comes, whole characters at once.
  const std::string mixed = text + "\xF0\x9F" + text + "\xE2";
  for (std::size_t step = 1; step < 6; ++step) {
    Utf8Stream stream;
    std::string out;
    for (std::size_t at = 0; at < mixed.size(); at += step) {
      const std::string part = stream.add(std::string_view(mixed).substr(at, step));
      EXPECT_NO_THROW(check_utf8(part, "part"));
      out += part;
    }
    EXPECT_EQ(out + stream.finish(), valid_utf8(mixed)) << step;
    EXPECT_EQ(stream.finish(), "");
  }
}

class BytePairFilesTest : public ::testing::Test {
 protected:
  std::string vocab_ = golden_vocab().vocab_json(), merges_ = golden_vocab().merges_text();

  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  static std::string refusal(const std::string& vocab, const std::string& merges) {
    return data_error([&] { BytePairVocab::parse(vocab, merges, {"<|endoftext|>"}, "v.json", "m.txt"); });
  }
};

TEST_F(BytePairFilesTest, GoThereAndBack) {
  const BytePairVocab back = BytePairVocab::parse(vocab_, merges_);
  EXPECT_EQ(back.vocab_json(), vocab_);
  EXPECT_EQ(back.merges_text(), merges_);
  // Line ends of another system, no first line, no last line end.
  std::string other = merges_.substr(merges_.find('\n') + 1);
  other.pop_back();
  EXPECT_EQ(BytePairVocab::parse(vocab_, other).merges_text(), merges_);
  for (std::size_t at = 0; (at = other.find('\n', at)) != std::string::npos; at += 2) other.insert(at, "\r");
  EXPECT_EQ(BytePairVocab::parse(vocab_, other).merges_text(), merges_);
  // A blank line is a bad line, the first one as well.
  std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
  const std::string folder = ::mkdtemp(pattern.data());
  golden_vocab().save(folder + "/vocab.json", folder + "/merges.txt");
  EXPECT_EQ(BytePairVocab::load(folder + "/vocab.json", folder + "/merges.txt").vocab_json(), vocab_);
  EXPECT_THAT(data_error([&] { BytePairVocab::load(folder + "/vocab.json", folder + "/none"); }),
              HasSubstr(folder + "/none"));
  EXPECT_THAT(data_error([&] { BytePairVocab::load(folder + "/none", folder + "/merges.txt"); }),
              HasSubstr(folder + "/none"));
  std::filesystem::remove_all(folder);
}

TEST_F(BytePairFilesTest, VocabulariesThatContradictThemselves) {
  struct Case {
    const char *from, *to, *message;
  };
  for (const Case& c : std::vector<Case>{
           {"\"!\":0", "\"!\":1", "v.json: a second piece has the id 1 at offset"},
           {"\"!\":0", "\"!\":-1", "v.json: expected ids from 0 to 799 for 800 pieces, got -1 at offset"},
           {"\"!\":0", "\"!\":800", "v.json: expected ids from 0 to 799 for 800 pieces, got 800 at offset"},
           {"\"!\":0", "\"!\":0.5", "v.json: expected an integer"},
           {"\"!\":0", "\"!\":null", "v.json: expected an integer"},
           {"\"!\":0", "\"!\":[0]", "v.json: expected an integer"},
           {"\"!\":0", "\"!\":18446744073709551615", "v.json: expected an integer"},
           {"\"!\":0", "\"\":0", "v.json: expected pieces of at least one byte"},
           {"\"!\":0,", "", "v.json: expected ids from 0 to 798 for 799 pieces, got 799 at offset"},
           {"\"!\":0", "\"€\":0", "v.json: piece '€' holds a character that stands for no byte at offset"},
           {"\"!\":0", "\"a b\":0", "v.json: piece 'a b' holds a character that stands for no byte"},
           {"\"!\":0", "\"!?\":0", "v.json: byte 33 has no piece, expected !"},
           {"\"!\":0", "\"\\\"\":0", "v.json: duplicate key"},
           {"{", "[", "v.json: not valid JSON at offset"},
           {"{", "", "v.json: not valid JSON at offset"},
           {"<|endoftext|>", "<|end|>", "v.json: piece '<|end|>' with id 799 is made by no merge of m.txt"},
           {"\"the\":", "\"qqq\":", "m.txt: line "}}) {
    const std::string message = refusal(replaced(vocab_, c.from, c.to), merges_);
    EXPECT_EQ(message.rfind(c.message, 0), 0U) << message << "\nexpected " << c.message;
  }
  EXPECT_THAT(refusal("[]", merges_), HasSubstr("v.json: expected an object"));
  EXPECT_THAT(refusal("{}", merges_), HasSubstr("v.json: byte 0 has no piece, expected Ā"));
  EXPECT_THAT(refusal("", merges_), HasSubstr("v.json: not valid JSON"));
  EXPECT_THAT(refusal(std::string(100'000, '['), merges_), HasSubstr("nested at most 2"));
  EXPECT_THAT(refusal(vocab_.substr(0, vocab_.size() - 1), merges_), HasSubstr("v.json: not valid JSON"));
}

TEST_F(BytePairFilesTest, MergesThatDoNotFit) {
  const std::string first = "#version: 0.2\n";
  const auto with_line = [&](const std::string& line) {
    return replaced(merges_, first, first + line + "\n");
  };
  struct Case {
    const char *line, *message;
  };
  for (const Case& c : std::vector<Case>{
           {"", "m.txt: line 2: expected two pieces with one blank between them, got ''"},
           {"a", "m.txt: line 2: expected two pieces with one blank between them, got 'a'"},
           {"a b c", "m.txt: line 2: expected two pieces with one blank between them, got 'a b c'"},
           {"a  b", "m.txt: line 2: expected two pieces with one blank between them, got 'a  b'"},
           {" b", "m.txt: line 2: expected two pieces with one blank between them, got ' b'"},
           {"a ", "m.txt: line 2: expected two pieces with one blank between them, got 'a '"},
           {"a\tb c", "m.txt: line 2: piece 'a?b' is not in v.json"},
           {"qqq a", "m.txt: line 2: piece 'qqq' is not in v.json"},
           {"a € ", "m.txt: line 2: expected two pieces"},
           {"a €", "m.txt: line 2: piece '€' is not in v.json"},
           {"a \xFF", "m.txt: line 2: piece '\xFF' is not in v.json"},
           {"a \xC4", "m.txt: line 2: piece '\xC4' is not in v.json"},
           {"<|endoftext|> a", "m.txt: line 2: piece '<|endoftext|>' is not in v.json"},
           {"! !", "m.txt: line 2: merges to '!!', which is not in v.json"},
           {"#version: 0.2", "m.txt: line 2: piece '#version:' is not in v.json"}})
    EXPECT_EQ(refusal(vocab_, with_line(c.line)).rfind(c.message, 0), 0U)
        << refusal(vocab_, with_line(c.line)) << "\nexpected " << c.message;
  const std::string line = merges_.substr(first.size(), merges_.find('\n', first.size()) - first.size());
  EXPECT_EQ(refusal(vocab_, merges_ + line + "\n"), "m.txt: line 545: the merge of line 2 again");
  // Cut off at any line the vocabulary has more than the merges make.
  EXPECT_THAT(refusal(vocab_, merges_.substr(0, merges_.rfind("Ġ1 00"))),
              HasSubstr("v.json: piece 'Ġ100' with id 798 is made by no merge of m.txt"));
  EXPECT_THAT(refusal(vocab_, ""), HasSubstr("is made by no merge of m.txt"));
  // Cut at every byte: whole lines are missing then, or one is broken; both are refused.
  for (std::size_t size = 0; size + 1 < merges_.size(); size += 61)
    EXPECT_NE(refusal(vocab_, merges_.substr(0, size)), "no DataError") << size;
}

TEST(BytePairTrainingTest, MergesTheMostFrequentPairsFirst) {
  // (a, b) and (b, c) 4 times, (Ġ, a) 3; then (Ġ, ab) and (ab, c) 3, the blank has the lower id; then 2.
  const BytePairVocab vocab = BytePairVocab::train("abc abc abc ab bc", {.size = 260, .special_tokens = {}});
  EXPECT_EQ(vocab.merges_text(), "#version: 0.2\na b\nĠ ab\nĠab c\n");
  // Equal counts: lower ids first, left before right.
  EXPECT_EQ(BytePairVocab::train("ba\nba\ndc\ndc", {.size = 257, .special_tokens = {}}).merges_text(),
            "#version: 0.2\nb a\n");
  EXPECT_EQ(BytePairVocab::train("ac\nac\nab\nab", {.size = 257, .special_tokens = {}}).merges_text(),
            "#version: 0.2\na b\n");
  // Rarer pairs than min_count are left.
  EXPECT_EQ(BytePairVocab::train("abab", {.size = 300, .min_count = 3}).merges(), 0);
  EXPECT_EQ(BytePairVocab::train("ababab", {.size = 300, .min_count = 3}).merges(), 1);
  // Special tokens are no words, and words do not go across them.
  EXPECT_EQ(BytePairVocab::train("a<|endoftext|>a<|endoftext|>a", {.size = 300}).merges(), 0);
}

TEST(BytePairTrainingTest, Refuses) {
  EXPECT_THAT([] { BytePairVocab::train("x", {.size = 256}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("size of at least 257")));
  EXPECT_THROW(BytePairVocab::train("x", {.size = -1}), InvalidArgument);
  EXPECT_THROW(BytePairVocab::train("x", {.size = 300, .min_count = 0}), InvalidArgument);
  EXPECT_EQ(data_error([] { BytePairVocab::train("", {.size = 300}, "poem"); }),
            "poem: expected at least one character, got none");
  EXPECT_THROW(BytePairVocab::train("\xFF", {.size = 300}), DataError);
  for (const SpecialTokens& bad : std::vector<SpecialTokens>{{""}, {"<a>", "<a>"}, {"\xFF"}, {"a"}, {"Ġ"}})
    EXPECT_THROW(BytePairVocab::train("text", {.size = 300, .special_tokens = bad}), InvalidArgument);
  // What would be one key with a piece of the text.
  EXPECT_THAT([] { BytePairVocab::train("a the the", {.size = 300, .special_tokens = {"Ġthe"}}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("unlike any piece's spelling, got 'Ġthe'")));
}

}  // namespace
}  // namespace gpunn
