#include <cmath>
#include <limits>
#include <string>

#include "gpunn/kernels/loss/loss_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

std::string name_of(LossKind kind, std::int64_t n, Reduction r, const char* what) {
  constexpr const char* names[kLossKinds] = {"mse ",
                                             "l1 ",
                                             "smooth_l1 ",
                                             "huber ",
                                             "bce ",
                                             "bce_with_logits ",
                                             "kl_div ",
                                             "kl_div_log ",
                                             "hinge_embedding ",
                                             "margin ",
                                             "cosine_embedding "};
  return names[static_cast<int>(kind)] + std::to_string(n) + " " + gpunn::name_of(r) + what;
}

bool takes_labels(LossKind kind) {
  return kind == LossKind::hinge_embedding || kind == LossKind::margin || kind == LossKind::cosine_embedding;
}

/// Inputs of the kind: numbers, probabilities, labels.
CaseOptions options_for(LossKind kind, std::int64_t n) {
  CaseOptions o;
  o.k = static_cast<double>(n > 0 ? n : 1);
  o.c = 8;
  o.scale = Scale::operand;
  const Fill probabilities = fill::uniform(0.001, 0.999), anything = fill::normal(0, 2);
  const bool bce = kind == LossKind::bce || kind == LossKind::bce_with_logits;
  // Multiples of 1/4 are exact in every dtype: kinks are met, and met alike.
  const Fill steps = [](std::int64_t, PhiloxStream& random) {
    return 0.25 * std::round(6 * random.normal());
  };
  const bool kinks =
      !bce && kind != LossKind::mse && kind != LossKind::kl_div && kind != LossKind::kl_div_log;
  o.fills = {{"x", kind == LossKind::bce ? probabilities
                   : kinks               ? steps
                                         : anything},
             {"y", takes_labels(kind)                ? fill::cycle({1, -1, -1, 1, 1})
                   : bce || kind == LossKind::kl_div ? probabilities
                   : kinks                           ? steps
                                                     : anything}};
  if (kinks) o.zeros_ok = {"loss", "dx", "dy"};
  o.small = n <= 2000 && (kind == LossKind::mse || kind == LossKind::bce_with_logits);  // one kernel for all
  return o;
}

template <class P>
P problem_of(LossKind kind, std::int64_t n, Reduction r) {
  P p{};
  p.n = n, p.kind = kind, p.reduction = r;
  p.parameter = kind == LossKind::cosine_embedding ? 0.5 : 0.75;
  return p;
}

void add_forward(Suite& suite, LossKind kind, std::int64_t n, Reduction r, const CaseOptions& o,
                 const char* what = "", bool weighted = false) {
  suite.add(
      kLossForward, name_of(kind, n, r, what),
      [=] {
        auto p = problem_of<LossProblem>(kind, n, r);
        p.has_weight = weighted, p.has_pos_weight = weighted;
        return p;
      },
      o);
}

void add_backward(Suite& suite, LossKind kind, std::int64_t n, Reduction r, const CaseOptions& o,
                  bool want_dx, bool want_dy, const char* what = "", bool weighted = false) {
  suite.add(
      kLossBackward, name_of(kind, n, r, what),
      [=] {
        auto p = problem_of<LossBackwardProblem>(kind, n, r);
        p.want_dx = want_dx, p.want_dy = want_dy;
        p.has_weight = weighted, p.has_pos_weight = weighted;
        return p;
      },
      o);
}

void add_kind(Suite& suite, LossKind kind) {
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    for (const std::int64_t n : {1, 31, 32, 33, 1009, 70001}) {
      if (n > 2000 && (r != Reduction::mean || kind > LossKind::l1)) continue;
      const CaseOptions o = options_for(kind, n);
      add_forward(suite, kind, n, r, o);
      add_backward(suite, kind, n, r, o, true, !takes_labels(kind));
    }
    CaseOptions o = options_for(kind, 257);
    if (!takes_labels(kind)) {
      add_backward(suite, kind, 257, r, o, true, false, " dx only");
      add_backward(suite, kind, 257, r, o, false, true, " dy only");
    }
    o.shift = 1;
    add_forward(suite, kind, 257, r, o, " unaligned");
    add_backward(suite, kind, 257, r, o, true, !takes_labels(kind), " unaligned");
    o.zeros_ok = {"loss"};
    if (r != Reduction::none) add_forward(suite, kind, 0, r, o);
  }
}

/// Element by element, so that one infinity does not hide the rest: certain and impossible probabilities,
/// logits where exp() underflows, and what is not a number.
void add_special(Suite& suite, LossKind kind) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  CaseOptions o = options_for(kind, 60);
  o.scale = Scale::element;
  o.zeros_ok = {"loss", "dx", "dy"};
  if (kind == LossKind::bce)
    o.fills[0].second = fill::cycle({0, 1, 1e-7, 0.5, 0.9999, -0.5, 1.5, kNan});
  else
    o.fills[0].second = fill::cycle({0, 1, -1, 30, -30, 200, -200, 1e4, -1e4, kInfinity, -kInfinity, kNan});
  if (kind == LossKind::kl_div_log)
    o.fills[1].second = fill::cycle({0, -1, -kInfinity, -0.25, -0.5});
  else
    o.fills[1].second = takes_labels(kind) ? fill::cycle({0, 1, -1, 1, -1}) : fill::cycle({0, 1, 0.5, 1, 0});
  add_forward(suite, kind, 60, Reduction::none, o, " special values");
  // sigmoid(x) - y cancels where both are near 1, and ln y + 1 - x anywhere, as they do in PyTorch.
  if (kind == LossKind::bce_with_logits || kind == LossKind::kl_div) o.scale = Scale::operand;
  add_backward(suite, kind, 60, Reduction::none, o, true, !takes_labels(kind), " special values");
}

struct PairSize {
  std::int64_t rows, cols;
};

template <class P>
P pair_problem(PairSize s, PairKind kind, double exponent) {
  P p{};
  p.rows = s.rows, p.cols = s.cols, p.kind = kind, p.p = exponent;
  p.eps = kind == PairKind::cosine ? 0x1p-10 : 1e-6;
  return p;
}

/// What forward saves for the rows drawn.
void prepare_pair(PairBackwardProblem& p) {
  pair_fwd_ref({p.dtype, p.x1, p.x2, const_cast<void*>(p.y), const_cast<void*>(p.norms), p.rows, p.cols,
                p.kind, p.p, p.eps},
               {});
}

void add_pair(Suite& suite, PairSize s, PairKind kind, double exponent, CaseOptions o,
              const char* what = "") {
  const std::string name = (kind == PairKind::cosine ? "cosine " : "distance ") + std::to_string(exponent) +
                           " " + std::to_string(s.rows) + "x" + std::to_string(s.cols) + what;
  o.k = static_cast<double>(s.cols > 0 ? s.cols : 1);
  o.c = 12;  // a power is exp(p ln |v|) on the CPU: p |ln v| roundings
  o.scale = Scale::operand;
  o.small = s.rows * s.cols <= 500;
  suite.add(kPairForward, name, [=] { return pair_problem<PairProblem>(s, kind, exponent); }, o);
  if (s.rows == 0) return;
  suite.add(
      kPairBackward, name, [=] { return pair_problem<PairBackwardProblem>(s, kind, exponent); }, o,
      prepare_pair);
}

void add_pairs(Suite& suite) {
  for (const PairSize s : {PairSize{0, 5}, PairSize{1, 2}, PairSize{7, 31}, PairSize{4, 32}, PairSize{3, 33},
                           PairSize{33, 500}}) {
    CaseOptions o;
    add_pair(suite, s, PairKind::cosine, 2, o);
    for (const double exponent : {1.0, 2.0, 3.0}) add_pair(suite, s, PairKind::distance, exponent, o);
  }
  CaseOptions o;
  o.shift = 1;
  add_pair(suite, {5, 40}, PairKind::cosine, 2, o, " unaligned");
  add_pair(suite, {5, 40}, PairKind::distance, 2.5, o, " unaligned");
  o = {};
  // Rows of zeros and rows shorter than eps.
  o.fills = {{"x1", fill::cycle({0, 0, 0, 0, 1e-5, 2e-5, 0, 0, 1, 2, 3, -4})},
             {"x2", fill::cycle({1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4})}};
  o.zeros_ok = {"y", "dx1", "dx2"};
  o.dtypes = {DType::f32, DType::bf16};
  add_pair(suite, {3, 4}, PairKind::cosine, 2, o, " zeros");
  for (const double exponent : {1.0, 2.0, 3.0})
    add_pair(suite, {3, 4}, PairKind::distance, exponent, o, " zeros");
}

}  // namespace

void add_loss_cases(Suite& suite) {
  for (int k = 0; k < kLossKinds; ++k) {
    add_kind(suite, static_cast<LossKind>(k));
    add_special(suite, static_cast<LossKind>(k));
  }
  add_pairs(suite);
  for (const LossKind kind : {LossKind::bce, LossKind::bce_with_logits}) {
    for (const Reduction r : {Reduction::none, Reduction::mean}) {
      CaseOptions o = options_for(kind, 1009);
      o.fills.push_back({"weight", fill::uniform(0.1, 3)});
      o.fills.push_back({"pos_weight", fill::every(3, 1, fill::uniform(0.1, 3))});
      add_forward(suite, kind, 1009, r, o, " weighted", true);
      add_backward(suite, kind, 1009, r, o, true, true, " weighted", true);
    }
  }
}

}  // namespace gpunn::parity
