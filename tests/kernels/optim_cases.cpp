#include <string>
#include <vector>

#include "gpunn/kernels/optim/optim_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Sizes = std::vector<std::int64_t>;

struct Variant {
  const char* name;
  UpdateSettings settings;
  StepValues values{.rate = 0.1};
  bool all_shapes = false;  // one variant of each rule
};

using R = UpdateRule;
const Variant kVariants[] = {
    {"plain", {.rule = R::sgd}},
    {"decay", {.rule = R::sgd, .weight_decay = 0.01}},
    {"decoupled", {.rule = R::sgd}, {.rate = 0.1, .keep = 0.98}},
    {"first step",
     {.rule = R::sgd, .beta1 = 0.9, .dampening = 0.5, .weight_decay = 0.01, .first_step = true}},
    {"dampening", {.rule = R::sgd, .beta1 = 0.9, .dampening = 0.5, .l1_decay = 0.02}},
    {"nesterov", {.rule = R::sgd, .beta1 = 0.9, .weight_decay = 0.01, .nesterov = true}},
    {"maximize", {.rule = R::sgd, .beta1 = 0.9, .weight_decay = 0.01, .maximize = true}, {.rate = 0.1}, true},
    {"plain", {.rule = R::adagrad, .eps = 1e-10}},
    {"decay", {.rule = R::adagrad, .eps = 0.1, .weight_decay = 0.01, .maximize = true}, {.rate = 0.1}, true},
    {"plain", {.rule = R::adadelta, .beta2 = 0.9, .eps = 1e-6}, {.rate = 1}},
    {"decay", {.rule = R::adadelta, .beta2 = 0.8, .eps = 0.1, .weight_decay = 0.01}, {.rate = 1}, true},
    {"plain", {.rule = R::rmsprop, .beta2 = 0.99, .eps = 1e-8}},
    {"momentum", {.rule = R::rmsprop, .beta1 = 0.9, .beta2 = 0.9, .eps = 1e-8}},
    {"centered",
     {.rule = R::rmsprop, .beta1 = 0.9, .beta2 = 0.9, .eps = 1e-2, .l1_decay = 0.01, .centered = true},
     {.rate = 0.1},
     true},
    {"plain", {.rule = R::adam, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}, {.rate = 0.1, .denominator = 3}},
    {"decoupled", {.rule = R::adam, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}, {.rate = 0.1, .keep = 0.99}},
    {"amsgrad",
     {.rule = R::adam, .beta1 = 0.8, .beta2 = 0.9, .eps = 0.1, .weight_decay = 0.01, .amsgrad = true},
     {.rate = 0.1},
     true},
    {"plain",
     {.rule = R::nadam, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .maximize = true},
     {.rate = 0.1, .grad_rate = 0.05, .denominator = 2},
     true},
    {"gradient first", {.rule = R::lion, .beta1 = 0.1, .beta2 = 0.99}},
    {"decay", {.rule = R::lion, .beta1 = 0.8, .beta2 = 0.9}, {.rate = 0.1, .keep = 0.97}, true},
};

/// States that are averages of squares are positive; a centered variance stays away from 0.
CaseOptions options_of(const Variant& v) {
  const bool first_is_square = v.settings.rule != R::sgd && v.settings.rule != R::adam &&
                               v.settings.rule != R::nadam && v.settings.rule != R::lion;
  CaseOptions o;
  o.scale = Scale::operand;  // w - rate * g cancels: the bound is relative to w's size
  o.fills = {
      {"state0", first_is_square ? fill::uniform(1.5, 2.5) : fill::normal(0, 1)},
      {"state1", v.settings.rule == R::rmsprop ? fill::normal(0, 1) : fill::uniform(0.5, 2)},
      {"state2", v.settings.rule == R::rmsprop ? fill::uniform(-0.5, 0.5) : fill::uniform(0.5, 2)},
      {"values", fill::cycle({v.values.rate, v.values.grad_rate, v.values.denominator, v.values.keep})}};
  if (v.settings.rule == R::lion) {
    // The sign of a difference that cancels is anyone's: one of the two terms decides.
    const Fill small = fill::uniform(-3, 3), large = fill::avoid(0, 0.8, small);
    o.fills[0].second = v.settings.beta1 > 0.5 ? large : small;
    o.fills.push_back({"grad", v.settings.beta1 > 0.5 ? small : large});
  }
  // A fill names an operand that is there.
  for (int j = kMaxStates - 1; j >= 0; --j) {
    UpdateProblem p{};
    p.settings = v.settings;
    p.count = 1;
    bool there = false;
    for (const Operand& operand : operands(p)) there = there || operand.name == "state" + std::to_string(j);
    if (!there) o.fills.erase(o.fills.begin() + j);
  }
  return o;
}

void add(Suite& suite, const Variant& v, const std::string& what, const Sizes& sizes, const CaseOptions& o,
         bool master = false) {
  suite.add(
      kUpdateStep[static_cast<int>(v.settings.rule)], std::string(v.name) + " " + what,
      [=] {
        UpdateProblem p{};
        p.settings = v.settings;
        p.master = master;
        p.count = static_cast<int>(sizes.size());
        for (std::size_t t = 0; t < sizes.size(); ++t) p.slots[t].n = sizes[t];
        return p;
      },
      o);
}

void add_steps(Suite& suite) {
  const Sizes mixed{31, 1, 32, 33, 8192, 1009, 8193, 2};
  for (const Variant& v : kVariants) {
    CaseOptions o = options_of(v);
    add(suite, v, "many sizes", mixed, o);
    CaseOptions unaligned = o;
    unaligned.shift = 1;
    add(suite, v, "unaligned", {1009, 40}, unaligned);
    CaseOptions master = o;
    master.dtypes = {DType::f16, DType::bf16};
    add(suite, v, "master", {1009, 8, 3}, master, true);
    if (!v.all_shapes) continue;
    CaseOptions one = o;  // a single element must not cancel, it is the whole scale
    one.fills.push_back({"param", fill::constant(2.3)});
    one.fills.push_back({"grad", fill::constant(0.7)});
    add(suite, v, "one", {1}, one);
    add(suite, v, "primes", {7, 127, 251}, o);
    add(suite, v, "large", {70001, 5}, o);
    add(suite, v, "full table", Sizes(kUpdateTensors, 3), o);
    CaseOptions shifted = master;
    shifted.shift = 1;
    add(suite, v, "master unaligned", {517, 8}, shifted, true);
  }
}

NormProblem norm_problem(NormKind kind, double exponent, const Sizes& sizes) {
  NormProblem p{};
  p.kind = kind;
  p.exponent = exponent;
  p.count = static_cast<int>(sizes.size());
  for (std::size_t t = 0; t < sizes.size(); ++t) p.slots[t].n = sizes[t];
  return p;
}

void add_norms(Suite& suite) {
  struct Norm {
    const char* name;
    NormKind kind;
    double exponent;
  };
  const Norm norms[] = {{"1", NormKind::one, 1},
                        {"2", NormKind::two, 2},
                        {"infinity", NormKind::infinity, 0},
                        {"2.5", NormKind::power, 2.5}};
  for (const Norm& n : norms) {
    const std::string name = std::string("norm ") + n.name;
    CaseOptions o;
    o.k = static_cast<double>(kNormChunk);
    o.small = true;
    suite.add(
        kNormPartials, name + " many sizes",
        [=] { return norm_problem(n.kind, n.exponent, {31, 1, 33, 8192, 8193, 20000, 2}); }, o);
    o.small = false;
    o.shift = 1;
    suite.add(
        kNormPartials, name + " unaligned", [=] { return norm_problem(n.kind, n.exponent, {1009, 40}); }, o);
    for (const std::int64_t count : {1, 257, 5000}) {
      CaseOptions join;
      join.k = static_cast<double>(count);
      join.fills = {{"partials", fill::uniform(0.1, 3)}};
      join.dtypes = {DType::f32};
      suite.add(
          kNormJoin, name + " of " + std::to_string(count),
          [=] {
            NormJoinProblem p{};
            p.kind = n.kind;
            p.exponent = n.exponent;
            p.max_norm = 0.75;
            p.n = count;
            return p;
          },
          join);
    }
  }
  suite.add(kNormPartials, "full table",
            [] { return norm_problem(NormKind::two, 2, Sizes(kClipTensors, 3)); }, {.k = 3});
}

void add_rescaling(Suite& suite) {
  const Sizes shapes[] = {{1}, {31, 1, 33, 8192, 8193, 2}, {70001, 5}, Sizes(kClipTensors, 3)};
  for (const bool clamps : {false, true}) {
    for (const std::int64_t shift : {0, 1}) {
      for (const Sizes& sizes : shapes) {
        if (shift && sizes.size() == kClipTensors) continue;
        CaseOptions o;
        o.shift = shift;
        if (!clamps) o.fills = {{"scale", fill::constant(0.37)}};
        suite.add(
            kRescale,
            std::string(clamps ? "clamp " : "scale ") + std::to_string(sizes.size()) + " tensors, first of " +
                std::to_string(sizes[0]) + ", shift " + std::to_string(shift),
            [=] {
              RescaleProblem p{};
              p.clamps = clamps;
              p.bound = 0.8;
              p.count = static_cast<int>(sizes.size());
              for (std::size_t t = 0; t < sizes.size(); ++t) p.slots[t].n = sizes[t];
              return p;
            },
            o);
      }
    }
  }
}

}  // namespace

void add_optim_cases(Suite& suite) {
  add_steps(suite);
  add_norms(suite);
  add_rescaling(suite);
}

}  // namespace gpunn::parity
