#include "gpunn/training/optimizer.h"

#include <cmath>
#include <set>

#include "gpunn/core/autograd.h"
#include "gpunn/core/op.h"
#include "gpunn/training/detail/optimizer_group.h"

namespace gpunn {

using detail::OptimizerGroup;
using detail::OptimizerState;

/// Parameters that are updated together.
struct Optimizer::Launch {
  UpdateSettings settings;
  std::int64_t step = 0;  // before this one
  double mu_product = 1;
  bool master = false;
  Tensor values;  // StepValues on the device; kept from step to step, so that a captured launch finds it
  std::vector<UpdateTensor> tensors;
};

Optimizer::Optimizer(const char* name, std::vector<OptimizerGroup> groups)
    : name_(name), groups_(std::move(groups)) {
  OpScope scope(name_);
  std::set<const TensorImpl*> seen;
  for (const OptimizerGroup& group : groups_) {
    GPUNN_CHECK(!group.params.empty(), "expected parameters to optimise, got none");
    for (const Tensor& p : group.params) {
      const std::size_t number = parameters_.size();
      GPUNN_CHECK(p.defined(), "expected defined parameters, number ", number, " is not");
      GPUNN_CHECK(is_floating(p.dtype()), "expected floating parameters, number ", number, " is of ",
                  p.dtype());
      GPUNN_CHECK(seen.insert(&p.impl()).second, "expected each parameter once, number ", number,
                  " came before");
      parameters_.push_back(p);
    }
  }
  GPUNN_CHECK(!parameters_.empty(), "expected parameters to optimise, got none");
  states_.resize(parameters_.size());
}

Optimizer::~Optimizer() = default;

void Optimizer::zero_grad() {
  for (const Tensor& p : parameters_) p.zero_grad();
}

void Optimizer::step() {
  advance();
  apply();
}

// ---------------------------------------------------------------- settings that change

std::size_t Optimizer::group_count() const noexcept { return groups_.size(); }

const OptimizerGroup& Optimizer::group_at(std::size_t group) const {
  OpScope scope(name_);
  GPUNN_CHECK(group < groups_.size(), "expected a group below ", groups_.size(), ", got ", group);
  return groups_[group];
}

double Optimizer::learning_rate(std::size_t group) const { return group_at(group).lr; }

void Optimizer::set_learning_rate(double value) {
  for (std::size_t g = 0; g < groups_.size(); ++g) set_learning_rate(g, value);
}

void Optimizer::set_learning_rate(std::size_t group, double value) {
  group_at(group);
  OpScope scope(name_);
  GPUNN_CHECK(std::isfinite(value) && value >= 0, "expected lr >= 0, got ", value);
  groups_[group].lr = value;
}

double Optimizer::initial_learning_rate(std::size_t group) {
  group_at(group);
  OptimizerGroup& g = groups_[group];
  if (!g.initial_lr) g.initial_lr = g.lr;
  return *g.initial_lr;
}

bool Optimizer::has_momentum(std::size_t group) const {
  const UpdateSettings& s = group_at(group).settings;
  const bool optional = s.rule == UpdateRule::sgd || s.rule == UpdateRule::rmsprop;
  return s.rule != UpdateRule::adagrad && s.rule != UpdateRule::adadelta && (!optional || s.beta1 != 0);
}

double Optimizer::momentum(std::size_t group) const { return group_at(group).settings.beta1; }

void Optimizer::set_momentum(std::size_t group, double value) {
  const bool can = has_momentum(group);
  OpScope scope(name_);
  // 0 would take the state away.
  GPUNN_CHECK(can && value > 0 && value < 1, "expected a rule with momentum and a value in (0, 1), got ",
              value);
  groups_[group].settings.beta1 = value;
}

// ---------------------------------------------------------------- a step

namespace {

/// The numbers of update number `step` (from 1); moves mu_product on.
StepValues values_of(const OptimizerGroup& g, std::int64_t step, double& mu_product) {
  const UpdateSettings& s = g.settings;
  const auto t = static_cast<double>(step);
  StepValues v;
  v.rate = g.lr;
  v.keep = 1 - g.lr * g.decoupled_decay;
  if (s.rule == UpdateRule::adagrad) v.rate = g.lr / (1 + (t - 1) * g.lr_decay);
  if (s.rule == UpdateRule::adam || s.rule == UpdateRule::nadam)
    v.denominator = 1 / std::sqrt(1 - std::pow(s.beta2, t));
  if (s.rule == UpdateRule::adam) v.rate = g.lr / (1 - std::pow(s.beta1, t));
  if (s.rule == UpdateRule::nadam) {
    const auto mu = [&](double at) { return s.beta1 * (1 - 0.5 * std::pow(0.96, at * g.momentum_decay)); };
    mu_product *= mu(t);
    v.grad_rate = g.lr * (1 - mu(t)) / (1 - mu_product);
    v.rate = g.lr * mu(t + 1) / (1 - mu_product * mu(t + 1));
  }
  return v;
}

void check_gradient(const Tensor& param, const Tensor& grad, std::size_t number) {
  check_same(param, "its parameter", grad, "grad");
  GPUNN_CHECK(grad.shape() == param.shape(), "expected a grad of shape ", param.shape(), " for parameter ",
              number, ", got ", grad.shape());
}

}  // namespace

/// Of those of `group`, whose first parameter is number `first`, that begin with this step.
void Optimizer::allocate_new_states(const OptimizerGroup& group, std::size_t first) {
  std::vector<detail::StatefulParameter> fresh;
  for (const Tensor& param : group.params) {
    OptimizerState& state = states_[first++];
    if (!state.started && param.grad().defined()) fresh.push_back({&param, &state});
  }
  if (!fresh.empty()) detail::allocate_states(group, fresh);
}

void Optimizer::start_state(const OptimizerGroup& group, const Tensor& param, OptimizerState& state) {
  if (state.master.defined()) state.master.copy_(param.detach());
  const bool written = group.settings.rule == UpdateRule::sgd;  // by the first step, unread
  for (const Tensor& values : state.states)
    if (values.defined() && !written) values.fill_(group.initial_accumulator_value);
  state.started = true;
}

namespace {

/// After an exception the launches let go of gradients and states, and of values that may have failed.
template <class Launches>
class DropOnFailure {
 public:
  DropOnFailure(Launches& launches, std::size_t& count) : launches_(launches), count_(count) {}
  ~DropOnFailure() {
    if (done_) return;
    launches_.clear();
    count_ = 0;
  }
  DropOnFailure(const DropOnFailure&) = delete;
  DropOnFailure& operator=(const DropOnFailure&) = delete;
  void done() { done_ = true; }

 private:
  Launches& launches_;
  std::size_t& count_;
  bool done_ = false;
};

}  // namespace

Optimizer::Launch& Optimizer::launch_for(const OptimizerGroup& group, const OptimizerState& state,
                                         const Tensor& param, std::size_t first_of_group) {
  const UpdateRule rule = group.settings.rule;
  const bool first_step = rule == UpdateRule::sgd && !state.started && group.settings.beta1 != 0;
  const bool master = detail::has_master(group, param);
  const std::int64_t step = detail::counts_steps(rule) ? state.step : 0;
  for (std::size_t i = first_of_group; i < launch_count_; ++i) {
    Launch& l = launches_[i];
    const Tensor& first = l.tensors.front().param;
    if (l.step == step && l.mu_product == state.mu_product && l.settings.first_step == first_step &&
        l.master == master && first.dtype() == param.dtype() && &first.context() == &param.context())
      return l;
  }
  if (launch_count_ == launches_.size()) launches_.emplace_back();
  Launch& l = launches_[launch_count_++];
  l.settings = group.settings;
  l.settings.first_step = first_step;
  l.step = step;
  l.mu_product = state.mu_product;
  l.master = master;
  l.tensors.clear();
  if (!l.values.defined() || &l.values.context() != &param.context()) {
    const MemoryTagScope tag(MemoryTag::optimizer);
    l.values = make_step_values(param.device());
  }
  double mu_product = state.mu_product;
  write_step_values(values_of(group, step + 1, mu_product), l.values);
  return l;
}

void Optimizer::advance() {
  OpScope scope(name_);
  NoGrad no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    if (const Tensor grad = parameters_[i].grad(); grad.defined()) check_gradient(parameters_[i], grad, i);
  launch_count_ = 0;
  DropOnFailure launches(launches_, launch_count_);
  std::size_t i = 0;
  for (const OptimizerGroup& group : groups_) {
    const std::size_t first_of_group = launch_count_;
    allocate_new_states(group, i);
    for (const Tensor& param : group.params) {
      OptimizerState& state = states_[i++];
      Tensor grad = param.grad();
      if (!grad.defined()) continue;
      Launch& launch = launch_for(group, state, param, first_of_group);
      if (!state.started) start_state(group, param, state);
      UpdateTensor t{param, std::move(grad), {}, state.master};
      for (int j = 0; j < kMaxStates; ++j) t.states[j] = state.states[j];
      launch.tensors.push_back(std::move(t));
      ++state.step;
      if (group.settings.rule == UpdateRule::nadam) values_of(group, state.step, state.mu_product);
    }
  }
  launches.done();
}

void Optimizer::apply() {
  OpScope scope(name_);
  NoGrad no_grad;
  DropOnFailure launches(launches_, launch_count_);
  for (std::size_t i = 0; i < launch_count_; ++i) {
    Launch& launch = launches_[i];
    for (UpdateTensor& t : launch.tensors) t.grad = t.grad.contiguous();
    optimizer_step(launch.tensors, launch.settings, launch.values);
    launch.tensors.clear();  // lets go of the gradients
  }
  launch_count_ = 0;
  launches.done();
}

}  // namespace gpunn
