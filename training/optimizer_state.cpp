// State dicts of optimizers.
#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <string_view>

#include "gpunn/core/arena.h"
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

/// Copies a loaded state.
void load_tensor(const Tensor& state, const NamedTensor& entry) {
  GPUNN_CHECK(entry.second.shape() == state.shape(), "optimizer state: ", entry.first, " expected ",
              state.shape(), ", got ", entry.second.shape());
  state.copy_(entry.second.to(state.dtype()));
}

/// Takes one entry of a parameter into its state, whose tensors are there.
void load_entry(const OptimizerGroup& group, std::string_view name, const NamedTensor& entry,
                OptimizerState& state) {
  const UpdateRule rule = group.settings.rule;
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
  if (name == kMaster && state.master.defined()) return load_tensor(state.master, entry);
  for (int j = 0; j < kMaxStates; ++j)
    if (const char* own = state_name(group.settings, j); own && name == own)
      return load_tensor(state.states[j], entry);
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

void detail::allocate_states(const OptimizerGroup& group, std::span<const StatefulParameter> parameters) {
  const MemoryTagScope tag(MemoryTag::optimizer);
  std::vector<OptimizerState> made(parameters.size());
  std::vector<bool> done(parameters.size());
  for (std::size_t first = 0; first < parameters.size(); ++first) {
    if (done[first]) continue;
    const Tensor& like = *parameters[first].param;
    std::vector<std::size_t> alike;
    std::vector<Shape> shapes;
    for (std::size_t i = first; i < parameters.size(); ++i) {
      const Tensor& param = *parameters[i].param;
      if (param.dtype() != like.dtype() || &param.context() != &like.context()) continue;
      done[i] = true;
      alike.push_back(i);
      shapes.push_back(param.shape());
    }
    const bool master = has_master(group, like);
    const TensorOptions options{.dtype = master ? DType::f32 : like.dtype(), .device = like.device()};
    const auto allocate = [&](auto&& tensor_of) {
      std::vector<Tensor> arena = empty_arena(shapes, options);
      for (std::size_t k = 0; k < alike.size(); ++k) tensor_of(made[alike[k]]) = std::move(arena[k]);
    };
    if (master) allocate([](OptimizerState& state) -> Tensor& { return state.master; });
    for (int j = 0; j < kMaxStates; ++j)
      if (state_name(group.settings, j))
        allocate([j](OptimizerState& state) -> Tensor& { return state.states[j]; });
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].state->master = std::move(made[i].master);
    for (int j = 0; j < kMaxStates; ++j) parameters[i].state->states[j] = std::move(made[i].states[j]);
  }
}

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
  std::vector<Key> parsed;
  for (const NamedTensor& entry : entries) {
    GPUNN_CHECK(entry.second.defined(), "optimizer state: undefined tensor for ", entry.first);
    GPUNN_CHECK(keys.insert(entry.first).second, "optimizer state: key ", entry.first, " twice");
    parsed.emplace_back(entry.first, parameters_.size(), groups_.size());
    if (parsed.back().name != kRate) states[parsed.back().number].started = true;
  }
  std::size_t first = 0;
  for (const OptimizerGroup& group : groups_) {
    std::vector<detail::StatefulParameter> started;
    for (std::size_t i = first; i < first + group.params.size(); ++i)
      if (states[i].started) started.push_back({&parameters_[i], &states[i]});
    if (!started.empty()) detail::allocate_states(group, started);
    first += group.params.size();
  }
  for (std::size_t e = 0; e < entries.size(); ++e) {
    const Key& key = parsed[e];
    if (key.name == kRate)
      rates[key.number] = number_in(entries[e]);
    else
      load_entry(*group_of[key.number], key.name, entries[e], states[key.number]);
  }
  for (std::size_t i = 0; i < states.size(); ++i)
    check_complete(*group_of[i], parameters_[i], states[i], keys, i);
  states_ = std::move(states);
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g].lr = rates[g];
}

}  // namespace gpunn
