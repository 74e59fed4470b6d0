// config.json as it is published, and configs that say what these models are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/models/gpt2.h"
#include "gpunn/models/llama.h"
#include "tests/io/io_testing.h"
#include "tests/support/data_error.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using testing::data_error;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

/// Of the 124 M model.
const std::string kGpt2 = R"({
  "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
  "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
  "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
  "n_inner": null, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.25, "summary_type": "cls_index",
  "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257
})";
const std::string kLlama = R"({
  "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
  "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632,
  "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32,
  "num_hidden_layers": 22, "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
  "rope_scaling": null, "rope_theta": 50000, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
  "use_cache": true, "vocab_size": 32000
})";

/// The text with `from` replaced, which must be there.
std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::out_of_range(from);
  return text.replace(at, from.size(), to);
}

template <class Read>
auto read(const std::string& text, Read reader) {
  const TemporaryFolder folder;
  testing::put_file(folder.file("config.json"), text);
  return reader(folder.file("config.json"));
}

template <class Read>
void expect_refused(const std::string& text, Read reader, const std::string& part) {
  EXPECT_THAT(data_error([&] { read(text, reader); }), AllOf(HasSubstr("config.json"), HasSubstr(part)));
}

TEST(PublishedConfig, Gpt2) {
  const Gpt2Options o = read(kGpt2, read_gpt2_config);
  EXPECT_EQ(o.vocabulary, 50257);
  EXPECT_EQ(o.context, 1024);
  EXPECT_EQ(o.features, 768);
  EXPECT_EQ(o.layers, 12);
  EXPECT_EQ(o.heads, 12);
  EXPECT_EQ(o.dropout, 0.25);
  EXPECT_EQ(o.eps, 1e-5);
  const Gpt2Options least = read(
      R"({"n_embd": 6, "n_head": 3, "n_layer": 2, "n_positions": 5, "vocab_size": 7})", read_gpt2_config);
  EXPECT_EQ(least.features, 6);
  EXPECT_EQ(least.dropout, Gpt2Options().dropout);
  EXPECT_EQ(least.eps, Gpt2Options().eps);
  EXPECT_EQ(Gpt2(least).parameter_count(), 7 * 6 + 5 * 6 + 2 * (12 * 36 + 13 * 6) + 12);
  EXPECT_EQ(read(with(kGpt2, "\"n_inner\": null", "\"n_inner\": 3072"), read_gpt2_config).features, 768);
}

TEST(PublishedConfig, Gpt2Refuses) {
  const auto refused = [](const std::string& from, const std::string& to, const std::string& part) {
    expect_refused(with(kGpt2, from, to), read_gpt2_config, part);
  };
  refused("\"gpt2\"", "\"bert\"", "model_type is not gpt2");
  refused("gelu_new", "relu", "activation_function is not gelu_new");
  for (const char* key : {"n_embd", "n_head", "n_layer", "n_positions", "vocab_size"})
    refused("\"" + std::string(key) + "\"", "\"other\"", key);
  refused("\"n_head\": 12", "\"n_head\": 11", "n_head does not divide n_embd");
  refused("\"n_head\": 12", "\"n_head\": 0", "n_head is out of range");
  refused("\"n_layer\": 12", "\"n_layer\": -1", "n_layer is out of range");
  refused("\"vocab_size\": 50257", "\"vocab_size\": 99999999999", "vocab_size is out of range");
  refused("\"n_embd\": 768", "\"n_embd\": 76.8", "integer");
  refused("\"n_embd\": 768", "\"n_embd\": \"768\"", "integer");
  refused("\"n_inner\": null", "\"n_inner\": 768", "n_inner is not 4 n_embd");
  refused("\"n_ctx\": 1024", "\"scale_attn_by_inverse_layer_idx\": true",
          "scale_attn_by_inverse_layer_idx is on");
  refused("\"n_ctx\": 1024", "\"scale_attn_weights\": false", "scale_attn_weights is off");
  refused("\"n_ctx\": 1024", "\"tie_word_embeddings\": false", "tie_word_embeddings is off");
  refused("\"resid_pdrop\": 0.25", "\"resid_pdrop\": 1", "resid_pdrop is out of range");
  refused("1e-05", "-1e-05", "layer_norm_epsilon is out of range");
  expect_refused("[]", read_gpt2_config, "object");
  expect_refused(kGpt2.substr(0, 40), read_gpt2_config, "");
  EXPECT_THROW(read_gpt2_config(TemporaryFolder().file("none.json")), Error);
}

TEST(PublishedConfig, Llama) {
  const LlamaOptions o = read(kLlama, read_llama_config);
  EXPECT_EQ(o.vocabulary, 32000);
  EXPECT_EQ(o.context, 4096);
  EXPECT_EQ(o.features, 2048);
  EXPECT_EQ(o.layers, 22);
  EXPECT_EQ(o.heads, 32);
  EXPECT_EQ(o.kv_heads, 4);
  EXPECT_EQ(o.inner, 5632);
  EXPECT_EQ(o.window, 0);
  EXPECT_EQ(o.rotary_base, 50000);
  EXPECT_EQ(o.eps, 1e-6);
  EXPECT_FALSE(o.tied);
  EXPECT_TRUE(read(with(kLlama, "embeddings\": false", "embeddings\": true"), read_llama_config).tied);
  EXPECT_EQ(read(with(kLlama, "num_key_value_heads\": 4", "num_key_value_heads\": null"), read_llama_config)
                .kv_heads,
            0);
  const std::string mistral = with(with(kLlama, "\"llama\"", "\"mistral\""), "\"rope_scaling\": null",
                                   R"("sliding_window": 4096, "head_dim": 64)");
  EXPECT_EQ(read(mistral, read_llama_config).window, 4096);
}

TEST(PublishedConfig, LlamaRefuses) {
  const auto refused = [](const std::string& from, const std::string& to, const std::string& part) {
    expect_refused(with(kLlama, from, to), read_llama_config, part);
  };
  refused("\"llama\"", "\"gpt2\"", "model_type is neither llama nor mistral");
  refused("\"silu\"", "\"gelu\"", "hidden_act is not silu");
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size"})
    refused("\"" + std::string(key) + "\"", "\"other\"", key);
  refused("heads\": 32", "heads\": 30", "num_attention_heads does not divide hidden_size");
  refused("heads\": 32", "heads\": 2048", "into even parts");
  refused("num_key_value_heads\": 4", "num_key_value_heads\": 5", "num_key_value_heads does not divide");
  refused("num_key_value_heads\": 4", "num_key_value_heads\": 0", "num_key_value_heads is out of range");
  refused("\"rope_scaling\": null", R"("rope_scaling": {"type": "linear", "factor": 2})", "scaled positions");
  refused("\"rope_scaling\": null", R"("rope_parameters": {"rope_theta": 1})", "rope_parameters");
  refused("\"pretraining_tp\": 1", "\"attention_bias\": true", "attention_bias is on");
  refused("\"pretraining_tp\": 1", "\"mlp_bias\": true", "mlp_bias is on");
  refused("\"pretraining_tp\": 1", "\"head_dim\": 128", "head_dim is not hidden_size / num_attention_heads");
  refused("50000", "0.5", "rope_theta is out of range");
  refused("embeddings\": false", "embeddings\": 1", "true or false");
}

/// A config and a model that was made otherwise.
TEST(PublishedConfig, ModelsRefuseWhatDoesNotFit) {
  using testing::message_of;
  EXPECT_THAT(message_of([] { Gpt2({.features = 8, .heads = 3}); }),
              HasSubstr("heads that divide the features, got 3"));
  EXPECT_THAT(message_of([] { Gpt2({.heads = 0}); }), HasSubstr("got 0 and 768"));
  EXPECT_THAT(message_of([] { Gpt2({.vocabulary = 0}); }), HasSubstr("vocabulary"));
  EXPECT_THAT(message_of([] { Gpt2({.context = 0}); }), HasSubstr("context"));
  EXPECT_THAT(message_of([] { Gpt2({.layers = 0}); }), HasSubstr("layers"));
  EXPECT_THAT(message_of([] { Gpt2({.dropout = 1}); }), HasSubstr("dropout in [0, 1), got 1"));
  EXPECT_THAT(message_of([] { Llama({.features = 12, .heads = 5}); }), HasSubstr("got 5 and 12"));
  EXPECT_THAT(message_of([] { Llama({.features = 12, .heads = 4}); }),
              HasSubstr("even number of features a head, got 3"));
  EXPECT_THAT(message_of([] { Llama({.features = 16, .heads = 4, .kv_heads = 3}); }),
              HasSubstr("got 3 and 4"));
  EXPECT_THAT(message_of([] { Llama({.features = 16, .heads = 4, .kv_heads = -1}); }),
              HasSubstr("got -1 and 4"));
  EXPECT_THAT(message_of([] { Llama({.features = 16, .heads = 4, .inner = 0}); }),
              HasSubstr("inner features"));
  EXPECT_THAT(message_of([] { Llama({.features = 16, .heads = 4, .window = -1}); }),
              HasSubstr("window of at least 0"));
}

}  // namespace
}  // namespace gpunn
