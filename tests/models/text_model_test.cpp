// Models opened from folders: GPTs of characters as a run writes them, GPT-2 as it is published; and what is
// wrong with folders that are not sound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/models/gpt2_folder.h"
#include "gpunn/models/text_model.h"
#include "gpunn/training/character_vocab.h"
#include "tests/support/devices.h"
#include "tests/support/gpt2_folder.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kTinyGpt2;
using ::testing::ThrowsMessage;
using Tokens = std::vector<std::int64_t>;

class TextModelTest : public testing::DeviceTest {
 protected:
  TextModelTest() {
    std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~TextModelTest() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name) const { return folder_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const { write_file_atomic(file(name), text); }
  std::unique_ptr<TextModel> open() const { return open_text_model(folder_, device()); }
  /// That opening says `parts`, the file or folder among them.
  void refuses(const std::string& path, const std::string& part) const {
    EXPECT_THAT([&] { open(); }, ThrowsMessage<DataError>(AllOf(HasSubstr(path), HasSubstr(part))));
  }
  /// Rewrites a tensor of a safetensors file, or leaves it out.
  void change(const std::string& name, const std::string& key, const Tensor& value) const {
    std::vector<NamedTensor> tensors;
    for (const auto& [k, tensor] : load_safetensors(file(name))) {
      if (k != key) tensors.emplace_back(k, tensor);
      if (k == key && value.defined()) tensors.emplace_back(key, value);
    }
    write_safetensors(file(name), tensors);
  }
  std::string folder_;
};

GenerationOptions greedy(std::int64_t tokens) { return {.max_new_tokens = tokens}; }

std::vector<Generated> continued(TextModel& model, const Tokens& prompt, const GenerationOptions& options) {
  const std::vector<Tokens> prompts{prompt};
  return model.generate(prompts, options);
}

class CharGptModelTest : public TextModelTest {
 protected:
  CharGptModelTest() {
    Gpt2 model = testing::tiny_gpt2(kSizes);
    write_safetensors(file("weights.safetensors"), model.state_dict());
    write("vocabulary.txt", vocab_.state());
    write("config.json", R"({"recipe": "shakespeare-gpt", "settings": {"heads": 2, "dropout": 0.5}})");
  }
  CharacterVocab vocab_ = CharacterVocab::from_text("hello w\xC3\xB6rld\n");
  Gpt2Options kSizes{.vocabulary = 10, .context = 6, .features = 8, .layers = 2, .heads = 2, .dropout = 0};
};
GPUNN_ON_EVERY_DEVICE(CharGptModelTest);

TEST_P(CharGptModelTest, ContinuesAsTheModelThatWasStored) {
  const std::unique_ptr<TextModel> model = open();
  EXPECT_EQ(model->describe(), "GPT of 10 characters, 2 layers of 8");
  EXPECT_EQ(model->vocabulary(), 10);
  EXPECT_EQ(model->context(), 6);
  EXPECT_EQ(model->start_token(), vocab_.find(U'\n'));
  EXPECT_TRUE(model->stop_tokens().empty());
  const Tokens prompt = model->encode("w\xC3\xB6");
  EXPECT_EQ(prompt, vocab_.encode("w\xC3\xB6"));
  EXPECT_EQ(model->piece(prompt[1]), "\xC3\xB6");
  EXPECT_THAT([&] { model->encode("Z"); }, ThrowsMessage<DataError>(HasSubstr("prompt: character 'Z'")));

  const DeviceScope scope(device());
  Gpt2 stored = testing::tiny_gpt2(kSizes);
  const std::vector<Generated> texts = continued(*model, prompt, greedy(4));
  EXPECT_EQ(texts.at(0).tokens, generate(stored, prompt, greedy(4)).tokens);
  // Six characters are all it reads.
  EXPECT_EQ(continued(*model, prompt, greedy(9)).at(0).stop, StopReason::context);
  EXPECT_THAT([&] { continued(*model, Tokens(7, 1), greedy(1)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("at most 6 tokens")));
  GenerationOptions sliding = greedy(9);
  sliding.beyond_context = BeyondContext::slide;
  EXPECT_EQ(continued(*model, Tokens(7, 1), sliding).at(0).tokens.size(), 9U);
  EXPECT_THAT([&] { continued(*model, {}, greedy(1)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("at least one token")));
}

TEST_P(CharGptModelTest, FilesThatDoNotFitAreNamed) {
  if (!device().is_cpu()) GTEST_SKIP() << "files are looked at before the device";
  const Bytes weights = read_file(file("weights.safetensors"));
  const std::string config = read_text_file(file("config.json"));
  write("vocabulary.txt", CharacterVocab::from_text("hello").state());
  refuses(file("weights.safetensors"), "expected wte.weight [4, 8], got [10, 8]");
  write("vocabulary.txt", vocab_.state());

  write("config.json", R"({"settings": {"heads": 3}})");
  refuses(file("config.json"), "heads do not divide the 8 features");
  write("config.json", R"({"settings": {"heads": 0}})");
  refuses(file("config.json"), "heads do not divide");
  write("config.json", R"({"settings": {}})");
  refuses(file("config.json"), "heads");
  std::filesystem::remove(file("config.json"));
  refuses(file("config.json"), "");
  write("config.json", config);

  const auto damaged = [&](const char* key, const Tensor& value, const std::string& message) {
    change("weights.safetensors", key, value);
    refuses(file("weights.safetensors"), message);
    write_file_atomic(file("weights.safetensors"), weights);
  };
  damaged("wpe.weight", zeros({6}), "expected wpe.weight [positions, features]");
  damaged("wpe.weight", zeros({6, 10}), "expected wte.weight [10, 10], got [10, 8]");
  damaged("h.0.attn.c_attn.weight", {}, "expected h.0.attn.c_attn.weight");
  damaged("h.1.attn.c_attn.weight", zeros({8, 24}), "expected h.1.attn.c_attn.weight [24, 8]");
  damaged("h.1.mlp.c_fc.weight", zeros({31, 8}), "expected h.1.mlp.c_fc.weight [32, 8]");
  damaged("ln_f.bias", {}, "ln_f.bias");
  damaged("h.1.attn.c_attn.weight", {}, "h.1.");
  write_file_atomic(file("weights.safetensors"), std::span(weights).first(weights.size() - 1));
  refuses(file("weights.safetensors"), "");
  write_file_atomic(file("weights.safetensors"), weights);
  EXPECT_NO_THROW(open());
}

class Gpt2ModelTest : public TextModelTest {
 protected:
  Gpt2ModelTest() { testing::write_gpt2_folder(folder_); }
  BytePairVocab vocab_ = testing::tiny_vocab();
};
GPUNN_ON_EVERY_DEVICE(Gpt2ModelTest);

TEST_P(Gpt2ModelTest, ContinuesAsTheModelThatWasStored) {
  const std::unique_ptr<TextModel> model = open();
  EXPECT_EQ(model->describe(), "GPT-2 of 272 tokens, 2 layers of 8");
  EXPECT_EQ(model->vocabulary(), 272);
  EXPECT_EQ(model->context(), 12);
  const std::int64_t end = vocab_.special_token("<|endoftext|>").value();
  EXPECT_EQ(model->start_token(), end);
  EXPECT_THAT(model->stop_tokens(), ElementsAre(end));
  const Tokens prompt = model->encode("the other");
  EXPECT_EQ(prompt, vocab_.encode("the other"));
  EXPECT_LT(prompt.size(), 9U) << "no merges";
  EXPECT_EQ(model->piece(prompt[0]), vocab_.piece(prompt[0]));
  EXPECT_EQ(model->piece(end), "");
  EXPECT_EQ(model->piece(vocab_.size()), "") << "a row that fills the table up";
  EXPECT_GT(model->encode("<|endoftext|>").size(), 1U) << "a user's text ends no document";
  EXPECT_THAT([&] { model->encode("\xFF"); }, ThrowsMessage<DataError>(HasSubstr("prompt")));

  const DeviceScope scope(device());
  Gpt2 stored = testing::tiny_gpt2();
  EXPECT_EQ(continued(*model, prompt, greedy(5)).at(0).tokens, generate(stored, prompt, greedy(5)).tokens);
  EXPECT_THAT([&] { continued(*model, Tokens(13, 1), greedy(1)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("at most 12 tokens")));
  // An empty prompt is the beginning of a text.
  GenerationOptions begin = greedy(3);
  begin.start_token = model->start_token();
  EXPECT_EQ(continued(*model, {}, begin).at(0).tokens, generate(stored, Tokens{end}, greedy(3)).tokens);
  EXPECT_THROW(continued(*model, {}, greedy(1)), InvalidArgument);
}

// As many of the published files are: a prefix, the mask's buffers, the output layer once more.
TEST_P(Gpt2ModelTest, OtherSpellingsOfTheKeysAreTheSameModel) {
  const Tokens prompt = open()->encode("father");
  const Tokens plain = continued(*open(), prompt, greedy(5)).at(0).tokens;
  std::vector<NamedTensor> tensors;
  for (const auto& [key, tensor] : load_safetensors(file("model.safetensors"))) {
    tensors.emplace_back("transformer." + key, tensor);
    if (key == "wte.weight") tensors.emplace_back("lm_head.weight", tensor);
  }
  tensors.emplace_back("transformer.h.0.attn.bias", zeros({1, 1, 12, 12}));
  write_safetensors(file("model.safetensors"), tensors);
  EXPECT_EQ(continued(*open(), prompt, greedy(5)).at(0).tokens, plain);
  change("model.safetensors", "lm_head.weight", zeros({272, 8}));
  refuses(file("model.safetensors"), "lm_head.weight");
}

TEST_P(Gpt2ModelTest, MissingFilesAreNamed) {
  if (!device().is_cpu()) GTEST_SKIP() << "files are looked at before the device";
  for (const char* name : {"config.json", "model.safetensors", "vocab.json", "merges.txt"}) {
    const Bytes bytes = read_file(file(name));
    std::filesystem::remove(file(name));
    refuses(folder_, std::string("lacks ") + name);
    write_file_atomic(file(name), bytes);
  }
  for (const char* name : {"model.safetensors", "vocab.json", "merges.txt"})
    std::filesystem::remove(file(name));
  refuses(folder_, "holds no text model");
  refuses(folder_, "as GPT-2 is published");
  refuses(folder_, "as a run of shakespeare-gpt writes them");
}

TEST_P(Gpt2ModelTest, VocabularyAndMergesThatDoNotFitAreNamed) {
  if (!device().is_cpu()) GTEST_SKIP() << "files are looked at before the device";
  const std::string vocab = vocab_.vocab_json(), merges = vocab_.merges_text();
  // Merges of another vocabulary, one too few, one too many.
  write("merges.txt", "#version: 0.2\nt h\nz z\n");
  refuses(file("merges.txt"), "");
  write("merges.txt", merges.substr(0, merges.rfind('\n', merges.size() - 2) + 1));
  refuses(folder_, "");
  write("merges.txt", merges + "q u\n");
  refuses(file("merges.txt"), "");
  write("merges.txt", merges);
  // More tokens than the model has rows.
  Gpt2Options small = kTinyGpt2;
  small.vocabulary = vocab_.size() - 1;
  write("config.json", testing::gpt2_config(small));
  refuses(file("vocab.json"), "expected at most the " + std::to_string(small.vocabulary) + " tokens");
  write("config.json", testing::gpt2_config(kTinyGpt2));
  write("vocab.json", "{\"a\": 0}");
  refuses(file("vocab.json"), "");
  write("vocab.json", vocab);
  EXPECT_NO_THROW(open());
}

TEST_P(Gpt2ModelTest, SizesThatDoNotFitAreNamed) {
  if (!device().is_cpu()) GTEST_SKIP() << "files are looked at before the device";
  const auto other = [&](auto set, const std::string& name, const std::string& message) {
    Gpt2Options o = kTinyGpt2;
    set(o);
    write("config.json", testing::gpt2_config(o));
    refuses(file(name), message);
  };
  // Nothing of these sizes is allocated: it would be terabytes.
  constexpr std::int64_t kHuge = 1 << 24;
  other([](Gpt2Options& o) { o.vocabulary = kHuge; }, "model.safetensors",
        "expected wte.weight [16777216, 8]");
  other([](Gpt2Options& o) { o.context = kHuge; }, "model.safetensors", "expected wpe.weight [16777216, 8]");
  other([](Gpt2Options& o) { o.features = kHuge; }, "model.safetensors", "wte.weight [272, 16777216]");
  other([](Gpt2Options& o) { o.layers = kHuge; }, "model.safetensors", "h.2.attn.c_attn.weight");
  other([](Gpt2Options& o) { o.layers = 1; }, "model.safetensors", "h.1.");
  other([](Gpt2Options& o) { o.heads = 3; }, "config.json", "n_head does not divide n_embd");
  write("config.json", testing::gpt2_config(kTinyGpt2));

  const Bytes weights = read_file(file("model.safetensors"));
  // Not turned round, as a file of ours would be.
  change("model.safetensors", "h.1.attn.c_attn.weight", zeros({24, 8}));
  refuses(file("model.safetensors"), "expected h.1.attn.c_attn.weight [8, 24], got [24, 8]");
  write_file_atomic(file("model.safetensors"), std::span(weights).first(weights.size() / 2));
  refuses(file("model.safetensors"), "");
}

}  // namespace
}  // namespace gpunn
