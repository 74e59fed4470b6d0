// UTF-8, vocabularies of characters and words, text files and their splits.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/training/character_vocab.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/text_data.h"
#include "gpunn/training/utf8.h"
#include "tests/support/data_error.h"

namespace gpunn {
namespace {

using testing::data_error;

using Ids = std::vector<std::int64_t>;
using Words = std::vector<std::string>;

class TextFileTest : public ::testing::Test {
 protected:
  TextFileTest() {
    std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~TextFileTest() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, std::string_view text) {
    write_file_atomic(folder_ + "/" + name, text);
    return folder_ + "/" + name;
  }
  std::string folder_;
};

TEST(Utf8Test, EveryCharacterGoesThereAndBack) {
  std::size_t count = 0;
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 || c > 0x10FF00 ? 1 : 61) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const CodePoint back = decode_utf8_at(text, 0, "t");
    ASSERT_EQ(back.value, c);
    ASSERT_EQ(back.bytes, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4) << static_cast<unsigned>(c);
    ASSERT_EQ(static_cast<std::size_t>(back.bytes), text.size());
    ++count;
  }
  EXPECT_GT(count, 20000U);
  std::string text;
  EXPECT_THROW(append_utf8(text, 0xD800), InvalidArgument);
  EXPECT_THROW(append_utf8(text, 0x110000), InvalidArgument);
}

TEST(Utf8Test, RefusesWhatIsNoCharacter) {
  struct Case {
    std::string bytes;
    const char* place;
  };
  for (const Case& c : std::vector<Case>{{"\x80", "0x80 at offset 2"},
                                         {"\xBF", "0xBF at offset 2"},
                                         {"\xC3", "0xC3 at offset 2"},
                                         {"\xC3(", "0x28 at offset 3"},
                                         {"\xE2\x82", "0xE2 at offset 2"},
                                         {"\xE2\x82x", "0x78 at offset 4"},
                                         {"\xF0\x9F\x98", "0xF0 at offset 2"},
                                         {"\xC0\x80", "0xC0 at offset 2"},  // longer than needed
                                         {"\xC1\xBF", "0xC1 at offset 2"},
                                         {"\xE0\x9F\xBF", "0xE0 at offset 2"},
                                         {"\xF0\x8F\xBF\xBF", "0xF0 at offset 2"},
                                         {"\xED\xA0\x80", "0xED at offset 2"},  // a surrogate
                                         {"\xED\xBF\xBF", "0xED at offset 2"},
                                         {"\xF4\x90\x80\x80", "0xF4 at offset 2"},  // past U+10FFFF
                                         {"\xF8\x88\x80\x80\x80", "0xF8 at offset 2"},
                                         {"\xFF", "0xFF at offset 2"}}) {
    const std::string message = data_error([&] { decode_utf8("ab" + c.bytes, "poem"); });
    EXPECT_EQ(message.rfind("poem: byte " + std::string(c.place), 0), 0U) << message;
    EXPECT_THROW(CharacterVocab::from_text("ab" + c.bytes), DataError) << message;
    EXPECT_THROW(CharacterVocab::from_text("ab").encode("ab" + c.bytes), DataError) << message;
    EXPECT_THROW(split_words("ab" + c.bytes), DataError) << message;
  }
}

TEST(CharacterVocabTest, SortedOrInOrderOfAppearance) {
  const std::string text = "hello, wörld€😀";
  const CharacterVocab sorted = CharacterVocab::from_text(text);
  EXPECT_EQ(sorted.size(), 12);
  EXPECT_EQ(sorted.character(0), U' ');
  EXPECT_EQ(sorted.character(11), U'😀');
  EXPECT_EQ(sorted.decode(sorted.encode(text)), text);
  const CharacterVocab first = CharacterVocab::from_text(text, {.order = CharacterOrder::first_appearance});
  EXPECT_EQ(first.encode("hello"), (Ids{0, 1, 2, 2, 3}));
  EXPECT_EQ(first.decode(Ids{0, 3, 11}), "ho😀");
  EXPECT_EQ(first.decode(first.encode(text)), text);
  EXPECT_EQ(CharacterVocab::from_text("hello world hello there world is beautiful").size(), 15);
  EXPECT_TRUE(sorted.encode("").empty());
}

TEST(CharacterVocabTest, UnknownCharactersAreNamedOrHaveAnId) {
  const CharacterVocab strict = CharacterVocab::from_text("añb");
  EXPECT_EQ(data_error([&] { strict.encode("ñañ€b", "line 3"); }),
            "line 3: character '€' (U+20AC) at position 3 (offset 5) is none of the vocabulary's 3");
  EXPECT_EQ(data_error([&] { strict.encode("a\n"); }),
            "text: character U+000A at position 1 (offset 1) is none of the vocabulary's 3");
  EXPECT_FALSE(strict.unknown());
  EXPECT_FALSE(strict.find(U'x'));
  const CharacterVocab open = CharacterVocab::from_text("añb", {.unknown = true});
  EXPECT_EQ(open.size(), 4);
  EXPECT_EQ(open.unknown(), 0);
  EXPECT_EQ(open.encode("a€b"), (Ids{1, 0, 2}));
  EXPECT_EQ(open.decode(Ids{1, 0, 3}), "a\uFFFDñ");
  // The replacement character of a text is one that is not known, and has one id.
  EXPECT_EQ(CharacterVocab::from_text("\uFFFDa", {.unknown = true}).size(), 2);
  EXPECT_EQ(data_error([] { CharacterVocab::from_text("", {}, "poem"); }),
            "poem: expected at least one character, got none");
  EXPECT_THROW(strict.decode(Ids{0, 3}), InvalidArgument);
  EXPECT_THROW(strict.decode(Ids{-1}), InvalidArgument);
  EXPECT_THROW(strict.character(3), InvalidArgument);
}

TEST(CharacterVocabTest, StateGoesThereAndBack) {
  for (const bool unknown : {false, true})
    for (const CharacterOrder order : {CharacterOrder::sorted, CharacterOrder::first_appearance})
      for (const std::string text : {"zebra\nñ 😀", "\uFFFD", "x"}) {
        const CharacterVocab vocab = CharacterVocab::from_text(text, {.order = order, .unknown = unknown});
        const CharacterVocab back = CharacterVocab::from_state(vocab.state());
        EXPECT_TRUE(back == vocab) << vocab.state();
        EXPECT_EQ(back.encode(text), vocab.encode(text));
      }
  EXPECT_EQ(CharacterVocab::from_text("ba").state(), "characters 2\nab");
  for (const std::string bad :
       {"", "characters", "characters 2", "characters 2\n", "characters 2\na", "characters 2\nabc",
        "characters 2\naa", "characters -1\n", "characters 0\n", "characters 02\nab", "characters two\nab",
        "characters  2\nab", "characters 2 \nab", "characters 2 unknown\nab", "words 2\nab",
        "characters 99999999999999999999\nab", "characters 2\na\x80", "characters 1 unknown\n\x80"})
    EXPECT_THROW(CharacterVocab::from_state(bad), DataError) << bad;
}

TEST(WordsTest, PunctuationStandsApart) {
  EXPECT_EQ(split_words("It's a WELL-made film... isn't it?!  (yes)"),
            (Words{"it's", "a", "well-made", "film", "...", "isn't", "it", "?", "!", "(", "yes", ")"}));
  EXPECT_EQ(
      split_words("'quoted' -dash- a--b 3.5 \xC3\x84rger ΣΑΣ ЖЁ"),
      (Words{"'", "quoted", "'", "-", "dash", "-", "a", "--", "b", "3", ".", "5", "ärger", "σασ", "жё"}));
  EXPECT_TRUE(split_words(" \t\n").empty());
  EXPECT_EQ(split_words("×ß"), (Words{"×ß"}));
}

TEST(WordVocabTest, CountsDecide) {
  const std::vector<Words> sentences{{"the", "film", "the"}, {"film", "a", "the", "b"}};
  const WordVocab all = WordVocab::from_sentences(sentences);
  EXPECT_EQ(all.size(), 6);
  EXPECT_EQ(all.encode(Words{"the", "film", "a", "b", "zzz"}), (Ids{2, 3, 4, 5, 1}));
  EXPECT_EQ(all.word(0), "<pad>");
  EXPECT_EQ(all.word(1), "<unk>");
  EXPECT_EQ(all.word(3), "film");
  const WordVocab twice = WordVocab::from_sentences(sentences, {.min_count = 2});
  EXPECT_EQ(twice.size(), 4);
  EXPECT_EQ(twice.id("a"), WordVocab::kUnknown);
  EXPECT_EQ(WordVocab::from_sentences(sentences, {.max_words = 1}).size(), 3);
  EXPECT_EQ(WordVocab::from_state(all.state()).encode(sentences[1]), all.encode(sentences[1]));
  EXPECT_EQ(WordVocab::from_state(all.state()).state(), all.state());

  EXPECT_THROW(WordVocab::from_sentences(sentences, {.min_count = 4}), DataError);
  EXPECT_THROW(WordVocab::from_sentences(std::vector<Words>{}), DataError);
  EXPECT_THROW(WordVocab::from_sentences(std::vector<Words>{{"a\nb"}}), DataError);
  EXPECT_THROW(WordVocab::from_sentences(std::vector<Words>{{""}}), DataError);
  EXPECT_THROW(WordVocab::from_sentences(sentences, {.min_count = 0}), InvalidArgument);
  EXPECT_THROW(all.word(6), InvalidArgument);
  EXPECT_THROW(all.word(-1), InvalidArgument);
  for (const char* bad : {"words 3\n", "words 3\na", "words 3\na\nb\n", "words 4\na\na\n", "words 4\na\n\n",
                          "words 2\n", "words 3 unknown\na\n", "words 3\n\xFF\n", "characters 3\na\n"})
    EXPECT_THROW(WordVocab::from_state(bad), DataError) << bad;
}

TEST_F(TextFileTest, ReadsTextAndLines) {
  EXPECT_EQ(load_text(file("a", "\xEF\xBB\xBFhi\r\n\r\n é \n")), "hi\r\n\r\n é \n");
  EXPECT_EQ(load_lines(file("a", "\xEF\xBB\xBFhi\r\n\r\n é \nlast")), (Words{"hi", "é", "last"}));
  const std::string empty = file("empty", ""), blank = file("blank", " \n\n"),
                    broken = file("broken", "ab\xFF");
  EXPECT_EQ(data_error([&] { load_text(empty); }), empty + ": expected text, got an empty file");
  EXPECT_THROW(load_text(file("mark", "\xEF\xBB\xBF")), DataError);
  EXPECT_EQ(data_error([&] { load_lines(blank); }), blank + ": expected lines of text, got blank ones only");
  EXPECT_EQ(data_error([&] { load_text(broken); }),
            broken + ": byte 0xFF at offset 2 begins no character: expected UTF-8");
  EXPECT_THROW(load_text(folder_ + "/none"), DataError);
}

TEST_F(TextFileTest, KnownTextsAreFound) {
  create_directories(folder_ + "/text");
  file("text/names.txt", "emma\nolivia\n");
  EXPECT_EQ(load_lines(find_data(data_set_info("names"), folder_)[0]), (Words{"emma", "olivia"}));
  EXPECT_THROW(find_data(data_set_info("tinyshakespeare"), folder_), DataError);
  create_directories(folder_ + "/sentiment");
  file("sentiment/rt-polarity.neg", "bad\n");
  const std::string message = data_error([&] { find_data(data_set_info("rt-polarity"), folder_); });
  EXPECT_NE(message.find("rt-polarity.pos"), std::string::npos) << message;
  // Directly in the folder that the user names.
  file("airline-passengers.csv", "x");
  EXPECT_EQ(find_data(data_set_info("airline-passengers"), folder_)[0], folder_ + "/airline-passengers.csv");
}

TEST(TextSplitTest, ByPositionInCharacters) {
  const TextSplit split = split_text("0123456789");
  EXPECT_EQ(split.train, "012345678");
  EXPECT_EQ(split.validation, "9");
  const TextSplit wide = split_text("ñ€😀x", 0.5);
  EXPECT_EQ(wide.train, "ñ€");
  EXPECT_EQ(wide.validation, "😀x");
  EXPECT_THROW(split_text("a"), InvalidArgument);
  EXPECT_THROW(split_text(""), InvalidArgument);
  EXPECT_THROW(split_text("0123456789", 1), InvalidArgument);
  EXPECT_THROW(split_text("0123456789", 0), InvalidArgument);
  EXPECT_THROW(split_text("012345678\x80"), DataError);
}

}  // namespace
}  // namespace gpunn
