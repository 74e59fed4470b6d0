// GPTs of characters from run folders. Sizes are read off the shapes of the weights, heads off the settings.
#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/detail/text_models.h"
#include "gpunn/models/gpt2.h"
#include "gpunn/training/character_vocab.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/utf8.h"

namespace gpunn {
namespace {

constexpr const char* kWeightsFile = "/weights.safetensors";
constexpr const char* kConfigFile = "/config.json";

std::string block_name(std::int64_t i) { return "h." + std::to_string(i); }

Gpt2Options options_of(const std::string& folder, std::int64_t vocabulary) {
  const SafetensorsFile file = SafetensorsFile::open(folder + kWeightsFile);
  const std::vector<std::int64_t> positions = file.info("wpe.weight").shape;
  if (positions.size() != 2 || positions[0] < 1 || positions[1] < 1)
    detail::throw_data(file.path() + ": expected wpe.weight [positions, features]");
  Gpt2Options o{.vocabulary = vocabulary, .context = positions[0], .features = positions[1], .layers = 0};
  detail::expect_shape(file, "wte.weight", {vocabulary, o.features});
  while (file.contains(block_name(o.layers) + ".attn.c_attn.weight")) {
    const std::string block = block_name(o.layers++);
    detail::expect_shape(file, block + ".attn.c_attn.weight", {3 * o.features, o.features});
    detail::expect_shape(file, block + ".mlp.c_fc.weight", {4 * o.features, o.features});
  }
  if (o.layers == 0) detail::throw_data(file.path() + ": expected h.0.attn.c_attn.weight");
  const JsonValue config = JsonValue::read(folder + kConfigFile);
  const JsonValue& heads = config.at("settings").at("heads");
  o.heads = heads.as_int();
  if (o.heads < 1 || o.features % o.heads != 0)
    heads.fail(detail::concat("heads do not divide the ", o.features, " features of the weights"));
  o.dropout = 0;
  return o;
}

class CharGptTextModel : public TextModel {
 public:
  CharGptTextModel(const std::string& folder, Device device)
      : vocab_(CharacterVocab::from_state(read_text_file(folder + "/" + kVocabularyFile),
                                          folder + "/" + kVocabularyFile)) {
    const Gpt2Options options = options_of(folder, vocab_.size());
    const DeviceScope scope(device);
    model_ = std::make_unique<Gpt2>(options);
    load_weights(folder + kWeightsFile, *model_);
  }

  std::string describe() const override {
    const Gpt2Options& o = model_->options();
    return detail::concat("GPT of ", vocab_.size(), " characters, ", o.layers,
                          o.layers == 1 ? " layer of " : " layers of ", o.features);
  }
  std::int64_t vocabulary() const noexcept override { return vocab_.size(); }
  std::optional<std::int64_t> context() const noexcept override { return model_->context(); }

  std::vector<std::int64_t> encode(std::string_view prompt) const override {
    return vocab_.encode(prompt, "prompt");
  }
  std::string piece(std::int64_t id) const override {
    std::string bytes;
    append_utf8(bytes, vocab_.character(id));
    return bytes;
  }
  std::optional<std::int64_t> start_token() const override { return vocab_.find(U'\n'); }
  std::vector<std::int64_t> stop_tokens() const override { return {}; }
  std::vector<Generated> generate(std::span<const std::vector<std::int64_t>> prompts,
                                  const GenerationOptions& options) override {
    return gpunn::generate(*model_, prompts, options);
  }

 private:
  CharacterVocab vocab_;
  std::unique_ptr<Gpt2> model_;
};

// Recurrent models store files of the same names; a damaged one is left to them, who say so.
bool fits(const std::string& folder) {
  if (!path_exists(folder + kWeightsFile) || !path_exists(folder + "/" + kVocabularyFile)) return false;
  try {
    return SafetensorsFile::open(folder + kWeightsFile).contains("wpe.weight");
  } catch (const DataError&) {
    return false;
  }
}

std::unique_ptr<TextModel> open(const std::string& folder, Device device) {
  return std::make_unique<CharGptTextModel>(folder, device);
}

}  // namespace

const TextModelKind detail::kCharGptTextModel{
    "character-gpt",
    "config.json, weights.safetensors and vocabulary.txt, as a run of shakespeare-gpt writes them", fits,
    open};

}  // namespace gpunn
