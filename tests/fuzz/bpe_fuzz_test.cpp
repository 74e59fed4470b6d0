// Byte-pair vocabularies and texts from any bytes.
#include "gpunn/training/bpe.h"
#include "gpunn/training/utf8.h"
#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

const std::vector<std::string> kParts = {"the", " the", "a", "ab", "  ", "\n", "'s",
                                         "12",  "é",    "€", "😀", "!?", "ſ"};
const std::vector<std::string> kWords = {"\"",
                                         ",",
                                         ":",
                                         "\n",
                                         "\n\n",
                                         " ",
                                         "Ġ",
                                         "Ċ",
                                         "{}",
                                         "null",
                                         "\"a\":",
                                         "-1",
                                         "#version",
                                         "\r\n",
                                         "\xC4",
                                         "\xFF",
                                         "a b\n",
                                         "Ġ t\n",
                                         "<|endoftext|>",
                                         std::string(1, '\0')};

std::string text_of(Dice& dice) {
  std::string text;
  for (std::size_t i = 1 + dice.below(30); i > 0; --i) text += dice.pick(kParts);
  return text;
}

TEST(FuzzBytePairs, FilesGoThereAndBackOrAreRefused) {
  std::vector<std::pair<std::string, std::string>> files;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Dice dice(seed);
    const auto size = 257 + static_cast<std::int64_t>(dice.below(60));
    const BytePairVocab vocab = BytePairVocab::train(text_of(dice), {.size = size, .min_count = 1});
    files.emplace_back(vocab.vocab_json(), vocab.merges_text());
  }
  fuzz::fuzz_loop([&](Dice& dice, std::string& document) {
    auto [json, merges] = dice.pick(files);
    if (dice.one_in(2)) {
      fuzz::mutate(json, dice, kWords);
    } else if (dice.one_in(3)) {
      fuzz::mutate(merges, dice, kWords);
    }
    document = json + merges;
    const BytePairVocab read = BytePairVocab::parse(json, merges);
    // What was accepted means the same once it is written again.
    const BytePairVocab again = BytePairVocab::parse(read.vocab_json(), read.merges_text());
    EXPECT_EQ(again.vocab_json(), read.vocab_json());
    EXPECT_EQ(again.merges_text(), read.merges_text());
    const std::string text = text_of(dice);
    EXPECT_EQ(again.encode(text), read.encode(text));
    EXPECT_EQ(read.decode(read.encode(text)), text);
    return true;
  });
}

TEST(FuzzBytePairs, TextsComeBackOrAreRefused) {
  const BytePairVocab vocab = BytePairVocab::train("the the ab ab 12 12 's 's é € é €", {.size = 290});
  fuzz::fuzz_loop([&](Dice& dice, std::string& document) {
    document = text_of(dice);
    if (dice.one_in(2)) fuzz::mutate(document, dice, kWords);
    const std::string valid = valid_utf8(document);
    EXPECT_EQ(vocab.decode(vocab.encode(valid, SpecialText::token)), valid);
    EXPECT_EQ(vocab.decode(vocab.encode(document)), document);
    EXPECT_EQ(valid, document) << "UTF-8 stays as it is";
    return true;
  });
}

}  // namespace
}  // namespace gpunn
