// The optimizers' options, checked and brought into the one form that Optimizer works with.
#include <cmath>

#include "gpunn/training/detail/optimizer_group.h"
#include "gpunn/training/optimizer.h"

namespace gpunn {

namespace {

using detail::OptimizerGroup;

void check_not_negative(double v, const char* name) {
  GPUNN_CHECK(std::isfinite(v) && v >= 0, "expected ", name, " >= 0, got ", v);
}

void check_fraction(double v, const char* name) {
  GPUNN_CHECK(v >= 0 && v < 1, "expected ", name, " in [0, 1), got ", v);
}

/// What all options have.
template <class Options>
OptimizerGroup common(UpdateRule rule, const Options& o, bool decoupled) {
  check_not_negative(o.lr, "lr");
  check_not_negative(o.weight_decay, "weight_decay");
  check_not_negative(o.l1_decay, "l1_decay");
  OptimizerGroup g;
  g.settings.rule = rule;
  g.settings.weight_decay = decoupled ? 0 : o.weight_decay;
  g.settings.l1_decay = o.l1_decay;
  g.settings.maximize = o.maximize;
  g.lr = o.lr;
  g.decoupled_decay = decoupled ? o.weight_decay : 0;
  g.master_weights = o.master_weights;
  return g;
}

void set_betas(OptimizerGroup& g, const std::array<double, 2>& betas) {
  check_fraction(betas[0], "betas[0]");
  check_fraction(betas[1], "betas[1]");
  g.settings.beta1 = betas[0];
  g.settings.beta2 = betas[1];
}

void set_eps(OptimizerGroup& g, double eps) {
  check_not_negative(eps, "eps");
  g.settings.eps = eps;
}

OptimizerGroup convert(const SgdOptions& o) {
  OptimizerGroup g = common(UpdateRule::sgd, o, o.decoupled_weight_decay);
  check_not_negative(o.momentum, "momentum");
  GPUNN_CHECK(std::isfinite(o.dampening), "expected a finite dampening, got ", o.dampening);
  GPUNN_CHECK(!o.nesterov || (o.momentum > 0 && o.dampening == 0),
              "expected momentum above 0 and no dampening with nesterov, got ", o.momentum, " and ",
              o.dampening);
  g.settings.beta1 = o.momentum;
  g.settings.dampening = o.dampening;
  g.settings.nesterov = o.nesterov;
  return g;
}

OptimizerGroup convert(const AdagradOptions& o) {
  OptimizerGroup g = common(UpdateRule::adagrad, o, o.decoupled_weight_decay);
  check_not_negative(o.lr_decay, "lr_decay");
  check_not_negative(o.initial_accumulator_value, "initial_accumulator_value");
  g.lr_decay = o.lr_decay;
  g.initial_accumulator_value = o.initial_accumulator_value;
  set_eps(g, o.eps);
  return g;
}

OptimizerGroup convert(const AdadeltaOptions& o) {
  OptimizerGroup g = common(UpdateRule::adadelta, o, o.decoupled_weight_decay);
  check_fraction(o.rho, "rho");
  g.settings.beta2 = o.rho;
  set_eps(g, o.eps);
  return g;
}

OptimizerGroup convert(const RmspropOptions& o) {
  OptimizerGroup g = common(UpdateRule::rmsprop, o, o.decoupled_weight_decay);
  check_fraction(o.alpha, "alpha");
  check_not_negative(o.momentum, "momentum");
  g.settings.beta1 = o.momentum;
  g.settings.beta2 = o.alpha;
  g.settings.centered = o.centered;
  set_eps(g, o.eps);
  return g;
}

OptimizerGroup convert(const AdamOptions& o) {
  OptimizerGroup g = common(UpdateRule::adam, o, o.decoupled_weight_decay);
  set_betas(g, o.betas);
  set_eps(g, o.eps);
  g.settings.amsgrad = o.amsgrad;
  return g;
}

OptimizerGroup convert(const AdamWOptions& o) {
  OptimizerGroup g = common(UpdateRule::adam, o, true);
  set_betas(g, o.betas);
  set_eps(g, o.eps);
  g.settings.amsgrad = o.amsgrad;
  return g;
}

OptimizerGroup convert(const NadamOptions& o) {
  OptimizerGroup g = common(UpdateRule::nadam, o, o.decoupled_weight_decay);
  set_betas(g, o.betas);
  set_eps(g, o.eps);
  check_not_negative(o.momentum_decay, "momentum_decay");
  g.momentum_decay = o.momentum_decay;
  return g;
}

OptimizerGroup convert(const LionOptions& o) {
  OptimizerGroup g = common(UpdateRule::lion, o, true);
  set_betas(g, o.betas);
  return g;
}

template <class Options>
std::vector<OptimizerGroup> converted(const char* name, std::vector<ParameterGroup<Options>> groups) {
  OpScope scope(name);
  std::vector<OptimizerGroup> result;
  for (auto& group : groups) {
    result.push_back(convert(group.options));
    result.back().params = std::move(group.params);
  }
  return result;
}

template <class Options>
std::vector<ParameterGroup<Options>> one_group(std::vector<Tensor> params, const Options& options) {
  std::vector<ParameterGroup<Options>> groups(1);
  groups[0] = {std::move(params), options};
  return groups;
}

}  // namespace

SGD::SGD(std::vector<Tensor> params, SgdOptions options) : SGD(one_group(std::move(params), options)) {}
SGD::SGD(std::vector<ParameterGroup<SgdOptions>> groups)
    : Optimizer("SGD", converted("SGD", std::move(groups))) {}

Adagrad::Adagrad(std::vector<Tensor> params, AdagradOptions options)
    : Adagrad(one_group(std::move(params), options)) {}
Adagrad::Adagrad(std::vector<ParameterGroup<AdagradOptions>> groups)
    : Optimizer("Adagrad", converted("Adagrad", std::move(groups))) {}

Adadelta::Adadelta(std::vector<Tensor> params, AdadeltaOptions options)
    : Adadelta(one_group(std::move(params), options)) {}
Adadelta::Adadelta(std::vector<ParameterGroup<AdadeltaOptions>> groups)
    : Optimizer("Adadelta", converted("Adadelta", std::move(groups))) {}

RMSprop::RMSprop(std::vector<Tensor> params, RmspropOptions options)
    : RMSprop(one_group(std::move(params), options)) {}
RMSprop::RMSprop(std::vector<ParameterGroup<RmspropOptions>> groups)
    : Optimizer("RMSprop", converted("RMSprop", std::move(groups))) {}

Adam::Adam(std::vector<Tensor> params, AdamOptions options) : Adam(one_group(std::move(params), options)) {}
Adam::Adam(std::vector<ParameterGroup<AdamOptions>> groups)
    : Optimizer("Adam", converted("Adam", std::move(groups))) {}

AdamW::AdamW(std::vector<Tensor> params, AdamWOptions options)
    : AdamW(one_group(std::move(params), options)) {}
AdamW::AdamW(std::vector<ParameterGroup<AdamWOptions>> groups)
    : Optimizer("AdamW", converted("AdamW", std::move(groups))) {}

NAdam::NAdam(std::vector<Tensor> params, NadamOptions options)
    : NAdam(one_group(std::move(params), options)) {}
NAdam::NAdam(std::vector<ParameterGroup<NadamOptions>> groups)
    : Optimizer("NAdam", converted("NAdam", std::move(groups))) {}

Lion::Lion(std::vector<Tensor> params, LionOptions options) : Lion(one_group(std::move(params), options)) {}
Lion::Lion(std::vector<ParameterGroup<LionOptions>> groups)
    : Optimizer("Lion", converted("Lion", std::move(groups))) {}

}  // namespace gpunn
