// State dicts of optimizers.
#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <string_view>

#include "gpunn/core/autograd.h"
#include "gpunn/training/detail/optimizer_group.h"
#include "gpunn/training/detail/state_numbers.h"
#include "gpunn/training/optimizer.h"

namespace gpunn {

namespace {

using detail::OptimizerGroup;
using detail::OptimizerState;

constexpr std::string_view kStep = "step", kMuProduct = "mu_product", kMaster = "master_param", kRate = "lr";

std::string key_of(std::string_view name, std::size_t number) {
  return std::string(name) + "." + std::to_string(number);
}

/// "exp_avg.3" in its parts. Throws InvalidArgument when it has none, or the number is not below `count`.
struct Key {
  Key(std::string_view key, std::size_t parameters, std::size_t groups) {
    const std::size_t dot = key.rfind('.');
    const char* const end = key.data() + key.size();
    bool ok = dot != std::string_view::npos;
    if (ok) {
      name = key.substr(0, dot);
      const auto [at, error] = std::from_chars(key.data() + dot + 1, end, number);
      ok = error == std::errc() && at == end && number < (name == kRate ? groups : parameters);
    }
    GPUNN_CHECK(ok, "optimizer state: unexpected key ", key);
  }
  std::string_view name;
  std::size_t number = 0;
};

double number_in(const NamedTensor& entry) {
  GPUNN_CHECK(entry.second.numel() == 1, "optimizer state: ", entry.first, " expected one number, got shape ",
              entry.second.shape());
  const double value = entry.second.item();
  GPUNN_CHECK(std::isfinite(value) && value >= 0, "optimizer state: ", entry.first,
              " expected a number >= 0, got ", value);
  return value;
}

/// A copy of a loaded state, as the parameter needs it.
Tensor state_like(const Tensor& param, DType dtype, const NamedTensor& entry) {
  GPUNN_CHECK(entry.second.shape() == param.shape(), "optimizer state: ", entry.first, " expected ",
              param.shape(), ", got ", entry.second.shape());
  Tensor state = empty(param.shape(), {.dtype = dtype, .device = param.device()});
  state.copy_(entry.second.to(dtype));
  return state;
}

/// Takes one entry of parameter `param` into `state`.
void load_entry(const OptimizerGroup& group, const Tensor& param, std::string_view name,
                const NamedTensor& entry, OptimizerState& state) {
  const UpdateRule rule = group.settings.rule;
  const bool master = detail::has_master(group, param);
  state.started = true;
  if (name == kStep && rule != UpdateRule::sgd) {
    const double value = number_in(entry);
    GPUNN_CHECK(value == std::floor(value) && value < 0x1p53, "optimizer state: ", entry.first,
                " expected a count, got ", value);
    state.step = static_cast<std::int64_t>(value);
    return;
  }
  if (name == kMuProduct && rule == UpdateRule::nadam) {
    state.mu_product = number_in(entry);
    return;
  }
  if (name == kMaster && master) {
    state.master = state_like(param, DType::f32, entry);
    return;
  }
  for (int j = 0; j < kMaxStates; ++j)
    if (const char* own = state_name(group.settings, j); own && name == own) {
      state.states[j] = state_like(param, master ? DType::f32 : param.dtype(), entry);
      return;
    }
  GPUNN_CHECK(false, "optimizer state: unexpected key ", entry.first);
}

/// A parameter that has started has everything.
void check_complete(const OptimizerGroup& group, const Tensor& param, const OptimizerState& state,
                    const std::set<std::string>& keys, std::size_t number) {
  if (!state.started) return;
  const auto needs = [&](std::string_view name) {
    GPUNN_CHECK(keys.count(key_of(name, number)), "optimizer state: missing key ", key_of(name, number));
  };
  if (group.settings.rule != UpdateRule::sgd) needs(kStep);
  if (group.settings.rule == UpdateRule::nadam) needs(kMuProduct);
  if (detail::has_master(group, param)) needs(kMaster);
  for (int j = 0; j < kMaxStates; ++j)
    if (const char* name = state_name(group.settings, j)) needs(name);
}

}  // namespace

StateDict Optimizer::state_dict() const {
  StateDict out;
  for (std::size_t g = 0; g < groups_.size(); ++g)
    out.push_back({key_of(kRate, g), detail::state_number(groups_[g].lr)});
  std::size_t i = 0;
  for (const OptimizerGroup& group : groups_) {
    const UpdateRule rule = group.settings.rule;
    for (std::size_t k = 0; k < group.params.size(); ++k, ++i) {
      const OptimizerState& state = states_[i];
      if (!state.started) continue;
      if (rule != UpdateRule::sgd) out.push_back({key_of(kStep, i), detail::state_number(state.step)});
      if (rule == UpdateRule::nadam)
        out.push_back({key_of(kMuProduct, i), detail::state_number(state.mu_product)});
      if (state.master.defined()) out.push_back({key_of(kMaster, i), state.master});
      for (int j = 0; j < kMaxStates; ++j)
        if (const char* name = state_name(group.settings, j))
          out.push_back({key_of(name, i), state.states[j]});
    }
  }
  return out;
}

void Optimizer::load_state_dict(const StateDict& entries) {
  OpScope scope(name_);
  NoGrad no_grad;
  std::vector<OptimizerState> states(states_.size());
  std::vector<double> rates;
  for (const OptimizerGroup& group : groups_) rates.push_back(group.lr);
  std::vector<const OptimizerGroup*> group_of;
  for (const OptimizerGroup& group : groups_) group_of.insert(group_of.end(), group.params.size(), &group);

  std::set<std::string> keys;
  for (const NamedTensor& entry : entries) {
    GPUNN_CHECK(entry.second.defined(), "optimizer state: undefined tensor for ", entry.first);
    GPUNN_CHECK(keys.insert(entry.first).second, "optimizer state: key ", entry.first, " twice");
    const Key key(entry.first, parameters_.size(), groups_.size());
    if (key.name == kRate)
      rates[key.number] = number_in(entry);
    else
      load_entry(*group_of[key.number], parameters_[key.number], key.name, entry, states[key.number]);
  }
  for (std::size_t i = 0; i < states.size(); ++i)
    check_complete(*group_of[i], parameters_[i], states[i], keys, i);
  states_ = std::move(states);
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].lr = rates[g];
}

}  // namespace gpunn
