// Published files of GPT-2: config.json and safetensors.
#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/gpt2.h"

namespace gpunn {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 24;  // of any size in a config

std::int64_t size_of_key(const JsonValue& config, std::string_view key) {
  const JsonValue& value = config.at(key);
  const std::int64_t n = value.as_int();
  if (n < 1 || n > kMost) value.fail(std::string(key) + " is out of range");
  return n;
}

double number_of_key(const JsonValue& config, std::string_view key, double otherwise) {
  const JsonValue* value = config.find(key);
  if (!value || value->is_null()) return otherwise;
  const double x = value->as_number();
  if (!(x >= 0 && x < 1)) value->fail(std::string(key) + " is out of range");
  return x;
}

/// Stored as [in, out].
bool is_turned(std::string_view key) {
  const auto ends_with = [&](std::string_view end) { return key.ends_with(end); };
  return ends_with("c_attn.weight") || ends_with("c_proj.weight") || ends_with("c_fc.weight");
}

constexpr std::string_view kPrefix = "transformer.";

/// The model's key of a file's key; empty for buffers that are no weights.
std::string_view own_key(std::string_view key) {
  if (key.starts_with(kPrefix)) key.remove_prefix(kPrefix.size());
  if (key.starts_with("h.") && (key.ends_with(".attn.bias") || key.ends_with(".attn.masked_bias"))) return {};
  return key;
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.numel()) * size_of(a.dtype())) == 0;
}

}  // namespace

Gpt2Options read_gpt2_config(const std::string& path) {
  const JsonValue config = JsonValue::read(path);
  if (const JsonValue* type = config.find("model_type"); type && type->as_string() != "gpt2")
    type->fail("model_type is not gpt2");
  if (const JsonValue* f = config.find("activation_function"); f && f->as_string() != "gelu_new")
    f->fail("activation_function is not gelu_new");
  Gpt2Options o;
  o.vocabulary = size_of_key(config, "vocab_size");
  o.context = size_of_key(config, "n_positions");
  o.features = size_of_key(config, "n_embd");
  o.layers = size_of_key(config, "n_layer");
  o.heads = size_of_key(config, "n_head");
  if (o.features % o.heads != 0) config.at("n_head").fail("n_head does not divide n_embd");
  o.dropout = number_of_key(config, "resid_pdrop", o.dropout);
  o.eps = number_of_key(config, "layer_norm_epsilon", o.eps);
  return o;
}

void load_gpt2_weights(const std::string& path, Gpt2& model) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  StateDict state;
  for (const std::string& name : file.names()) {
    const std::string_view key = own_key(name);
    if (key.empty() || key == "lm_head.weight") continue;
    Tensor value = file.load(name);
    if (is_turned(key) && value.dim() == 2) value = value.t().contiguous();
    state.push_back({std::string(key), value});
  }
  if (file.contains("lm_head.weight")) {
    const Tensor head = file.load("lm_head.weight");
    const auto wte =
        std::find_if(state.begin(), state.end(), [](const NamedTensor& t) { return t.first == "wte.weight"; });
    if (wte == state.end() || !equal(head, wte->second))
      throw DataError(path + ": expected lm_head.weight equal to wte.weight, which is the output layer here");
  }
  try {
    model.load_state_dict(state);
  } catch (const InvalidArgument& e) {
    throw DataError(path + ": " + e.what());
  }
}

void save_gpt2_weights(const std::string& path, Gpt2& model) {
  const NoGrad no_grad;
  StateDict state = model.state_dict();
  for (NamedTensor& entry : state)
    if (is_turned(entry.first)) entry.second = entry.second.t().contiguous();
  write_safetensors(path, state);
}

}  // namespace gpunn
