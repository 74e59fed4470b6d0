// Text, vocabularies and series from any bytes.
#include <cmath>

#include "gpunn/training/character_vocab.h"
#include "gpunn/training/series.h"
#include "gpunn/training/text_data.h"
#include "gpunn/training/utf8.h"
#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

const std::vector<std::string> kTexts = {"a", "Z",  "\n",           " ", "'",    "-",     "...", "é",
                                         "€", "😀", "\xED\x9F\xBF", "ß", "It's", "\uFFFD"};
const std::vector<std::string> kBytes = {
    "\x80",     "\xC3", "\xE2\x82",  "\xF0\x9F",       "\xED\xA0\x80",
    "\xC0\x80", "\xFF", "unknown\n", "characters 3\n", std::string(1, '\0')};

TEST(FuzzText, EncodesAndDecodesOrRefuses) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    for (std::size_t i = 1 + dice.below(12); i > 0; --i) document += dice.pick(kTexts);
    const bool broken = dice.one_in(2);
    if (broken) fuzz::mutate(document, dice, kBytes);
    const CharacterVocab vocab = CharacterVocab::from_text(
        document, {.order = dice.one_in(2) ? CharacterOrder::sorted : CharacterOrder::first_appearance});
    const std::vector<std::int64_t> ids = vocab.encode(document);
    EXPECT_EQ(vocab.decode(ids), document);
    EXPECT_EQ(ids.size(), check_utf8(document, "f"));
    EXPECT_EQ(encode_utf8(decode_utf8(document, "f")), document);
    EXPECT_TRUE(CharacterVocab::from_state(vocab.state()) == vocab);
    // Words hold no spaces; put together again they are the same words.
    const std::vector<std::string> words = split_words(document);
    std::string joined;
    for (const std::string& word : words) joined += word + " ";
    EXPECT_EQ(split_words(joined), words);
    if (!words.empty()) {
      const WordVocab known = WordVocab::from_sentences(std::vector<std::vector<std::string>>{words});
      for (const std::int64_t id : known.encode(words)) EXPECT_GE(id, 2);
      EXPECT_EQ(WordVocab::from_state(known.state()).state(), known.state());
    }
    return true;
  });
}

TEST(FuzzText, SavedVocabularies) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    std::string text;
    for (std::size_t i = 1 + dice.below(6); i > 0; --i) text += dice.pick(kTexts);
    const bool words = dice.one_in(2);
    document = words
                   ? WordVocab::from_sentences(std::vector<std::vector<std::string>>{{"a", "b", "é"}}).state()
                   : CharacterVocab::from_text(text, {.unknown = dice.one_in(2)}).state();
    if (!dice.one_in(3)) fuzz::mutate(document, dice, kBytes);
    if (words) {
      EXPECT_EQ(WordVocab::from_state(document).state(), document);
    } else {
      EXPECT_EQ(CharacterVocab::from_state(document).state(), document);
    }
    return true;
  });
}

TEST(FuzzText, Series) {
  const std::vector<std::string> words = {
      "2020-01-01", "2020-02", "9999-12-31", "0001-01", ",", "\n", "NA", "nan", "\"", "-", "1e308", "-1e308"};
  fuzz::fuzz_loop([&](Dice& dice, std::string& document) {
    document = "when,a,b\n";
    const bool months = dice.one_in(2);
    const std::int64_t first = months ? 600 : 18000;
    std::int64_t at = first;
    for (std::size_t i = 2 + dice.below(8); i > 0; --i) {
      document += date_text({at, months ? DateUnit::month : DateUnit::day}) + "," +
                  std::to_string(dice.below(100)) + "," + (dice.one_in(8) ? "" : "2.5") + "\n";
      at += dice.one_in(8) ? 3 : 1;
    }
    if (!dice.one_in(3)) fuzz::mutate(document, dice, words);
    SeriesOptions options;
    const GapFill fills[] = {GapFill::error, GapFill::forward, GapFill::linear};
    options.fill = fills[dice.below(3)];
    const Series series = parse_series(document, "f", options);
    EXPECT_EQ(series.values.size(), static_cast<std::size_t>(series.rows() * series.variables()));
    for (const double value : series.values) EXPECT_TRUE(std::isfinite(value));
    EXPECT_GE(series.rows(), 2);
    for (std::int64_t row = 1; row < series.rows(); ++row)
      EXPECT_EQ(parse_date(series.date(row)).value - parse_date(series.date(row - 1)).value, series.step);
    return true;
  });
}

}  // namespace
}  // namespace gpunn
