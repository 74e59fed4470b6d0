#pragma once
// A tiny GPT-2 in the files in which the large one is published.
#include <cstdint>
#include <string>

#include "gpunn/io/file.h"
#include "gpunn/models/gpt2.h"
#include "gpunn/training/bpe.h"
#include "tests/support/hashed_values.h"

namespace gpunn::testing {

inline constexpr Gpt2Options kTinyGpt2{
    .vocabulary = 272, .context = 12, .features = 8, .layers = 2, .heads = 2, .dropout = 0.1};

/// 256 bytes, merges of a text, and the end of a text: at most as many as kTinyGpt2 has rows.
inline BytePairVocab tiny_vocab(const SpecialTokens& special_tokens = {"<|endoftext|>"}) {
  return BytePairVocab::train("the other mother and the brother gather there, the father bothers another",
                              {.size = 268, .special_tokens = special_tokens});
}

inline std::string gpt2_config(const Gpt2Options& o) {
  const auto field = [](const char* key, std::int64_t value) {
    return std::string(", \"") + key + "\": " + std::to_string(value);
  };
  return R"({"model_type": "gpt2", "activation_function": "gelu_new")" + field("vocab_size", o.vocabulary) +
         field("n_positions", o.context) + field("n_embd", o.features) + field("n_layer", o.layers) +
         field("n_head", o.heads) + "}";
}

/// The model of the folder, with hashed weights.
inline Gpt2 tiny_gpt2(const Gpt2Options& options = kTinyGpt2) {
  Gpt2 model(options);
  fill_state(model);
  return model;
}

inline void write_gpt2_folder(const std::string& folder, const Gpt2Options& options = kTinyGpt2,
                              const BytePairVocab& vocab = tiny_vocab()) {
  create_directories(folder);
  write_file_atomic(folder + "/config.json", gpt2_config(options));
  vocab.save(folder + "/vocab.json", folder + "/merges.txt");
  Gpt2 model = tiny_gpt2(options);
  save_gpt2_weights(folder + "/model.safetensors", model);
}

}  // namespace gpunn::testing
