#include "gpunn/layers/freeze.h"

#include <set>
#include <string>

namespace gpunn {

namespace {

bool reaches(std::string_view prefix, std::string_view key) {
  return prefix.empty() || key == prefix || (key.starts_with(prefix) && key[prefix.size()] == '.');
}

std::int64_t set_trained(Module& module, std::string_view prefix, bool trained) {
  std::set<const TensorImpl*> parameters, reached;
  for (const Tensor& p : module.parameters()) parameters.insert(&p.impl());
  std::vector<std::string> parts;
  // The state dict also has the second name of a tied parameter, by which it may be asked for.
  for (const NamedTensor& entry : module.state_dict()) {
    if (parameters.count(&entry.second.impl()) == 0) continue;
    const std::string part = entry.first.substr(0, entry.first.find('.'));
    if (parts.empty() || parts.back() != part) parts.push_back(part);
    if (!reaches(prefix, entry.first)) continue;
    if (!trained) entry.second.zero_grad();
    entry.second.requires_grad_(trained);
    reached.insert(&entry.second.impl());
  }
  std::string known;
  for (const std::string& part : parts) known += (known.empty() ? "" : ", ") + part;
  GPUNN_CHECK(!reached.empty() || (prefix.empty() && parameters.empty()),
              "expected the beginning of a parameter's key, got '", prefix, "'; keys begin with ",
              known.empty() ? "nothing" : known);
  return static_cast<std::int64_t>(reached.size());
}

}  // namespace

std::int64_t freeze(Module& module, std::string_view prefix) { return set_trained(module, prefix, false); }
std::int64_t unfreeze(Module& module, std::string_view prefix) { return set_trained(module, prefix, true); }

std::vector<Tensor> trainable_parameters(Module& module) {
  std::vector<Tensor> out;
  for (Tensor& p : module.parameters())
    if (p.requires_grad()) out.push_back(std::move(p));
  return out;
}

std::int64_t trainable_count(Module& module) {
  std::int64_t count = 0;
  for (const Tensor& p : trainable_parameters(module)) count += p.numel();
  return count;
}

}  // namespace gpunn
