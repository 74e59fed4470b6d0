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

CrossEntropyProblem problem(Size s, Reduction r) {
  CrossEntropyProblem p{};
  p.rows = s.rows, p.cols = s.cols, p.ignore_index = kIgnore, p.reduction = r;
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
             {"target", fill::every(5, kIgnore, fill::integers(0, s.cols), 3)}};
  o.small = s.rows * s.cols <= 2100;  // a block per row included: 2x1025
  return o;
}

void add_forward(Suite& suite, Size s, Reduction r, const CaseOptions& o, const char* what = "") {
  suite.add(kCrossEntropyForward, name_of(s, r, what), [=] { return problem(s, r); }, o);
}

/// Statistics and count are what forward saves for the logits drawn.
void add_backward(Suite& suite, Size s, Reduction r, const CaseOptions& o, const char* what = "") {
  suite.add(
      kCrossEntropyBackward, name_of(s, r, what),
      [=] {
        CrossEntropyBackwardProblem p{};
        p.rows = s.rows, p.cols = s.cols, p.ignore_index = kIgnore, p.reduction = r;
        return p;
      },
      o,
      [](CrossEntropyBackwardProblem& p) {
        std::vector<double> loss(static_cast<std::size_t>(p.rows + 1));
        cross_entropy_fwd_ref({p.dtype, p.logits, p.target, loss.data(), const_cast<void*>(p.stats),
                               const_cast<void*>(p.count), p.rows, p.cols, p.ignore_index, p.reduction},
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
  }
  CaseOptions empty = options_for({0, 5});
  empty.zeros_ok = {"loss", "count"};
  for (const Reduction r : kReductions) add_forward(suite, {0, 5}, r, empty);
  add_forward(suite, {3, 30011}, Reduction::mean, options_for({3, 30011}));
  add_backward(suite, {3, 30011}, Reduction::mean, options_for({3, 30011}));

  const Fill good = fill::every(7, kIgnore, fill::integers(0, 10));
  add_targets(suite, 0, "none", good);
  add_targets(suite, 1000, "good", good);
  add_targets(suite, 1000, "negative", fill::every(400, -1, good, 123));
  add_targets(suite, 1000, "too large", fill::every(1000, 10, good, 999));
  add_targets(suite, 70000, "far beyond", fill::every(1000, 1e15, good, 60001));
}

}  // namespace gpunn::parity
