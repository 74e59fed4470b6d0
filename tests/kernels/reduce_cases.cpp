#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/reduce/reduce_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Extents = std::vector<std::int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// One side: extents and strides.
struct Side {
  Extents shape, strides;
};

ReduceDims dims_of(const Side& side) {
  ReduceDims d{};
  d.rank = static_cast<int>(side.shape.size());
  std::copy(side.shape.begin(), side.shape.end(), d.shape);
  std::copy(side.strides.begin(), side.strides.end(), d.strides);
  return d;
}

void add(Suite& suite, ReduceFunction f, const std::string& name, const Side& kept, const Side& reduced,
         const CaseOptions& o, double parameter = 0) {
  suite.add(
      kReduce[static_cast<int>(f)], name,
      [=] {
        ReduceProblem p{};
        p.function = f;
        p.kept = dims_of(kept);
        p.reduced = dims_of(reduced);
        p.parameter = parameter;
        return p;
      },
      o);
}

struct Layout {
  std::string name;
  Side kept, reduced;
  bool orders = false;  // run under many thread orders
};

/// Rows [outputs, length] and columns [length, outputs] of a contiguous matrix.
Layout rows(std::int64_t outputs, std::int64_t length, bool orders = false) {
  return {"rows " + std::to_string(outputs) + "x" + std::to_string(length),
          {{outputs}, {length}},
          {{length}, {1}},
          orders};
}
Layout columns(std::int64_t length, std::int64_t outputs, bool orders = false) {
  return {"columns " + std::to_string(length) + "x" + std::to_string(outputs),
          {{outputs}, {1}},
          {{length}, {outputs}},
          orders};
}

std::vector<Layout> layouts() {
  std::vector<Layout> list;
  for (const std::int64_t n : {1, 31, 32, 33, 255, 509, 513, 1021, 4099})
    list.push_back(rows(3, n, n == 33 || n == 513));
  for (const std::int64_t n : {1, 2, 7, 8, 33, 65, 301}) list.push_back(columns(n, 37, n == 33));
  list.push_back(rows(0, 5));
  list.push_back(rows(1009, 10));
  list.push_back(rows(1, 8193, true));
  list.push_back(rows(2, 70001));
  list.push_back(rows(1, 270011));  // several pieces on every implementation
  list.push_back(columns(3, 1031));
  list.push_back(columns(5003, 16));
  list.push_back(columns(40, 7));  // too narrow for column tiles
  // x[3, 5, 6, 7]: the channel of an image, its opposite, a middle dimension, alternating ones
  list.push_back({"channel", {{5}, {42}}, {{3, 42}, {210, 1}}});
  list.push_back({"all but the channel", {{3, 42}, {210, 1}}, {{5}, {42}}});
  list.push_back({"alternating", {{3, 6}, {210, 7}}, {{5, 7}, {42, 1}}});
  list.push_back({"alternating outside", {{5, 7}, {42, 1}}, {{3, 6}, {210, 7}}});
  list.push_back({"strided rows", {{6}, {100}}, {{25}, {3}}});
  list.push_back({"repeated elements", {{4}, {1}}, {{9, 5}, {0, 4}}});
  list.push_back({"repeated outputs", {{4, 20}, {0, 1}}, {{9}, {20}}});
  return list;
}

/// Every way through the code once, for functions that share it with those that take all the layouts.
std::vector<Layout> few_layouts() {
  return {rows(3, 1),
          rows(3, 33, true),
          rows(2, 1021),
          rows(0, 5),
          columns(2, 37),
          columns(65, 37),
          columns(40, 7),
          columns(5003, 16),
          rows(1, 140011),  // several pieces
          {"alternating", {{3, 6}, {210, 7}}, {{5, 7}, {42, 1}}},
          {"repeated elements", {{4}, {1}}, {{9, 5}, {0, 4}}}};
}

double length_of(const Layout& l) {
  double k = 1;
  for (const std::int64_t extent : l.reduced.shape) k *= static_cast<double>(extent);
  return k;
}

void add_sums(Suite& suite) {
  for (const ReduceFunction f : {ReduceFunction::sum, ReduceFunction::mean}) {
    for (const Layout& l : layouts()) {
      CaseOptions o;
      o.k = length_of(l);
      o.scale = Scale::absolute;
      o.c = 1;  // the trees are far better than sqrt(K) * eps * sum |x|
      o.small = l.orders && f == ReduceFunction::sum;
      add(suite, f, l.name, l.kept, l.reduced, o);
    }
    CaseOptions o;
    o.k = 1000;
    o.scale = Scale::absolute;
    o.shift = 1;
    add(suite, f, "unaligned", {{3}, {1000}}, {{1000}, {1}}, o);
    // All of one sign: plain summation would lose digits.
    CaseOptions positive;
    positive.k = 270011;
    positive.c = 0.05;
    positive.fills = {{"x", fill::uniform(0.5, 1.5)}};
    positive.dtypes = {DType::f32};
    add(suite, f, "positive", {{1}, {270011}}, {{270011}, {1}}, positive);
    add(suite, f, "positive columns", {{8}, {1}}, {{270011 / 8}, {8}}, positive);
  }
  for (const DType dtype : {DType::i32, DType::i64, DType::u8, DType::boolean}) {
    CaseOptions o;
    o.dtypes = {dtype};
    o.fills = {{"x", fill::integers(0, dtype == DType::boolean ? 2 : 200)}};
    for (const Layout& l : {rows(3, 33), rows(1, 270011), columns(301, 37), rows(700, 9)})
      add(suite, ReduceFunction::sum, l.name + " " + std::string(name_of(dtype)), l.kept, l.reduced, o);
  }
}

void add_maxima(Suite& suite) {
  using F = ReduceFunction;
  for (const F f : {F::max, F::max_indices, F::argmax, F::min, F::min_indices, F::argmin}) {
    for (const Layout& l : wants_least(f) ? few_layouts() : layouts()) {
      CaseOptions o;
      o.small = l.orders && (f == F::max_indices || f == F::min_indices);
      add(suite, f, l.name, l.kept, l.reduced, o);
    }
    CaseOptions o;
    o.zeros_ok = gives_values(f) ? std::vector<std::string>{"y"} : std::vector<std::string>{};
    struct Values {
      const char* name;
      Fill x;
    };
    const Values values[] = {
        {"ties", fill::integers(-3, 1)},
        {"equal", fill::constant(-7)},
        {"minus infinity", fill::constant(wants_least(f) ? kInfinity : -kInfinity)},
        {"infinities", fill::every(7, kInfinity, fill::every(5, -kInfinity, fill::normal(0, 1)), 3)},
        {"a NaN", fill::every(97, kNan, fill::normal(0, 1), 41)},
        {"NaN and infinity", fill::every(13, kNan, fill::every(3, kInfinity, fill::normal(0, 1)), 5)},
    };
    for (const Values& v : values) {
      o.fills = {{"x", v.x}};
      for (const Layout& l : {rows(5, 33), rows(2, 1021), rows(1, 20011), columns(65, 37), columns(40, 7)})
        add(suite, f, l.name + " " + v.name, l.kept, l.reduced, o);
    }
    o.dtypes = {DType::i32, DType::i64};
    o.fills = {{"x", fill::integers(-50, 50)}};
    for (const Layout& l : {rows(3, 33), rows(1, 20011), columns(301, 37)})
      add(suite, f, l.name + " integers", l.kept, l.reduced, o);
  }
}

/// Rows and columns of one set of values: what the function is about.
void add_values(Suite& suite, ReduceFunction f, const char* name, const Fill& x, CaseOptions o,
                double parameter = 0) {
  o.fills = {{"x", x}};
  for (const Layout& l : {rows(5, 33), rows(2, 1021), rows(1, 20011), columns(65, 37)})
    add(suite, f, l.name + " " + name, l.kept, l.reduced, o, parameter);
}

void add_products(Suite& suite) {
  CaseOptions o;
  for (const Layout& l : few_layouts()) {
    o.k = length_of(l);
    o.small = l.orders;
    // Products of many factors near 1, so that they neither overflow nor vanish.
    const double width = 1 / std::max(2.0, std::sqrt(o.k));
    o.fills = {{"x", fill::uniform(1 - width, 1 + width)}};
    // A half rounds factors to one unit, and the truth is the product of rounded ones.
    add(suite, ReduceFunction::prod, l.name, l.kept, l.reduced, o);
  }
  o.zeros_ok = {"y"};
  add_values(suite, ReduceFunction::prod, "zeros", fill::every(7, 0, fill::uniform(0.5, 1.5)), o);
  add_values(suite, ReduceFunction::prod, "a NaN", fill::every(31, kNan, fill::uniform(0.5, 1.5), 3), o);
}

void add_variances(Suite& suite) {
  for (const ReduceFunction f : {ReduceFunction::var, ReduceFunction::std}) {
    CaseOptions o;
    o.c = 2;
    for (const Layout& l : few_layouts()) {
      o.k = length_of(l);
      o.small = l.orders && f == ReduceFunction::var;
      if (o.k > 1) add(suite, f, l.name, l.kept, l.reduced, o, 1);
    }
    o.small = false;
    o.k = 1021;
    add_values(suite, f, "of a population", fill::normal(0, 1), o, 0);
    add_values(suite, f, "a NaN", fill::every(500, kNan, fill::normal(0, 1), 3), o, 1);
    add_values(suite, f, "an infinity", fill::every(500, kInfinity, fill::normal(0, 1), 3), o, 1);
    add_values(suite, f, "an outlier first", fill::every(100000, 1e4, fill::normal(0, 1)), o, 1);
    // Nothing to estimate from: 0 / 0.
    add(suite, f, "one element", {{3}, {1}}, {{1}, {1}}, o, 1);
    // E[x^2] - E[x]^2 has no correct digit here.
    o.dtypes = {DType::f32};
    add_values(suite, f, "large mean", fill::normal(1e6, 1), o, 1);
    o.zeros_ok = {"y"};
    add_values(suite, f, "constant", fill::constant(1234.5), o, 1);
  }
}

void add_norms(Suite& suite) {
  struct P {
    double p;
    const char* name;
  };
  for (const P& norm : {P{1, "p=1 "}, P{2, "p=2 "}, P{kInfinity, "p=inf "}, P{-kInfinity, "p=-inf "},
                        P{3, "p=3 "}, P{0.5, "p=0.5 "}, P{0, "p=0 "}, P{-1, "p=-1 "}}) {
    CaseOptions o;
    // powf and the root of its sum: relative errors grow with 1/p.
    o.c = norm.p == 0.5 || norm.p == 3 || norm.p == -1 ? 8 : 4;
    for (const Layout& l : few_layouts()) {
      // (Σ √|x|)^2 of a long row is beyond f16.
      if (norm.p == 0.5 && length_of(l) > 1000) continue;
      if (norm.p != 2 && length_of(l) > 10000) continue;
      o.k = length_of(l);
      o.small = l.orders;
      add(suite, ReduceFunction::norm, norm.name + l.name, l.kept, l.reduced, o, norm.p);
    }
    o.zeros_ok = {"y"};
    o.small = false;
    for (const Layout& l : {rows(5, 33), columns(65, 37)}) {
      o.fills = {{"x", fill::constant(0)}};
      add(suite, ReduceFunction::norm, norm.name + l.name + " zeros", l.kept, l.reduced, o, norm.p);
      o.fills = {{"x", fill::every(50, kNan, fill::every(3, kInfinity, fill::normal(0, 1)), 5)}};
      add(suite, ReduceFunction::norm, norm.name + l.name + " NaN and infinity", l.kept, l.reduced, o,
          norm.p);
    }
  }
}

void add_logsumexp(Suite& suite) {
  CaseOptions o;
  o.scale = Scale::operand;  // near 0 only the logarithm's argument has relative accuracy
  for (const Layout& l : few_layouts()) {
    o.k = length_of(l);
    o.small = l.orders;
    add(suite, ReduceFunction::logsumexp, l.name, l.kept, l.reduced, o);
  }
  o.small = false;
  o.k = 1021;
  add_values(suite, ReduceFunction::logsumexp, "large", fill::normal(5000, 10), o);
  add_values(suite, ReduceFunction::logsumexp, "very negative", fill::normal(-5000, 10), o);
  add_values(suite, ReduceFunction::logsumexp, "minus infinity", fill::constant(-kInfinity), o);
  add_values(suite, ReduceFunction::logsumexp, "an infinity",
             fill::every(37, kInfinity, fill::normal(0, 1), 3), o);
  add_values(suite, ReduceFunction::logsumexp, "infinities",
             fill::every(3, -kInfinity, fill::every(37, kInfinity, fill::normal(0, 1), 3)), o);
  add_values(suite, ReduceFunction::logsumexp, "some minus infinity",
             fill::every(3, -kInfinity, fill::normal(0, 1)), o);
  add_values(suite, ReduceFunction::logsumexp, "NaN and infinity",
             fill::every(50, kNan, fill::every(3, kInfinity, fill::normal(0, 1)), 5), o);
}

void add_counts(Suite& suite) {
  for (const ReduceFunction f : {ReduceFunction::any, ReduceFunction::all, ReduceFunction::count_nonzero}) {
    CaseOptions o;
    const double usual = f == ReduceFunction::all ? 1 : 0;
    for (const DType dtype : {DType::f32, DType::f16, DType::i32, DType::i64, DType::u8, DType::boolean}) {
      o.dtypes = {dtype};
      o.small = dtype == DType::boolean;
      // Some rows have the element that decides, others do not.
      o.fills = {{"x", fill::every(101, 1 - usual, fill::constant(usual), 50)}};
      for (const Layout& l : {rows(5, 33), columns(33, 37), rows(3, 5), columns(40, 7)})
        add(suite, f, l.name + " " + name_of(dtype), l.kept, l.reduced, o);
      o.small = false;
      add(suite, f, std::string("many ") + name_of(dtype), {{1}, {70001}}, {{70001}, {1}}, o);
    }
    o.dtypes = {DType::f32, DType::bf16};
    o.fills = {{"x", fill::every(3, kNan, fill::constant(0))}};
    add(suite, f, "NaN", {{2}, {33}}, {{33}, {1}}, o);
  }
}

void add_max_backward(Suite& suite, bool by_index, const Layout& l, const CaseOptions& o) {
  suite.add(
      kMaxBackward, l.name + (by_index ? " by index" : " ties"),
      [=] {
        MaxBackwardProblem p{};
        p.by_index = by_index;
        p.kept = dims_of(l.kept);
        p.reduced = dims_of(l.reduced);
        return p;
      },
      o,
      // Output and indices are those of the drawn input.
      [by_index](MaxBackwardProblem& p) {
        if (by_index) return;
        ReduceProblem forward{p.dtype,  ReduceFunction::max, p.x, const_cast<void*>(p.y), nullptr, p.kept,
                              p.reduced};
        reduce_ref(forward, {});
      });
}

void add_gradients(Suite& suite) {
  for (const Layout& l : {rows(3, 1), rows(5, 33, true), rows(2, 1021), rows(1, 20011), columns(65, 37),
                          columns(7, 3), Layout{"channel", {{5}, {42}}, {{3, 42}, {210, 1}}}}) {
    CaseOptions o;
    o.zeros_ok = {"dx"};
    o.fills = {{"indices", fill::integers(0, static_cast<std::int64_t>(length_of(l)))}};
    o.small = l.orders;
    add_max_backward(suite, true, l, o);
    o.fills = {{"x", fill::integers(-3, 2)}};
    add_max_backward(suite, false, l, o);
    o.fills = {{"x", fill::every(40, kNan, fill::integers(-3, 2), 11)}};
    Layout nan = l;
    nan.name += " NaN";
    add_max_backward(suite, false, nan, o);
  }
}

void add_backward(Suite& suite, const Layout& l, const char* name, const Fill& x, CaseOptions o,
                  ReduceFunction function, double parameter) {
  o.fills = {{"x", x}};
  suite.add(
      function == ReduceFunction::prod ? kProdBackward : kNormBackward, l.name + name,
      [=] {
        ReduceBackwardProblem p{};
        p.function = function;
        p.parameter = parameter;
        p.kept = dims_of(l.kept);
        p.reduced = dims_of(l.reduced);
        return p;
      },
      o,
      // The norm is that of the drawn input.
      [](ReduceBackwardProblem& p) {
        if (p.function == ReduceFunction::prod) return;
        reduce_ref(
            {p.dtype, p.function, p.x, const_cast<void*>(p.y), nullptr, p.kept, p.reduced, p.parameter}, {});
      });
}

void add_statistics_gradients(Suite& suite) {
  for (const Layout& l : {rows(3, 1), rows(5, 33, true), rows(2, 1021), columns(65, 37), columns(7, 3),
                          Layout{"channel", {{5}, {42}}, {{3, 42}, {210, 1}}}}) {
    CaseOptions o;
    o.k = length_of(l);
    o.small = l.orders;
    const Fill near_one = fill::uniform(0.9, 1.1);
    add_backward(suite, l, "", near_one, o, ReduceFunction::prod, 0);
    o.zeros_ok = {"dx"};
    add_backward(suite, l, " one zero", fill::every(2000, 0, near_one, 7), o, ReduceFunction::prod, 0);
    add_backward(suite, l, " zeros", fill::every(5, 0, near_one), o, ReduceFunction::prod, 0);
    add_backward(suite, l, " NaN", fill::every(40, kNan, near_one, 11), o, ReduceFunction::prod, 0);
    for (const double p : {0.0, 1.0, 2.0, 3.0, kInfinity, -kInfinity}) {
      const std::string name = " p=" + std::to_string(p);
      o.c = p == 3 ? 8 : 4;
      add_backward(suite, l, name.c_str(), fill::integers(-3, 4), o, ReduceFunction::norm, p);
      add_backward(suite, l, (name + " zeros").c_str(), fill::constant(0), o, ReduceFunction::norm, p);
    }
  }
}

}  // namespace

void add_reduce_cases(Suite& suite) {
  add_sums(suite);
  add_maxima(suite);
  add_products(suite);
  add_variances(suite);
  add_norms(suite);
  add_logsumexp(suite);
  add_counts(suite);
  add_statistics_gradients(suite);
  add_gradients(suite);
}

}  // namespace gpunn::parity
