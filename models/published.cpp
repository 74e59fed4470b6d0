#include <algorithm>
#include <cstring>

#include "gpunn/core/error.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/detail/published.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kMost = std::int64_t{1} << 24;
constexpr const char* kHead = "lm_head.weight";

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.numel()) * size_of(a.dtype())) == 0;
}

void check_head(const SafetensorsFile& file, const StateDict& state, std::string_view tied) {
  if (!file.contains(kHead)) return;
  const auto embedding =
      std::find_if(state.begin(), state.end(), [&](const NamedTensor& t) { return t.first == tied; });
  if (embedding == state.end() || !equal(file.load(kHead), embedding->second))
    throw DataError(file.path() + ": expected " + kHead + " equal to " + std::string(tied) +
                    ", which is the output layer of this model");
}

}  // namespace

std::int64_t config_size(const JsonValue& config, std::string_view key) {
  const JsonValue& value = config.at(key);
  const std::int64_t n = value.as_int();
  if (n < 1 || n > kMost) value.fail(std::string(key) + " is out of range");
  return n;
}

std::int64_t config_size(const JsonValue& config, std::string_view key, std::int64_t otherwise) {
  const JsonValue* value = config.find(key);
  return !value || value->is_null() ? otherwise : config_size(config, key);
}

double config_number(const JsonValue& config, std::string_view key, double otherwise, double low,
                     double high) {
  const JsonValue* value = config.find(key);
  if (!value || value->is_null()) return otherwise;
  const double x = value->as_number();
  if (!(x >= low && x < high)) value->fail(std::string(key) + " is out of range");
  return x;
}

void expect_config(const JsonValue& config, std::string_view key, std::string_view expected) {
  const JsonValue* value = config.find(key);
  if (value && value->as_string() != expected)
    value->fail(std::string(key) + " is not " + std::string(expected));
}

void expect_switch(const JsonValue& config, std::string_view key, bool supported) {
  const JsonValue* value = config.find(key);
  if (value && !value->is_null() && value->as_bool() != supported)
    value->fail(std::string(key) + (supported ? " is off" : " is on") + ", which is not supported");
}

void load_published(const std::string& path, Module& module,
                    const std::function<PublishedKey(std::string_view)>& of, std::string_view tied) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  StateDict state;
  for (const std::string& name : file.names()) {
    if (!tied.empty() && name == kHead) continue;
    const PublishedKey key = of(name);
    if (key.own.empty()) continue;
    if (std::any_of(state.begin(), state.end(), [&](const NamedTensor& t) { return t.first == key.own; }))
      throw DataError(path + ": " + key.own + " is there twice, once as " + name);
    const Tensor value = file.load(name);
    state.push_back({key.own, key.turned && value.dim() == 2 ? value.t().contiguous() : value});
  }
  if (!tied.empty()) check_head(file, state, tied);
  try {
    module.load_state_dict(state);
  } catch (const InvalidArgument& e) {
    throw DataError(path + ": " + e.what());
  }
}

}  // namespace gpunn::detail
