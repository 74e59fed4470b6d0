// GPT-2 from published files, for generation.
#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/models/detail/text_models.h"
#include "gpunn/models/gpt2_folder.h"

namespace gpunn {
namespace {

constexpr const char* kEnd = "<|endoftext|>";  // before a text and behind it

class Gpt2TextModel : public TextModel {
 public:
  explicit Gpt2TextModel(Gpt2Folder files)
      : model_(std::move(files.model)), vocab_(std::move(files.vocab)), end_(vocab_.special_token(kEnd)) {}

  std::string describe() const override {
    const Gpt2Options& o = model_->options();
    return detail::concat("GPT-2 of ", o.vocabulary, " tokens, ", o.layers,
                          o.layers == 1 ? " layer of " : " layers of ", o.features);
  }
  std::int64_t vocabulary() const noexcept override { return model_->vocabulary(); }
  std::optional<std::int64_t> context() const noexcept override { return model_->context(); }

  std::vector<std::int64_t> encode(std::string_view prompt) const override {
    return vocab_.encode(prompt, SpecialText::plain, "prompt");
  }
  std::string piece(std::int64_t id) const override {
    // Rows that fill a table up to a round number stand for nothing.
    if (id >= vocab_.size() || vocab_.is_special(id)) return "";
    return std::string(vocab_.piece(id));
  }
  std::optional<std::int64_t> start_token() const override { return end_; }
  std::vector<std::int64_t> stop_tokens() const override {
    return end_ ? std::vector<std::int64_t>{*end_} : std::vector<std::int64_t>{};
  }
  std::vector<Generated> generate(std::span<const std::vector<std::int64_t>> prompts,
                                  const GenerationOptions& options) override {
    return gpunn::generate(*model_, prompts, options);
  }

 private:
  std::unique_ptr<Gpt2> model_;
  BytePairVocab vocab_;
  std::optional<std::int64_t> end_;
};

// Of no other kind; open_gpt2_folder() names those that are missing.
bool fits(const std::string& folder) {
  return path_exists(folder + "/model.safetensors") || path_exists(folder + "/vocab.json") ||
         path_exists(folder + "/merges.txt");
}

std::unique_ptr<TextModel> open(const std::string& folder, Device device) {
  return std::make_unique<Gpt2TextModel>(open_gpt2_folder(folder, device));
}

}  // namespace

const TextModelKind detail::kGpt2TextModel{
    "gpt2", "config.json, model.safetensors, vocab.json and merges.txt, as GPT-2 is published", fits, open};

}  // namespace gpunn
