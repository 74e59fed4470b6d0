// Weights under published keys: every form that such files have, what is refused, and what is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/layers/functional.h"
#include "tests/io/io_testing.h"
#include "tests/models/published_testing.h"
#include "tests/support/data_error.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using testing::data_error;
using testing::golden_path;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;

using Tensors = std::vector<NamedTensor>;

Tensors golden(const char* file) { return load_safetensors(golden_path(file)); }

const Tensor& value_of(const Tensors& tensors, const std::string& key) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.first == key; });
  if (found == tensors.end()) throw std::out_of_range(key);
  return found->second;
}
Tensors without(Tensors tensors, const std::string& part) {
  std::erase_if(tensors, [&](const NamedTensor& t) { return t.first.find(part) != std::string::npos; });
  return tensors;
}
Tensors with(Tensors tensors, const std::string& key, const Tensor& value) {
  tensors.emplace_back(key, value);
  return tensors;
}
Tensors changed(const Tensors& tensors, const std::string& key,
                const std::function<Tensor(const Tensor&)>& f) {
  Tensors others = tensors;
  std::erase_if(others, [&](const NamedTensor& t) { return t.first == key; });
  return with(others, key, f(value_of(tensors, key)));
}

/// Everything in it, one after the other.
std::vector<double> numbers(Module& model) {
  std::vector<double> all;
  for (const auto& [key, value] : model.state_dict())
    for (const double x : value.detach().to_vector<double>()) all.push_back(x);
  return all;
}
std::set<std::string> keys(const Tensors& tensors) {
  std::set<std::string> all;
  for (const auto& [key, value] : tensors) all.insert(key);
  return all;
}

/// One family: its small model, its golden file and its loader.
template <class Model>
struct Family {
  std::function<Model()> make;
  void (*load)(const std::string&, Model&);
  const char* file;

  Tensors tensors() const { return golden(file); }
  void load_from(const Tensors& file_tensors, Model& model) const {
    const TemporaryFolder folder;
    write_safetensors(folder.file("w.safetensors"), file_tensors);
    load(folder.file("w.safetensors"), model);
  }
  /// Numbers of a model that was loaded from the golden file.
  std::vector<double> wanted() const {
    Model model = make();
    load(golden_path(file), model);
    return numbers(model);
  }
  void loads(const Tensors& file_tensors, const std::string& what) const {
    Model model = make();
    load_from(file_tensors, model);
    EXPECT_TRUE(numbers(model) == wanted()) << what;
  }
  /// The model stays as it was, and the message names the file and all `parts`.
  void refuses(const Tensors& file_tensors, std::initializer_list<std::string> parts) const {
    Model model = make();
    const std::vector<double> before = numbers(model);
    const std::string message = data_error([&] { load_from(file_tensors, model); });
    EXPECT_THAT(message, HasSubstr("w.safetensors"));
    for (const std::string& part : parts) EXPECT_THAT(message, HasSubstr(part));
    EXPECT_TRUE(numbers(model) == before) << message;
  }
};

Family<Gpt2> gpt2() {
  return {[] { return Gpt2(testing::small_gpt2()); }, load_gpt2_weights, "gpt2.safetensors"};
}
Family<Llama> llama(bool tied = false) {
  return {[tied] {
            LlamaOptions options = testing::small_llama();
            options.tied = tied;
            return Llama(options);
          },
          load_llama_weights, "llama.safetensors"};
}
Family<T5> t5() {
  return {[] { return T5(testing::small_t5()); }, load_t5_weights, "t5.safetensors"};
}

Tensors without_prefix(Tensors tensors) {
  for (auto& [key, value] : tensors)
    if (key.starts_with("transformer.")) key.erase(0, 12);
  return tensors;
}

TEST(PublishedFiles, Gpt2InEveryForm) {
  const Tensors file = gpt2().tensors();
  const Tensor c_attn = value_of(file, "transformer.h.1.attn.c_attn.weight");
  ASSERT_EQ(c_attn.shape(), Shape({8, 24})) << "[in, out]";
  Gpt2 model = gpt2().make();
  gpt2().load_from(file, model);
  EXPECT_EQ(model.h[1].attn.c_attn.weight.detach().to_vector<float>(),
            c_attn.t().contiguous().to_vector<float>());

  gpt2().loads(without_prefix(file), "no prefix");
  gpt2().loads(without(file, "lm_head"), "no lm_head");
  gpt2().loads(without(without(file, ".attn.bias"), "masked_bias"), "no masks");
  gpt2().loads(without(without_prefix(file), "lm_head"), "neither");
  gpt2().loads(with(without(file, "h.0.attn.bias"), "h.0.attn.bias", ones({1, 1, 3, 3})), "another mask");
}

TEST(PublishedFiles, Gpt2Refuses) {
  const auto family = gpt2();
  const Tensors file = family.tensors();
  const std::string wte = "transformer.wte.weight";
  family.refuses(without(without(file, "h.1.mlp.c_fc.weight"), "ln_f.bias"),
                 {"missing", "h.1.mlp.c_fc.weight", "ln_f.bias"});
  family.refuses(with(file, "transformer.h.2.ln_1.bias", zeros({8})), {"unexpected", "h.2.ln_1.bias"});
  family.refuses(with(file, "score.weight", zeros({8})), {"unexpected", "score.weight"});
  family.refuses(
      changed(file, "transformer.h.0.attn.c_attn.weight", [](const Tensor& w) { return w.t().contiguous(); }),
      {"h.0.attn.c_attn.weight expected [24, 8], got [8, 24]"});
  family.refuses(changed(file, wte, [](const Tensor& w) { return w.narrow(0, 0, 12).contiguous(); }),
                 {"lm_head.weight equal to wte.weight"});
  family.refuses(
      changed(without(file, "lm_head"), wte, [](const Tensor& w) { return w.narrow(0, 0, 12).contiguous(); }),
      {"wte.weight expected [13, 8], got [12, 8]"});
  family.refuses(changed(file, "transformer.h.0.mlp.c_fc.weight", [](const Tensor&) { return ones({8}); }),
                 {"h.0.mlp.c_fc.weight expected [32, 8], got [8]"});
  family.refuses(changed(file, "lm_head.weight", [](const Tensor& w) { return w * 2.0; }),
                 {"lm_head.weight equal to wte.weight"});
  family.refuses(without(file, wte), {"wte.weight"});
  family.refuses(with(file, "wte.weight", value_of(file, wte)), {"wte.weight is there twice"});
  family.refuses({}, {"missing", "wte.weight", "h.1.ln_2.bias"});

  Gpt2 model = family.make();
  EXPECT_THROW(load_gpt2_weights(golden_path("none.safetensors"), model), Error);
  const TemporaryFolder folder;
  const std::string text = testing::get_file(golden_path("gpt2.safetensors"));
  testing::put_file(folder.file("w.safetensors"), text.substr(0, text.size() - 4));
  EXPECT_THAT(data_error([&] { load_gpt2_weights(folder.file("w.safetensors"), model); }),
              HasSubstr("w.safetensors"));
}

TEST(PublishedFiles, LlamaInEveryForm) {
  const Tensors file = llama().tensors();
  llama().loads(without(file, "inv_freq"), "no frequencies");
  Tensors tied = without(file, "lm_head");
  const std::vector<double> head = [&] {
    Llama model = llama(true).make();
    llama(true).load_from(tied, model);
    return numbers(model);
  }();
  Llama model = llama(true).make();
  llama(true).load_from(with(tied, "lm_head.weight", value_of(tied, "model.embed_tokens.weight")), model);
  EXPECT_TRUE(numbers(model) == head);
  EXPECT_EQ(model.state_dict().size() + 1, llama().make().state_dict().size());
}

TEST(PublishedFiles, LlamaRefuses) {
  const Tensors file = llama().tensors();
  llama().refuses(without(file, "lm_head"), {"missing", "lm_head.weight"});
  llama(true).refuses(file, {"lm_head.weight equal to model.embed_tokens.weight"});
  llama().refuses(without(file, "layers.1.mlp.up_proj"), {"missing", "model.layers.1.mlp.up_proj.weight"});
  llama().refuses(with(file, "model.layers.0.self_attn.q_proj.bias", zeros({16})),
                  {"unexpected", "self_attn.q_proj.bias"});
  // Keys of all heads where this model shares them.
  llama().refuses(
      changed(file, "model.layers.0.self_attn.k_proj.weight", [](const Tensor&) { return zeros({16, 16}); }),
      {"model.layers.0.self_attn.k_proj.weight expected [8, 16], got [16, 16]"});
}

TEST(PublishedFiles, T5InEveryFormAndRefuses) {
  const auto family = t5();
  const Tensors file = family.tensors();
  family.loads(without(file, "embed_tokens"), "no copies of the embedding");
  family.loads(without(file, "lm_head"), "no lm_head");
  family.loads(without(file, "EncDecAttention.relative_attention_bias"), "no unused bias");
  family.refuses(changed(file, "lm_head.weight", [](const Tensor& w) { return w + 1.0; }),
                 {"lm_head.weight equal to shared.weight"});
  family.refuses(without(file, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
                 {"missing", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"});
  family.refuses(
      with(file, "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight", ones({8, 2})),
      {"unexpected", "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"});
  // The gated feed forward part of later versions.
  family.refuses(
      with(without(file, "wi.weight"), "encoder.block.0.layer.1.DenseReluDense.wi_0.weight", ones({14, 10})),
      {"unexpected", "wi_0", "missing", "decoder.block.1.layer.2.DenseReluDense.wi.weight"});
}

// Halves in the file: the model has exactly those numbers; masks of other types stay what they are.
TEST(PublishedFiles, HalvesLoad) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    Tensors file = gpt2().tensors();
    for (auto& [key, value] : file)
      if (is_floating(value.dtype())) value = value.to(dtype);
    Gpt2 model = gpt2().make();
    gpt2().load_from(file, model);
    EXPECT_EQ(model.wte.weight.dtype(), DType::f32);
    EXPECT_EQ(model.wte.weight.detach().to_vector<double>(),
              value_of(file, "lm_head.weight").to(DType::f32).to_vector<double>());
    EXPECT_EQ(model.h[0].mlp.c_fc.weight.detach().to_vector<double>(),
              value_of(file, "transformer.h.0.mlp.c_fc.weight")
                  .t()
                  .to(DType::f32)
                  .contiguous()
                  .to_vector<double>());
    Gpt2 half = gpt2().make();
    half.to(dtype);
    gpt2().load_from(gpt2().tensors(), half);
    EXPECT_EQ(half.wte.weight.dtype(), dtype);
    EXPECT_TRUE(numbers(half) == numbers(model)) << "rounded in the file or when it is loaded";
  }
}

class PublishedFilesTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(PublishedFilesTest);

TEST_P(PublishedFilesTest, WhatIsSavedIsPublishedAndLoads) {
  const TemporaryFolder folder;
  Gpt2 model = gpt2().make();
  model.to(device());
  load_gpt2_weights(golden_path("gpt2.safetensors"), model);
  EXPECT_EQ(model.wte.weight.device(), device());
  save_gpt2_weights(folder.file("g.safetensors"), model);
  Tensors saved = load_safetensors(folder.file("g.safetensors"));
  Tensors published =
      without_prefix(without(without(without(gpt2().tensors(), ".attn.bias"), "masked_bias"), "lm_head"));
  EXPECT_EQ(keys(saved), keys(published));
  for (const auto& [key, value] : saved) {
    const Tensor& want = value_of(published, key);
    EXPECT_EQ(value.shape(), want.shape()) << key;
    EXPECT_EQ(value.to_vector<float>(), want.to_vector<float>()) << key;
  }
  Gpt2 again = gpt2().make();
  load_gpt2_weights(folder.file("g.safetensors"), again);
  EXPECT_TRUE(numbers(again) == gpt2().wanted());

  // Llama and T5 have the keys and shapes of their files.
  Llama second = llama().make();
  load_llama_weights(golden_path("llama.safetensors"), second);
  second.to(device());
  write_safetensors(folder.file("l.safetensors"), second.state_dict());
  EXPECT_EQ(keys(load_safetensors(folder.file("l.safetensors"))),
            keys(without(llama().tensors(), "inv_freq")));
  Llama llama_again = llama().make();
  load_llama_weights(folder.file("l.safetensors"), llama_again);
  EXPECT_TRUE(numbers(llama_again) == llama().wanted());
  T5 third = t5().make();
  load_t5_weights(golden_path("t5.safetensors"), third);
  third.to(device());
  write_safetensors(folder.file("t.safetensors"), third.state_dict());
  T5 t5_again = t5().make();
  load_t5_weights(folder.file("t.safetensors"), t5_again);
  EXPECT_TRUE(numbers(t5_again) == t5().wanted());
}

}  // namespace
}  // namespace gpunn
