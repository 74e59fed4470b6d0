#include <limits>
#include <string>
#include <utility>

#include "gpunn/kernels/sort/sort_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Sizes {
  std::int64_t outer, length, inner, keep;
  bool orders = false;  // run under many thread orders
};

std::string name_of(const Sizes& s) {
  return std::to_string(s.outer) + "x" + std::to_string(s.length) + "x" + std::to_string(s.inner) +
         " first " + std::to_string(s.keep);
}

constexpr Sizes kSizes[] = {
    {3, 1, 1, 1},         {5, 31, 1, 31},     {3, 32, 1, 32},        {3, 33, 1, 33, true}, {2, 64, 5, 64},
    {0, 5, 1, 5},         {3, 5, 0, 5},       {3, 5, 1, 0},          {40, 10, 3, 2},       {2, 1024, 1, 1024},
    {2, 1025, 1, 1025},   {1, 2500, 2, 2500}, {1, 2049, 3, 7, true}, {2, 5003, 1, 50},     {1, 5003, 1, 3000},
    {1, 70001, 1, 70001}, {1, 70001, 1, 5},
};

void add(Suite& suite, const Sizes& s, bool descending, CaseOptions o, const char* what = "") {
  o.small = s.orders;
  suite.add(
      kSort, name_of(s) + (descending ? " descending" : "") + what,
      [=] {
        SortProblem p{};
        p.descending = descending;
        p.outer = s.outer, p.length = s.length, p.inner = s.inner, p.keep = s.keep;
        return p;
      },
      std::move(o));
}

void add_sorts(Suite& suite) {
  for (const Sizes& s : kSizes) {
    add(suite, s, false, {});
    if (s.length < 10000) add(suite, s, true, {});
  }
  struct Values {
    const char* name;
    Fill x;
  };
  const Values values[] = {
      {" ties", fill::integers(-3, 4)},
      {" equal", fill::constant(7)},
      {" zeros of both signs", fill::cycle({0.0, -0.0, 1, -1})},
      {" NaN and infinities",
       fill::every(7, kNan, fill::every(5, kInfinity, fill::every(3, -kInfinity, fill::normal(0, 1))), 3)},
  };
  for (const Values& v : values) {
    CaseOptions o;
    o.zeros_ok = {"y"};
    o.fills = {{"x", v.x}};
    for (const Sizes& s : {Sizes{3, 33, 1, 33}, Sizes{1, 2503, 2, 2503}, Sizes{1, 5003, 1, 40}})
      for (const bool descending : {false, true}) add(suite, s, descending, o, v.name);
  }
  // Long enough for CUB's radix sort, several rows of it. Indices must be equal: all entries order the same
  // keys stably, so that they agree in every bit, ties, NaN and zeros included.
  CaseOptions rows;
  rows.zeros_ok = {"y"};
  rows.fills = {
      {"x", fill::every(7, kNan, fill::every(11, -0.0, fill::every(13, 0, fill::normal(0, 1))), 3)}};
  for (const bool descending : {false, true}) add(suite, {1, 32771, 2, 32771}, descending, rows, " special");
  rows.fills = {{"x", fill::integers(-3, 4)}};
  add(suite, {1, 16384, 1, 9000}, true, rows, " ties");

  for (const DType dtype : {DType::i32, DType::i64, DType::u8, DType::boolean}) {
    CaseOptions o;
    o.dtypes = {dtype};
    const bool wide = dtype == DType::i32 || dtype == DType::i64;
    o.fills = {{"x", wide ? fill::integers(-1000, 1000) : fill::integers(0, dtype == DType::u8 ? 200 : 2)}};
    o.zeros_ok = {"y"};
    for (const Sizes& s :
         {Sizes{3, 33, 1, 33}, Sizes{1, 2503, 2, 2503}, Sizes{1, 5003, 1, 40}, Sizes{1, 16411, 1, 16411}})
      for (const bool descending : {false, true}) add(suite, s, descending, o, gpunn::name_of(dtype));
  }
}

void add_pick(Suite& suite, const Sizes& s, bool scatter, CaseOptions o) {
  o.zeros_ok = {"y"};
  o.small = s.orders;
  suite.add(
      scatter ? kSortScatter : kSortGather, name_of(s),
      [=] {
        PickProblem p{};
        p.scatter = scatter;
        p.outer = s.outer, p.length = s.length, p.inner = s.inner, p.keep = s.keep;
        return p;
      },
      std::move(o),
      // Distinct indices in each row: backwards from a place that differs from row to row.
      [](PickProblem& p) {
        auto* indices = const_cast<std::int64_t*>(p.indices);
        for (std::int64_t i = 0; i < p.outer * p.keep * p.inner; ++i) {
          const std::int64_t k = i / p.inner % p.keep, row = i / (p.keep * p.inner) + i % p.inner;
          indices[i] = (p.length - 1 - k + row) % p.length;
        }
      });
}

}  // namespace

void add_sort_cases(Suite& suite) {
  add_sorts(suite);
  for (const bool scatter : {false, true}) {
    for (const Sizes& s : kSizes) add_pick(suite, s, scatter, {});
    for (const DType dtype : {DType::i64, DType::u8}) {
      CaseOptions o;
      o.dtypes = {dtype};
      o.fills = {{"x", fill::integers(0, 100)}};
      add_pick(suite, {2, 33, 3, 20}, scatter, o);
    }
  }
}

}  // namespace gpunn::parity
