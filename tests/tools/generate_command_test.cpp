// gpunn generate from outside: texts of a trained run, input, output and errors.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/generation.h"
#include "tests/support/gpt2_folder.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class GenerateCommandTest : public ::testing::Test {
 protected:
  GenerateCommandTest() {
    const Outcome o = run({"train", "char-rnn", "--device", "cpu", "--steps", "30", "--samples", "1",
                           "--quiet", "--run-dir", folder_ / "run"});
    EXPECT_EQ(o.code, 0) << o.err;
  }
  Words words(Words more) const {
    more.insert(more.begin(), {"generate", folder_ / "run", "--device", "cpu"});
    return more;
  }
  std::string text(const Words& more) const {
    const Outcome o = run(words(more));
    EXPECT_EQ(o.code, 0) << o.err;
    return o.out;
  }
  JsonValue json(Words more) const {
    more.push_back("--json");
    return JsonValue::parse(text(more), "stdout");
  }
  void expect_failure(int code, const std::string& part, const Words& more) const {
    const Outcome o = run(words(more));
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_TRUE(contains(o.err, part)) << o.err;
    EXPECT_EQ(o.out, "");
  }

  Folder folder_;
};

TEST_F(GenerateCommandTest, ContinuesAPrompt) {
  const std::string hello = text({"--prompt", "hello", "--tokens", "20", "--seed", "3"});
  EXPECT_EQ(hello.rfind("hello", 0), 0U);
  EXPECT_EQ(hello.size(), 5U + 20 + 1);
  EXPECT_EQ(text({"--prompt", "hello", "--tokens", "20", "--seed", "3", "--no-stream"}), hello);
  EXPECT_NE(text({"--prompt", "hello", "--tokens", "20", "--seed", "4"}), hello);
  write_file_atomic(folder_ / "prompt.txt", "hello\r\n");
  EXPECT_EQ(text({"--prompt-file", folder_ / "prompt.txt", "--tokens", "20", "--seed", "3"}), hello);

  const JsonValue result = json({"--prompt", "hello", "--tokens", "20", "--seed", "3"});
  const JsonValue& only = result.at("texts").as_array().at(0);
  EXPECT_EQ("hello" + only.at("text").as_string() + "\n", hello);
  EXPECT_EQ(only.at("tokens").as_array().size(), 20U);
  EXPECT_EQ(only.at("stop").as_string(), "length");
  EXPECT_TRUE(only.at("score").is_null());
  EXPECT_EQ(result.at("prompt").as_string(), "hello");
  EXPECT_EQ(result.at("device").as_string(), "cpu");
  EXPECT_EQ(result.at("description").as_string(), "recurrent net of 15 characters, 1 layer of 32");

  const Outcome quiet = run(words({"--prompt", "h", "--tokens", "3", "--quiet"}));
  EXPECT_EQ(quiet.err, "");
}

TEST_F(GenerateCommandTest, OptionsReachTheModel) {
  const std::string greedy = text({"--prompt", "h", "--tokens", "12", "--greedy"});
  EXPECT_EQ(text({"--prompt", "h", "--tokens", "12", "--top-k", "1"}), greedy);
  EXPECT_EQ(text({"--prompt", "h", "--tokens", "12", "--temperature", "1e-6"}), greedy);
  EXPECT_EQ(text({"--prompt", "h", "--tokens", "12", "--top-p", "1e-12"}), greedy);
  EXPECT_EQ(text({"--prompt", "h", "--tokens", "12", "--min-p", "1"}), greedy);
  // Off by more than logits differ: no character twice.
  const std::string all = json({"--prompt", "h", "--tokens", "12", "--presence-penalty", "100", "--greedy"})
                              .at("texts")
                              .as_array()
                              .at(0)
                              .at("text")
                              .as_string();
  for (const char c : all) EXPECT_EQ(all.find(c), all.rfind(c)) << all;
  const JsonValue beams = json({"--prompt", "h", "--tokens", "5", "--beams", "3", "--best", "2"});
  const JsonValue::Array& texts = beams.at("texts").as_array();
  ASSERT_EQ(texts.size(), 2U);
  EXPECT_GE(texts[0].at("score").as_number(), texts[1].at("score").as_number());
  // The first of the stop strings, on a text that is known.
  const std::string stop = greedy.substr(5, 2);
  const JsonValue cut = json({"--prompt", "h", "--tokens", "12", "--greedy", "--stop", "##", "--stop", stop});
  EXPECT_EQ(cut.at("texts").as_array().at(0).at("stop").as_string(), "text");
  EXPECT_EQ("h" + cut.at("texts").as_array().at(0).at("text").as_string(),
            greedy.substr(0, greedy.find(stop, 1)));
}

TEST_F(GenerateCommandTest, BadInputIsNamed) {
  expect_failure(3, "prompt: character 'Z' (U+005A) at position 1", {"--prompt", "hZ"});
  expect_failure(3, folder_ / "none.txt", {"--prompt-file", folder_ / "none.txt"});
  expect_failure(2, "needs a prompt", {"--prompt", ""});
  expect_failure(2, "--tokens: expected a whole number, got '1.5'", {"--tokens", "1.5"});
  expect_failure(2, "--temperature: expected a number", {"--temperature", "0"});
  expect_failure(2, "--top-p: expected a number", {"--top-p", "2"});
  expect_failure(2, "--best: expected at most", {"--best", "2"});
  expect_failure(2, "got both", {"--stream", "--no-stream"});
  expect_failure(2, "got both", {"--prompt", "h", "--prompt-file", "x"});
  expect_failure(2, "did you mean '--temperature'?", {"--temprature", "1"});
  expect_failure(4, "cuda:99", {"--prompt", "h", "--device", "cuda:99"});
  EXPECT_EQ(run({"generate"}).code, 2);
  EXPECT_EQ(run({"generate", folder_ / "none", "--prompt", "h"}).code, 3);
  const Outcome help = run({"generate", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_TRUE(contains(help.out, "Examples:")) << help.out;
}

TEST_F(GenerateCommandTest, DamagedModelsAreNamed) {
  const std::string weights = folder_ / "run/weights.safetensors", vocab = folder_ / "run/vocabulary.txt";
  const Bytes good_weights = read_file(weights), good_vocab = read_file(vocab);
  const Words prompt{"--prompt", "h"};
  write_file_atomic(vocab, "characters 2\nh");
  expect_failure(3, vocab + ": expected 2 characters, got 1", prompt);
  write_file_atomic(vocab, "characters 2\nhe");
  expect_failure(3, weights + ": expected rnn.weight_ih_l0 [32, 2], got [32, 15]", prompt);
  write_file_atomic(vocab, good_vocab);
  write_file_atomic(weights, Bytes(good_weights.begin(), good_weights.end() - 1));
  expect_failure(3, weights, prompt);
  // Shapes that do not fit each other, and a tensor too few.
  const auto with = [&](const std::string& name, const Shape& shape) {
    write_file_atomic(weights, good_weights);
    std::vector<NamedTensor> tensors = load_safetensors(weights);
    for (auto& [key, tensor] : tensors)
      if (key == name) tensor = zeros(shape);
    write_safetensors(weights, tensors);
  };
  with("rnn.weight_hh_l0", {32, 31});
  expect_failure(3, weights + ": expected rnn.weight_hh_l0 [gates * hidden, hidden]", prompt);
  with("rnn.weight_hh_l0", {64, 32});
  expect_failure(3, weights + ": expected the recurrent weights of 1, 3 or 4 gates, got 2", prompt);
  with("head.weight", {15, 31});
  expect_failure(3, weights + ": expected head.weight [15, 32], got [15, 31]", prompt);
  with("head.bias", {14});
  expect_failure(3, weights + ": ", prompt);
  write_safetensors(weights, std::vector<NamedTensor>{{"head.weight", zeros({15, 32})}});
  expect_failure(3, weights, prompt);
  std::filesystem::remove(vocab);
  expect_failure(3, "; or weights.safetensors and vocabulary.txt, as a run of char-rnn", prompt);
}

// Runs on a folder: what was written, and the exit code.
Outcome generate_from(const std::string& folder, Words more) {
  more.insert(more.begin(), {"generate", folder, "--device", "cpu"});
  return run(more);
}

TEST(GenerateGptTest, ARunOfShakespeareGptIsContinued) {
  const Folder folder;
  std::filesystem::create_directories(folder / "text");
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += "All the world's a stage,\nand all the men and women merely players.\n";
  write_file_atomic(folder / "text/tinyshakespeare.txt", text);
  const std::string run_dir = folder / "run";
  const Outcome trained = run({"train",        "shakespeare-gpt",
                               "--device",     "cpu",
                               "--steps",      "2",
                               "--layers",     "1",
                               "--heads",      "2",
                               "--features",   "8",
                               "--length",     "8",
                               "--batch-size", "4",
                               "--sample",     "4",
                               "--quiet",      "--data",
                               folder.path(),  "--run-dir",
                               run_dir});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Outcome three = generate_from(run_dir, {"--prompt", "All", "--tokens", "5", "--seed", "1"});
  EXPECT_EQ(three.code, 0) << three.err;
  EXPECT_EQ(three.out.rfind("All", 0), 0U);
  EXPECT_EQ(three.out.size(), 3U + 5 + 1);
  EXPECT_TRUE(contains(three.err, "GPT of 21 characters, 1 layer of 8")) << three.err;
  // Eight characters are all that the net sees.
  const Outcome ended = generate_from(run_dir, {"--prompt", "All", "--tokens", "20"});
  EXPECT_TRUE(contains(ended.err, "ended by context")) << ended.err;
  EXPECT_EQ(generate_from(run_dir, {"--prompt", "All", "--tokens", "20", "--slide"}).out.size(), 3U + 20 + 1);
  const Outcome beyond = generate_from(run_dir, {"--prompt", "All the world"});
  EXPECT_NE(beyond.code, 0);
  EXPECT_TRUE(contains(beyond.err, "at most 8 tokens")) << beyond.err;
  EXPECT_EQ(generate_from(run_dir, {"--prompt", "", "--tokens", "3"}).code, 0) << "begins with a line";
}

TEST(GenerateGptTest, PublishedFilesOfGpt2AreContinued) {
  const Folder folder;
  const std::string model = folder / "gpt2";
  write_gpt2_folder(model);
  const BytePairVocab vocab = tiny_vocab();
  const Outcome o = generate_from(model, {"--prompt", "the other", "--tokens", "4", "--greedy", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_EQ(json.at("description").as_string(), "GPT-2 of 272 tokens, 2 layers of 8");
  std::vector<std::int64_t> tokens;
  for (const JsonValue& id : json.at("texts").as_array().at(0).at("tokens").as_array())
    tokens.push_back(id.as_int());
  Gpt2 same = tiny_gpt2();
  EXPECT_EQ(tokens, generate(same, vocab.encode("the other"), {.max_new_tokens = 4}).tokens);
  EXPECT_EQ(generate_from(model, {"--prompt", "", "--tokens", "2"}).code, 0)
      << "an end of text is a beginning";

  const Outcome beyond = generate_from(model, {"--prompt", "z z z z z z z"});
  EXPECT_NE(beyond.code, 0);
  EXPECT_TRUE(contains(beyond.err, "at most 12 tokens")) << beyond.err;
  std::filesystem::remove(folder / "gpt2/merges.txt");
  const Outcome lacks = generate_from(model, {"--prompt", "the"});
  EXPECT_EQ(lacks.code, 3);
  EXPECT_TRUE(contains(lacks.err, "lacks merges.txt")) << lacks.err;

  // Without that token there is nothing to begin with.
  write_gpt2_folder(folder / "plain", kTinyGpt2, tiny_vocab({}));
  const Outcome empty = generate_from(folder / "plain", {"--prompt", ""});
  EXPECT_EQ(empty.code, 2);
  EXPECT_TRUE(contains(empty.err, "needs a prompt")) << empty.err;
}

}  // namespace
}  // namespace gpunn::testing
