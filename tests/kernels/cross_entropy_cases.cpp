#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kIgnore = -100;
constexpr Reduction kReductions[] = {Reduction::none, Reduction::mean, Reduction::sum};

struct Size {
  std::int64_t rows, cols;
};

std::string name_of(Size s, Reduction r, const char* what) {
  return std::to_string(s.rows) + "x" + std::to_string(s.cols) + " " + gpunn::name_of(r) + what;
}

/// What there is beside plain class numbers.
struct Extra {
  bool weight = false, soft = false;
  double smoothing = 0;
  const char* name = "";
};

template <class P>
P problem(Size s, Reduction r, const Extra& extra) {
  P p{};
  p.rows = s.rows, p.cols = s.cols, p.reduction = r;
  p.targets.ignore_index = kIgnore;
  p.targets.smoothing = extra.smoothing;
  p.targets.has_soft = extra.soft;
  p.targets.has_weight = extra.weight;
  return p;
}

/// Some rows are ignored; logits as a network gives them.
CaseOptions options_for(Size s) {
  CaseOptions o;
  o.k = static_cast<double>(s.cols + s.rows);
  // A loss is a difference of logits: it errs by eps times their size (up to 8 here), whatever is left.
  o.c = 16;
  o.scale = Scale::operand;
  o.fills = {{"logits", fill::normal(0, 2)},
             {"target", fill::every(5, kIgnore, fill::integers(0, s.cols), 3)},
             {"weight", fill::uniform(0.5, 2)},
             {"soft", fill::uniform(0, 2 / static_cast<double>(s.cols))}};
  o.small = s.rows * s.cols <= 2100;  // a block per row included: 2x1025
  return o;
}

void add_forward(Suite& suite, Size s, Reduction r, const CaseOptions& o, const char* what = "",
                 const Extra& extra = {}) {
  suite.add(
      kCrossEntropyForward, name_of(s, r, what) + extra.name,
      [=] { return problem<CrossEntropyProblem>(s, r, extra); }, o);
}

/// Statistics and count are what forward saves for the logits drawn.
void add_backward(Suite& suite, Size s, Reduction r, const CaseOptions& o, const char* what = "",
                  const Extra& extra = {}) {
  suite.add(
      kCrossEntropyBackward, name_of(s, r, what) + extra.name,
      [=] {
        auto p = problem<CrossEntropyBackwardProblem>(s, r, extra);
        p.want_dsoft = extra.soft;
        return p;
      },
      o,
      [](CrossEntropyBackwardProblem& p) {
        std::vector<double> loss(static_cast<std::size_t>(p.rows + 1));
        cross_entropy_fwd_ref({p.dtype, p.logits, p.targets, loss.data(), const_cast<void*>(p.stats),
                               const_cast<void*>(p.count), p.rows, p.cols, p.reduction},
                              {});
      });
}

/// Rows: ordinary with some -inf, all -inf, +inf, NaN, equal values, and a target whose logit is -inf.
Fill special_rows(std::int64_t cols) {
  return [cols](std::int64_t i, PhiloxStream& random) {
    const double drawn = random.normal();
    switch (i / cols) {
      case 0:
        return i % 3 == 1 ? -kInfinity : drawn;
      case 1:
        return -kInfinity;
      case 2:
        return i % cols == cols / 2 ? kInfinity : drawn;
      case 3:
        return i % cols == cols / 2 ? kNan : drawn;
      case 4:
        return 7.0;
      default:
        return i % cols == 0 ? -kInfinity : drawn;
    }
  };
}

void add_special(Suite& suite, std::int64_t cols, Reduction r) {
  const Size s{6, cols};
  CaseOptions o = options_for(s);
  o.small = false;
  o.fills = {{"logits", special_rows(cols)}, {"target", fill::constant(0)}};
  o.zeros_ok = {"dlogits"};
  add_forward(suite, s, r, o, " special values");
  add_backward(suite, s, r, o, " special values");
  o.fills[0].second = fill::normal(0, 1e4);
  add_forward(suite, s, r, o, " large magnitudes");
  add_backward(suite, s, r, o, " large magnitudes");
  o = options_for(s);
  o.fills[1].second = fill::constant(kIgnore);
  o.zeros_ok = {"loss", "stats", "count", "dlogits"};
  add_forward(suite, s, r, o, " all ignored");
  add_backward(suite, s, r, o, " all ignored");
  // Unchecked bad labels: NaN in their rows (and in what is reduced from them), nothing read out of bounds.
  o.fills[1].second = fill::cycle({0, static_cast<double>(cols), -1, 1e15, kIgnore, 1});
  add_forward(suite, s, r, o, " bad targets");
  add_backward(suite, s, r, o, " bad targets");
  o = options_for(s);
  o.shift = 1;
  add_forward(suite, s, r, o, " unaligned");
  add_backward(suite, s, r, o, " unaligned");
}

/// Class weights, label smoothing and probabilities, alone and together.
void add_extras(Suite& suite, Size s, Reduction r) {
  const Extra extras[] = {{true, false, 0, " weight"},
                          {false, false, 0.1, " smoothing"},
                          {true, false, 0.2, " weight smoothing"},
                          {false, true, 0, " soft"},
                          {true, true, 0.3, " weight soft smoothing"}};
  for (const Extra& e : extras) {
    CaseOptions o = options_for(s);
    o.small = o.small && r == Reduction::mean && e.weight;
    add_forward(suite, s, r, o, "", e);
    add_backward(suite, s, r, o, "", e);
  }
}

/// Weights of 0 (also of whole rows), certain targets, logits of -inf, and unchecked bad labels.
void add_special_extras(Suite& suite, std::int64_t cols) {
  const Size s{6, cols};
  for (const Extra& e : {Extra{true, false, 0, " weight"}, Extra{true, false, 0.1, " weight smoothing"},
                         Extra{true, true, 0, " weight soft"}}) {
    CaseOptions o = options_for(s);
    o.small = false;
    o.fills = {{"logits", special_rows(cols)},
               {"target", fill::cycle({0, 1, 2, 3, kIgnore, 4})},
               {"weight", fill::cycle({0, 1, 2})},
               {"soft", fill::cycle({0, 0, 1, 0})}};
    o.zeros_ok = {"loss", "stats", "dlogits", "dsoft"};
    add_forward(suite, s, Reduction::none, o, " special values", e);
    // Where the logit is -inf and the target says otherwise, the slope of the target is infinite.
    add_backward(suite, s, Reduction::none, o, " special values", e);
    o.fills[0].second = fill::normal(0, 2);
    o.fills[1].second = fill::cycle({0, static_cast<double>(cols), -1, 1e15, kIgnore, 1});
    add_forward(suite, s, Reduction::none, o, " bad targets", e);
    add_backward(suite, s, Reduction::none, o, " bad targets", e);
  }
}

struct NllSize {
  std::int64_t outer, classes, inner;
};

template <class P>
P nll_problem(NllSize s, Reduction r, bool weight) {
  P p{};
  p.outer = s.outer, p.classes = s.classes, p.inner = s.inner;
  p.ignore_index = kIgnore, p.reduction = r, p.has_weight = weight;
  return p;
}

void add_nll(Suite& suite, NllSize s, Reduction r, bool weight, const Fill& target, const char* what = "") {
  const std::string name = std::to_string(s.outer) + "x" + std::to_string(s.classes) + "x" +
                           std::to_string(s.inner) + " " + gpunn::name_of(r) + (weight ? " weight" : "") +
                           what;
  CaseOptions o;
  o.k = static_cast<double>(s.outer * s.inner + 1);
  o.scale = Scale::operand;
  o.fills = {{"x", fill::uniform(-5, -0.1)}, {"target", target}, {"weight", fill::uniform(0.5, 2)}};
  o.zeros_ok = {"loss", "dx", "count"};
  o.small = s.outer * s.classes * s.inner <= 2000;
  suite.add(kNllForward, name, [=] { return nll_problem<NllProblem>(s, r, weight); }, o);
  if (s.outer * s.inner == 0) return;
  o.fills.erase(o.fills.begin());
  o.fills.push_back({"count", fill::uniform(3, 4)});
  if (r != Reduction::mean) o.fills.pop_back();
  suite.add(kNllBackward, name, [=] { return nll_problem<NllBackwardProblem>(s, r, weight); }, o);
}

void add_nll_cases(Suite& suite) {
  for (const Reduction r : kReductions) {
    for (const NllSize s : {NllSize{0, 3, 1}, NllSize{1, 1, 1}, NllSize{33, 10, 1}, NllSize{3, 7, 31},
                            NllSize{257, 3, 2}, NllSize{2, 1009, 1}})
      for (const bool weight : {false, true})
        add_nll(suite, s, r, weight, fill::every(5, kIgnore, fill::integers(0, s.classes), 3));
    add_nll(suite, {4, 5, 3}, r, true, fill::constant(kIgnore), " all ignored");
    add_nll(suite, {4, 5, 3}, r, true, fill::cycle({0, 5, -1, 1e15, kIgnore, 1}), " bad targets");
  }
  add_nll(suite, {300, 11, 21}, Reduction::mean, true, fill::integers(0, 11));
}

void add_targets(Suite& suite, std::int64_t rows, const char* what, Fill target) {
  CaseOptions o;
  o.fills = {{"target", std::move(target)}};
  o.dtypes = {DType::f32};  // labels only
  o.small = rows <= 4000;
  suite.add(
      kCrossEntropyTargets, std::to_string(rows) + " " + what,
      [=] {
        TargetCheckProblem p{};
        p.rows = rows, p.classes = 10, p.ignore_index = kIgnore;
        return p;
      },
      o);
}

}  // namespace

void add_cross_entropy_cases(Suite& suite) {
  const std::vector<Size> sizes = {{1, 1},   {7, 1},    {5, 31},   {4, 32},   {3, 33},   {64, 10},
                                   {13, 97}, {33, 500}, {2, 1024}, {2, 1025}, {3, 1999}, {300, 10}};
  for (const Reduction r : kReductions) {
    for (const Size s : sizes) {
      CaseOptions o = options_for(s);
      o.small = o.small && r == Reduction::mean;                   // it runs every kernel
      if (s.cols == 1) o.zeros_ok = {"loss", "stats", "dlogits"};  // probability 1: no loss, no gradient
      add_forward(suite, s, r, o);
      add_backward(suite, s, r, o);
    }
    for (const std::int64_t cols : {40, 1300}) add_special(suite, cols, r);
    for (const Size s : {Size{5, 3}, Size{13, 97}, Size{3, 1999}}) add_extras(suite, s, r);
  }
  for (const std::int64_t cols : {40, 1300}) add_special_extras(suite, cols);
  CaseOptions empty = options_for({0, 5});
  empty.zeros_ok = {"loss", "count"};
  for (const Reduction r : kReductions) add_forward(suite, {0, 5}, r, empty);
  add_forward(suite, {3, 30011}, Reduction::mean, options_for({3, 30011}));
  add_backward(suite, {3, 30011}, Reduction::mean, options_for({3, 30011}));
  // A row that is cut into parts, most of them without a finite logit.
  CaseOptions cut = options_for({2, 20000});
  cut.fills[0].second = [](std::int64_t i, PhiloxStream& random) {
    return i % 20000 < 9000 ? -kInfinity : random.normal();
  };
  cut.fills[1].second = fill::constant(19999);
  cut.zeros_ok = {"dlogits"};
  cut.dtypes = {DType::f32};
  for (const Extra& e : {Extra{}, Extra{true, false, 0.1, " weight smoothing"}}) {
    add_forward(suite, {2, 20000}, Reduction::none, cut, " cut", e);
    add_backward(suite, {2, 20000}, Reduction::none, cut, " cut", e);
  }
  add_nll_cases(suite);

  const Fill good = fill::every(7, kIgnore, fill::integers(0, 10));
  add_targets(suite, 0, "none", good);
  add_targets(suite, 1000, "good", good);
  add_targets(suite, 1000, "negative", fill::every(400, -1, good, 123));
  add_targets(suite, 1000, "too large", fill::every(1000, 10, good, 999));
  add_targets(suite, 70000, "far beyond", fill::every(1000, 1e15, good, 60001));
}

}  // namespace gpunn::parity
