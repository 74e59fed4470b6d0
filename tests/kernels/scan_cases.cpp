#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "gpunn/kernels/scan/scan_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

struct Sizes {
  std::int64_t outer, length, inner;
  bool orders = false;  // run under many thread orders
};

std::string name_of(const Sizes& s) {
  return std::to_string(s.outer) + "x" + std::to_string(s.length) + "x" + std::to_string(s.inner);
}

constexpr Sizes kSizes[] = {
    {3, 1, 1},    {3, 31, 1},   {2, 32, 1},    {3, 33, 1, true}, {2, 1024, 1},    {2, 1025, 1},
    {5, 2503, 1}, {0, 5, 1},    {3, 0, 1},     {3, 5, 0},        {2, 7, 3, true}, {1, 130, 33},
    {2, 65, 300}, {1, 9001, 1}, {1, 70001, 1}, {1, 40001, 3},    {1, 2003, 40},   {40, 100, 2},
};

void add(Suite& suite, ScanFunction f, bool reverse, const Sizes& s, CaseOptions o, const char* what = "") {
  o.k = static_cast<double>(std::max<std::int64_t>(1, s.length));
  o.small = s.orders;
  suite.add(
      kScan[static_cast<int>(f)], name_of(s) + (reverse ? " reverse" : "") + what,
      [=] {
        ScanProblem p{};
        p.function = f;
        p.reverse = reverse;
        p.outer = s.outer, p.length = s.length, p.inner = s.inner;
        return p;
      },
      std::move(o));
}

/// Factors whose products neither overflow nor vanish.
Fill factors(const Sizes& s) {
  const double width = 1 / std::max(2.0, std::sqrt(static_cast<double>(s.length)));
  return fill::uniform(1 - width, 1 + width);
}

void add_forward(Suite& suite) {
  for (const Sizes& s : kSizes) {
    CaseOptions o;
    o.scale = Scale::absolute;
    o.c = 1;
    add(suite, ScanFunction::sum, false, s, o);
    if (s.length < 10000) add(suite, ScanFunction::sum, true, s, o);
    // All of one sign: adding one after the other would lose digits.
    o.c = 0.5;
    o.fills = {{"x", fill::uniform(0.5, 1.5)}};
    o.dtypes = {DType::f32};
    if (s.length > 1000) add(suite, ScanFunction::sum, false, s, o, " positive");
    CaseOptions product;
    product.fills = {{"x", factors(s)}};
    add(suite, ScanFunction::prod, false, s, product);
  }
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  CaseOptions o;
  o.scale = Scale::absolute;
  o.alias = {{"y", "x"}};
  add(suite, ScanFunction::sum, true, {3, 1500, 1}, o, " in place");
  add(suite, ScanFunction::sum, false, {2, 65, 300}, o, " in place");
  o.alias = {};
  o.shift = 1;
  add(suite, ScanFunction::sum, false, {3, 1500, 1}, o, " unaligned");
  o.shift = 0;
  o.fills = {{"x", fill::every(700, kInfinity, fill::normal(0, 1), 600)}};
  add(suite, ScanFunction::sum, false, {1, 1500, 1}, o, " infinity");
  o.fills = {{"x", fill::every(700, kNan, fill::normal(0, 1), 600)}};
  add(suite, ScanFunction::sum, false, {1, 1500, 3}, o, " NaN");
  o.zeros_ok = {"y"};
  add(suite, ScanFunction::prod, false, {1, 100, 1}, o, " NaN");
  o.scale = Scale::element;
  o.fills = {{"x", fill::every(40, 0, fill::uniform(0.9, 1.1), 10)}};
  add(suite, ScanFunction::prod, false, {3, 100, 1}, o, " zeros");
  for (const DType dtype : {DType::i32, DType::i64, DType::u8, DType::boolean}) {
    CaseOptions integers;
    integers.dtypes = {dtype};
    integers.fills = {{"x", fill::integers(0, dtype == DType::boolean ? 2 : 200)}};
    const std::string what = std::string(" ") + gpunn::name_of(dtype);
    for (const Sizes& s : {Sizes{3, 1025, 1}, Sizes{1, 9001, 1}, Sizes{2, 65, 33}})
      add(suite, ScanFunction::sum, false, s, integers, what.c_str());
  }
}

void add_backward(Suite& suite, const Sizes& s, const Fill& x, CaseOptions o, const char* what = "") {
  o.fills.push_back({"x", x});
  o.k = static_cast<double>(std::max<std::int64_t>(1, s.length));
  o.scale = Scale::absolute;
  o.small = s.orders;
  suite.add(
      kCumprodBackward, name_of(s) + what,
      [=] {
        CumprodBackwardProblem p{};
        p.outer = s.outer, p.length = s.length, p.inner = s.inner;
        return p;
      },
      std::move(o),
      // y is the product of the drawn input.
      [](CumprodBackwardProblem& p) {
        scan_ref(
            {p.dtype, ScanFunction::prod, false, p.x, const_cast<void*>(p.y), p.outer, p.length, p.inner},
            {});
      });
}

}  // namespace

void add_scan_cases(Suite& suite) {
  add_forward(suite);
  for (const Sizes& s : kSizes)
    if (s.length < 50000) add_backward(suite, s, factors(s), {});
  CaseOptions o;
  o.zeros_ok = {"dx"};
  for (const Sizes& s : {Sizes{3, 33, 1, true}, Sizes{2, 1025, 1}, Sizes{1, 9001, 1}, Sizes{2, 65, 33}}) {
    add_backward(suite, s, fill::every(30, 0, fill::uniform(0.5, 1.5), 13), o, " zeros");
  }
  // Products of the factors are beyond what float holds, but they meet only zeros.
  o.fills = {{"dy", fill::every(100000, 1, fill::constant(0), 1)}};
  for (const Sizes& s : {Sizes{1, 1025, 1}, Sizes{1, 9001, 1}})
    add_backward(suite, s, fill::every(100000, 0, fill::constant(2)), o, " overflow");
}

}  // namespace gpunn::parity
