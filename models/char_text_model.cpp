// Character models from run folders. What the net looks like is read off the shapes of its weights.
#include <string>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/char_rnn.h"
#include "gpunn/models/detail/text_models.h"
#include "gpunn/training/character_vocab.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/utf8.h"

namespace gpunn {
namespace {

using detail::expect_shape;
using Extents = std::vector<std::int64_t>;

constexpr const char* kWeightsFile = "/weights.safetensors";
// In names a word begins and ends with it.
constexpr char32_t kNamesMark = U'.';

std::string vocabulary_path(const std::string& folder) { return folder + "/" + kVocabularyFile; }

RnnMode mode_of(std::int64_t gates, const std::string& path) {
  if (gates == 4) return RnnMode::lstm;
  if (gates == 3) return RnnMode::gru;
  if (gates != 1)
    detail::throw_data(
        detail::concat(path, ": expected the recurrent weights of 1, 3 or 4 gates, got ", gates));
  return RnnMode::tanh;
}

CharRnnOptions options_of(const std::string& path, std::int64_t vocabulary) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const Extents& recurrent = file.info("rnn.weight_hh_l0").shape;
  if (recurrent.size() != 2 || recurrent[1] < 1 || recurrent[0] % recurrent[1] != 0)
    detail::throw_data(path + ": expected rnn.weight_hh_l0 [gates * hidden, hidden]");
  CharRnnOptions options{.vocabulary = vocabulary, .embedding = 0, .hidden = recurrent[1]};
  options.mode = mode_of(recurrent[0] / recurrent[1], path);
  if (file.contains("embedding.weight")) {
    const Extents& table = file.info("embedding.weight").shape;
    options.embedding = table.size() == 2 ? table[1] : 0;
    expect_shape(file, "embedding.weight", {vocabulary, options.embedding});
  }
  std::int64_t inputs = options.embedding > 0 ? options.embedding : vocabulary;
  options.num_layers = 0;
  for (std::string layer = "0"; file.contains("rnn.weight_ih_l" + layer);
       layer = std::to_string(options.num_layers)) {
    expect_shape(file, "rnn.weight_ih_l" + layer, {recurrent[0], inputs});
    expect_shape(file, "rnn.weight_hh_l" + layer, recurrent);
    inputs = options.hidden;
    ++options.num_layers;
  }
  expect_shape(file, "rnn.weight_ih_l0",
               {recurrent[0], options.embedding > 0 ? options.embedding : vocabulary});
  expect_shape(file, "head.weight", {vocabulary, options.hidden});
  return options;
}

class CharTextModel : public TextModel {
 public:
  CharTextModel(const std::string& folder, Device device)
      : vocab_(CharacterVocab::from_state(read_text_file(vocabulary_path(folder)), vocabulary_path(folder))) {
    const std::string weights = folder + kWeightsFile;
    const CharRnnOptions options = options_of(weights, vocab_.size());
    const DeviceScope scope(device);
    model_ = std::make_unique<CharRnn>(options);
    load_weights(weights, *model_);
    const std::string config = folder + "/config.json";
    if (!path_exists(config)) return;
    const JsonValue json = JsonValue::read(config);
    const JsonValue* recipe = json.find("recipe");
    if (recipe && recipe->as_string() == "names") mark_ = vocab_.find(kNamesMark);
  }

  std::string describe() const override {
    const CharRnnOptions& o = model_->options();
    const char* name = o.mode == RnnMode::lstm ? "LSTM" : o.mode == RnnMode::gru ? "GRU" : "recurrent net";
    return detail::concat(name, " of ", vocab_.size(), " characters, ", o.num_layers,
                          o.num_layers == 1 ? " layer of " : " layers of ", o.hidden);
  }
  std::int64_t vocabulary() const noexcept override { return vocab_.size(); }
  std::optional<std::int64_t> context() const noexcept override { return std::nullopt; }

  std::vector<std::int64_t> encode(std::string_view prompt) const override {
    std::vector<std::int64_t> ids = vocab_.encode(prompt, "prompt");
    if (mark_) ids.insert(ids.begin(), *mark_);
    return ids;
  }
  std::string piece(std::int64_t id) const override {
    std::string bytes;
    if (id != mark_) append_utf8(bytes, vocab_.character(id));
    return bytes;
  }
  std::optional<std::int64_t> start_token() const override { return mark_ ? mark_ : vocab_.find(U'\n'); }
  std::vector<std::int64_t> stop_tokens() const override {
    return mark_ ? std::vector<std::int64_t>{*mark_} : std::vector<std::int64_t>{};
  }
  std::vector<Generated> generate(std::span<const std::vector<std::int64_t>> prompts,
                                  const GenerationOptions& options) override {
    return gpunn::generate(*model_, prompts, options);
  }

 private:
  CharacterVocab vocab_;
  std::unique_ptr<CharRnn> model_;
  std::optional<std::int64_t> mark_;
};

bool fits(const std::string& folder) {
  return path_exists(folder + kWeightsFile) && path_exists(vocabulary_path(folder));
}

std::unique_ptr<TextModel> open(const std::string& folder, Device device) {
  return std::make_unique<CharTextModel>(folder, device);
}

}  // namespace

const TextModelKind detail::kCharTextModel{"characters",
                                           "weights.safetensors and vocabulary.txt, as a run of char-rnn, "
                                           "shakespeare-lstm, shakespeare-gru or names "
                                           "writes them",
                                           fits, open};

}  // namespace gpunn
