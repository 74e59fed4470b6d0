#pragma once
// Reading what others publish: numbers of a config.json, weights under known keys.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "gpunn/io/json_value.h"
#include "gpunn/layers/module.h"

namespace gpunn::detail {

/// A size of a config, from 1 to 2^24. DataError naming file and key otherwise.
std::int64_t config_size(const JsonValue& config, std::string_view key);
/// The same, `otherwise` where it is missing or null.
std::int64_t config_size(const JsonValue& config, std::string_view key, std::int64_t otherwise);
/// A number in [low, high), `otherwise` where it is missing or null.
double config_number(const JsonValue& config, std::string_view key, double otherwise, double low,
                     double high);
/// Throws DataError unless the key is missing or says `expected`.
void expect_config(const JsonValue& config, std::string_view key, std::string_view expected);

/// Throws DataError unless the key is missing, null or the switch is as `supported` says.
void expect_switch(const JsonValue& config, std::string_view key, bool supported);

struct PublishedKey {
  std::string own{};    // the module's key; empty: not a weight, passed over
  bool turned = false;  // stored as [in, out]
};
/// Loads a safetensors file whose keys `of` translates. "lm_head.weight" may be there beside `tied`, the
/// module's key of the embedding ("" where it is a key as any other), and must be equal to it. Throws
/// DataError naming file and keys, a key that comes twice included; the module is unchanged then.
void load_published(const std::string& path, Module& module,
                    const std::function<PublishedKey(std::string_view)>& of, std::string_view tied);

}  // namespace gpunn::detail
