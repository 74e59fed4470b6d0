#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/softmax/softmax_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Size {
  std::int64_t rows, cols;
};

std::string name_of(Size s, bool log, const char* what = "") {
  return std::to_string(s.rows) + "x" + std::to_string(s.cols) + (log ? " log" : "") + what;
}

/// log-softmax subtracts numbers of the size of its largest result; softmax has nothing that cancels.
CaseOptions options_for(Size s, bool log, Fill x) {
  CaseOptions o;
  o.k = static_cast<double>(s.cols);
  // exp(x - m) inherits the rounding of x - m, up to 12 for these inputs: 12 * eps / 2.
  o.c = 12;
  o.scale = log ? Scale::operand : Scale::element;
  o.fills = {{"x", std::move(x)}};
  o.small = s.rows * s.cols <= 2100;  // a block per row included: 2x1025
  return o;
}

void add_forward(Suite& suite, Size s, bool log, const CaseOptions& o, const char* what = "") {
  suite.add(
      kSoftmaxForward, name_of(s, log, what),
      [=] {
        SoftmaxProblem p{};
        p.rows = s.rows, p.cols = s.cols, p.log = log;
        return p;
      },
      o);
}

/// y is drawn as logits and turned into what forward returns.
void add_backward(Suite& suite, Size s, bool log, CaseOptions o, const char* what = "") {
  o.fills = {{"y", fill::normal(0, 2)}};
  o.scale = Scale::operand;
  suite.add(
      kSoftmaxBackward, name_of(s, log, what),
      [=] {
        SoftmaxBackwardProblem p{};
        p.rows = s.rows, p.cols = s.cols, p.log = log;
        return p;
      },
      o,
      [](SoftmaxBackwardProblem& p) {
        softmax_fwd_ref({p.dtype, p.y, const_cast<void*>(p.y), p.rows, p.cols, p.log}, {});
      });
}

/// Row 0 is ordinary with some -inf; row 1 all -inf, row 2 has +inf, row 3 NaN, row 4 equal values.
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
      default:
        return 7.0;
    }
  };
}

}  // namespace

void add_softmax_cases(Suite& suite) {
  const Fill ordinary = fill::normal(0, 2);
  const std::vector<Size> sizes = {{0, 5},    {1, 1},    {7, 1},    {5, 31},   {4, 32},   {3, 33},
                                   {64, 10},  {13, 97},  {5, 130},  {2, 257},  {33, 500}, {2, 1024},
                                   {2, 1025}, {3, 1999}, {2, 4096}, {3, 30011}};
  for (const bool log : {false, true}) {
    for (const Size s : sizes) {
      CaseOptions o = options_for(s, log, ordinary);
      if (log && s.cols == 1) o.zeros_ok = {"y"};  // ln 1
      add_forward(suite, s, log, o);
      if (s.cols == 1)
        o.zeros_ok = {"dx"};  // one probability, always 1
      else
        o.zeros_ok = {};
      add_backward(suite, s, log, o);
    }
    for (const Size s : {Size{5, 40}, Size{5, 1300}}) {
      CaseOptions o = options_for(s, log, special_rows(s.cols));
      o.zeros_ok = {"y"};
      add_forward(suite, s, log, o, " special values");
      o.zeros_ok = {};
      // x - m reaches thousands, where exp() is 0 or inherits a rounding of hundreds of eps; the sum is
      // dominated by a few terms, so the bound is measured: 3.4e-6 at worst.
      o.fills = {{"x", fill::normal(0, 1e4)}};
      o.zeros_ok = {"y"};
      add_forward(suite, s, log, o, " large magnitudes");
      o = options_for(s, log, ordinary);
      o.alias = {{"y", "x"}};
      add_forward(suite, s, log, o, " in place");
      o.alias = {{"dx", "dy"}};
      add_backward(suite, s, log, o, " in place");
      o = options_for(s, log, ordinary);
      o.shift = 1;
      add_forward(suite, s, log, o, " unaligned");
      add_backward(suite, s, log, o, " unaligned");
    }
  }
  // Long rows: cut into parts, some of them without a finite element; and too many rows to be cut.
  for (const bool log : {false, true}) {
    CaseOptions o = options_for({2, 20000}, log, [](std::int64_t i, PhiloxStream& random) {
      return i % 20000 < 9000 || i > 35000 ? -kInfinity : random.normal();
    });
    o.dtypes = {DType::f32};
    o.zeros_ok = {"y"};
    add_forward(suite, {2, 20000}, log, o, " cut");
  }
  CaseOptions many = options_for({128, 12289}, false, ordinary);
  many.dtypes = {DType::f32};
  add_forward(suite, {128, 12289}, false, many);
  // Results beyond the caches, which the CPU writes around them, in rows that start anywhere in a vector.
  CaseOptions large = options_for({701, 3001}, false, ordinary);
  large.dtypes = {DType::f32};
  add_forward(suite, {701, 3001}, false, large);
  CaseOptions longest = options_for({1, 262144}, false, ordinary);
  longest.dtypes = {DType::f32};
  add_forward(suite, {1, 262144}, false, longest);
  add_backward(suite, {1, 262144}, false, longest);
}

}  // namespace gpunn::parity
