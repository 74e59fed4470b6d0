#include <string>
#include <vector>

#include "gpunn/kernels/optim/optim_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

struct Settings {
  const char* name;
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize, first_step;
};

const Settings kSettings[] = {
    {"plain", 0.1, 0, 0, 0, false, false, false},
    {"decay", 0.1, 0, 0, 0.01, false, false, false},
    {"momentum", 0.1, 0.9, 0, 0, false, false, false},
    {"first step", 0.1, 0.9, 0.5, 0.01, false, false, true},
    {"dampening", 0.1, 0.9, 0.5, 0, false, false, false},
    {"nesterov", 0.1, 0.9, 0, 0.01, true, false, false},
    {"maximize", 0.1, 0.9, 0, 0.01, false, true, false},
};

void add(Suite& suite, const Settings& s, const std::string& what, const std::vector<std::int64_t>& sizes,
         CaseOptions o = {}) {
  // w - lr * g cancels: the bound is relative to w's size.
  o.scale = Scale::operand;
  suite.add(
      kSgdStep, std::string(s.name) + " " + what,
      [=] {
        SgdProblem p{};
        p.lr = s.lr, p.momentum = s.momentum, p.dampening = s.dampening, p.weight_decay = s.weight_decay;
        p.nesterov = s.nesterov, p.maximize = s.maximize, p.first_step = s.first_step;
        p.count = static_cast<int>(sizes.size());
        for (std::size_t t = 0; t < sizes.size(); ++t) p.slots[t].n = sizes[t];
        return p;
      },
      o);
}

}  // namespace

void add_optim_cases(Suite& suite) {
  for (const Settings& s : kSettings) {
    CaseOptions one;  // a single element must not cancel, it is the whole scale
    one.fills = {
        {"param", fill::constant(2.3)}, {"grad", fill::constant(0.7)}, {"momentum", fill::constant(0.4)}};
    add(suite, s, "one", {1}, one);
    add(suite, s, "many sizes", {31, 1, 32, 33, 8192, 1009, 8193, 2});
    add(suite, s, "large", {70001, 5});
    add(suite, s, "full table", std::vector<std::int64_t>(kSgdTensors, 3));
    CaseOptions unaligned;
    unaligned.shift = 1;
    add(suite, s, "unaligned", {1009, 40}, unaligned);
  }
}

}  // namespace gpunn::parity
