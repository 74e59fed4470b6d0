// Published files of Llama: config.json and safetensors.
#include <string>
#include <string_view>

#include "gpunn/models/detail/published.h"
#include "gpunn/models/llama.h"

namespace gpunn {

LlamaOptions read_llama_config(const std::string& path) {
  const JsonValue config = JsonValue::read(path);
  const JsonValue* type = config.find("model_type");
  if (type && type->as_string() != "llama" && type->as_string() != "mistral")
    type->fail("model_type is neither llama nor mistral");
  detail::expect_config(config, "hidden_act", "silu");
  const JsonValue* scaling = config.find("rope_scaling");
  if (scaling && !scaling->is_null()) scaling->fail("scaled positions are not supported");
  if (const JsonValue* positions = config.find("rope_parameters"))
    positions->fail("rope_parameters are not supported, only rope_theta");
  detail::expect_switch(config, "attention_bias", false);
  detail::expect_switch(config, "mlp_bias", false);
  LlamaOptions o;
  o.vocabulary = detail::config_size(config, "vocab_size");
  o.features = detail::config_size(config, "hidden_size");
  o.inner = detail::config_size(config, "intermediate_size");
  o.layers = detail::config_size(config, "num_hidden_layers");
  o.heads = detail::config_size(config, "num_attention_heads");
  o.kv_heads = detail::config_size(config, "num_key_value_heads", 0);
  o.context = detail::config_size(config, "max_position_embeddings", o.context);
  o.window = detail::config_size(config, "sliding_window", 0);
  o.eps = detail::config_number(config, "rms_norm_eps", o.eps, 0, 1);
  o.rotary_base = detail::config_number(config, "rope_theta", o.rotary_base, 1, 1e12);
  const JsonValue* tied = config.find("tie_word_embeddings");
  if (tied && !tied->is_null()) o.tied = tied->as_bool();
  if (o.features % o.heads != 0 || o.features / o.heads % 2 != 0)
    config.at("num_attention_heads").fail("num_attention_heads does not divide hidden_size into even parts");
  if (detail::config_size(config, "head_dim", o.features / o.heads) != o.features / o.heads)
    config.at("head_dim").fail("head_dim is not hidden_size / num_attention_heads");
  if (o.kv_heads > 0 && o.heads % o.kv_heads != 0)
    config.at("num_key_value_heads").fail("num_key_value_heads does not divide num_attention_heads");
  return o;
}

void load_llama_weights(const std::string& path, Llama& model) {
  detail::load_published(
      path, model,
      [](std::string_view key) {
        return detail::PublishedKey{key.ends_with("rotary_emb.inv_freq") ? "" : std::string(key)};
      },
      model.lm_head ? "" : "model.embed_tokens.weight");
}

}  // namespace gpunn
