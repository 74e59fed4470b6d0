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
         const CaseOptions& o) {
  suite.add(
      kReduce[static_cast<int>(f)], name,
      [=] {
        ReduceProblem p{};
        p.function = f;
        p.kept = dims_of(kept);
        p.reduced = dims_of(reduced);
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
  for (const ReduceFunction f : {ReduceFunction::max, ReduceFunction::max_indices, ReduceFunction::argmax}) {
    for (const Layout& l : layouts()) {
      CaseOptions o;
      o.small = l.orders && f == ReduceFunction::max_indices;
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
        {"minus infinity", fill::constant(-kInfinity)},
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

}  // namespace

void add_reduce_cases(Suite& suite) {
  add_sums(suite);
  add_maxima(suite);
  add_gradients(suite);
}

}  // namespace gpunn::parity
