// Published files of GPT-2: config.json and safetensors.
#include <string>
#include <string_view>

#include "gpunn/core/autograd.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/detail/published.h"
#include "gpunn/models/gpt2.h"

namespace gpunn {
namespace {

constexpr std::string_view kPrefix = "transformer.";

/// Stored as [in, out].
bool is_turned(std::string_view key) {
  return key.ends_with("c_attn.weight") || key.ends_with("c_proj.weight") || key.ends_with("c_fc.weight");
}

}  // namespace

Gpt2Options read_gpt2_config(const std::string& path) {
  const JsonValue config = JsonValue::read(path);
  detail::expect_config(config, "model_type", "gpt2");
  detail::expect_config(config, "activation_function", "gelu_new");
  Gpt2Options o;
  o.vocabulary = detail::config_size(config, "vocab_size");
  o.context = detail::config_size(config, "n_positions");
  o.features = detail::config_size(config, "n_embd");
  o.layers = detail::config_size(config, "n_layer");
  o.heads = detail::config_size(config, "n_head");
  if (o.features % o.heads != 0) config.at("n_head").fail("n_head does not divide n_embd");
  if (detail::config_size(config, "n_inner", 4 * o.features) != 4 * o.features)
    config.at("n_inner").fail("n_inner is not 4 n_embd");
  detail::expect_switch(config, "scale_attn_weights", true);
  detail::expect_switch(config, "scale_attn_by_inverse_layer_idx", false);
  detail::expect_switch(config, "tie_word_embeddings", true);
  o.dropout = detail::config_number(config, "resid_pdrop", o.dropout, 0, 1);
  o.eps = detail::config_number(config, "layer_norm_epsilon", o.eps, 0, 1);
  return o;
}

void load_gpt2_weights(const std::string& path, Gpt2& model) {
  detail::load_published(
      path, model,
      [](std::string_view key) {
        if (key.starts_with(kPrefix)) key.remove_prefix(kPrefix.size());
        const bool mask = key.ends_with(".attn.bias") || key.ends_with(".attn.masked_bias");
        return detail::PublishedKey{mask ? "" : std::string(key), is_turned(key)};
      },
      "wte.weight");
}

void save_gpt2_weights(const std::string& path, Gpt2& model) {
  const NoGrad no_grad;
  StateDict state = model.state_dict();
  for (NamedTensor& entry : state)
    if (is_turned(entry.first)) entry.second = entry.second.t().contiguous();
  write_safetensors(path, state);
}

}  // namespace gpunn
