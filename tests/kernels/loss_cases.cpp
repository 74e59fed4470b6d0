#include <limits>
#include <string>

#include "gpunn/kernels/loss/loss_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr LossKind kKinds[] = {LossKind::mse, LossKind::bce, LossKind::bce_with_logits};

std::string name_of(LossKind kind, std::int64_t n, Reduction r, const char* what) {
  constexpr const char* names[] = {"mse ", "bce ", "bce_with_logits "};
  return names[static_cast<int>(kind)] + std::to_string(n) + " " + gpunn::name_of(r) + what;
}

/// Inputs of the kind: numbers, or probabilities and targets in [0, 1].
CaseOptions options_for(LossKind kind, std::int64_t n) {
  CaseOptions o;
  o.k = static_cast<double>(n > 0 ? n : 1);
  o.c = 8;
  o.scale = Scale::operand;
  const Fill probabilities = fill::uniform(0.001, 0.999), anything = fill::normal(0, 2);
  o.fills = {{"x", kind == LossKind::bce ? probabilities : anything},
             {"y", kind == LossKind::mse ? anything : probabilities}};
  o.small = n <= 2000;
  return o;
}

void add_forward(Suite& suite, LossKind kind, std::int64_t n, Reduction r, const CaseOptions& o,
                 const char* what = "") {
  suite.add(
      kLossForward, name_of(kind, n, r, what),
      [=] {
        LossProblem p{};
        p.n = n, p.kind = kind, p.reduction = r;
        return p;
      },
      o);
}

void add_backward(Suite& suite, LossKind kind, std::int64_t n, Reduction r, const CaseOptions& o,
                  bool want_dx, bool want_dy, const char* what = "") {
  suite.add(
      kLossBackward, name_of(kind, n, r, what),
      [=] {
        LossBackwardProblem p{};
        p.n = n, p.kind = kind, p.reduction = r, p.want_dx = want_dx, p.want_dy = want_dy;
        return p;
      },
      o);
}

}  // namespace

void add_loss_cases(Suite& suite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const LossKind kind : kKinds) {
    for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
      for (const std::int64_t n : {1, 31, 32, 33, 1009, 70001}) {
        if (n > 2000 && r != Reduction::mean) continue;
        const CaseOptions o = options_for(kind, n);
        add_forward(suite, kind, n, r, o);
        add_backward(suite, kind, n, r, o, true, true);
      }
      CaseOptions o = options_for(kind, 257);
      add_backward(suite, kind, 257, r, o, true, false, " dx only");
      add_backward(suite, kind, 257, r, o, false, true, " dy only");
      o.shift = 1;
      add_forward(suite, kind, 257, r, o, " unaligned");
      add_backward(suite, kind, 257, r, o, true, true, " unaligned");
      o.zeros_ok = {"loss"};
      if (r != Reduction::none) add_forward(suite, kind, 0, r, o);
    }
    // Element by element, so that one infinity does not hide the rest: certain and impossible probabilities,
    // logits where exp() underflows, and what is not a number.
    CaseOptions o = options_for(kind, 60);
    o.scale = Scale::element;
    o.zeros_ok = {"loss", "dx", "dy"};
    if (kind == LossKind::bce)
      o.fills[0].second = fill::cycle({0, 1, 1e-7, 0.5, 0.9999, -0.5, 1.5, kNan});
    else
      o.fills[0].second = fill::cycle({0, 1, -1, 30, -30, 200, -200, 1e4, -1e4, kInfinity, -kInfinity, kNan});
    o.fills[1].second = fill::cycle({0, 1, 0.5, 1, 0});
    add_forward(suite, kind, 60, Reduction::none, o, " special values");
    // sigmoid(x) - y cancels where both are near 1, as it does in PyTorch.
    if (kind == LossKind::bce_with_logits) o.scale = Scale::operand;
    add_backward(suite, kind, 60, Reduction::none, o, true, true, " special values");
  }
}

}  // namespace gpunn::parity
