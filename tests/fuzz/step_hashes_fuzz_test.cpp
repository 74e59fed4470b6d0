#include "gpunn/io/json_writer.h"
#include "gpunn/training/step_hashes.h"
#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

const std::vector<std::string> kWords = {"{",
                                         "}",
                                         "\n",
                                         "\"",
                                         ":",
                                         ",",
                                         "\"step\":",
                                         "\"batch\":",
                                         "null",
                                         "-1",
                                         "1e999",
                                         "[[[[",
                                         "0123456789abcdef",
                                         "\xff",
                                         std::string(1, '\0')};

std::string hash_text(Dice& dice) {
  std::string out;
  for (int i = 0; i < 16; ++i) out += "0123456789abcdef"[dice.below(16)];
  return out;
}

/// A file that is mostly right: now and then a step, part or hash is not.
std::string document_of(Dice& dice) {
  JsonWriter json;
  json.begin_object().field("format", "gpunn step hashes").field("version", dice.one_in(40) ? 2 : 1);
  json.field("every", dice.one_in(40) ? fuzz::edge_number(dice) : 1).end_object();
  std::string out = json.take() + "\n";
  std::uint64_t step = 0;
  for (std::size_t lines = dice.below(5); lines > 0; --lines) {
    json.begin_object().field("step", dice.one_in(40) ? fuzz::edge_number(dice) : step);
    step += 1 + dice.below(3);
    if (dice.one_in(2)) json.field("loss_value", 0.5);
    for (const char* part : kHashedParts) {
      if (dice.one_in(3)) continue;
      json.key(dice.one_in(60) ? "part" : part).begin_object();
      for (std::size_t i = dice.below(4); i > 0; --i) json.field("t" + std::to_string(i), hash_text(dice));
      json.end_object();
    }
    out += json.end_object().take() + "\n";
  }
  return out;
}

TEST(StepHashesFuzz, Reading) {
  const std::string path = ::testing::TempDir() + "gpunn-fuzz-hashes.jsonl";
  fuzz::fuzz_loop([&](Dice& dice, std::string& document) {
    document = document_of(dice);
    if (dice.one_in(2)) fuzz::mutate(document, dice, kWords);
    write_file_atomic(path, document);
    StepHashReader reader(path);
    EXPECT_GE(reader.every(), 1);
    std::int64_t last = -1;
    while (const std::optional<StepHashes> step = reader.next()) {
      EXPECT_GT(step->step, last);
      last = step->step;
    }
    EXPECT_LE(reader.offset(), document.size());
    return true;
  });
  std::remove(path.c_str());
}

}  // namespace
}  // namespace gpunn
