#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/elementwise/elementwise_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Extents = std::vector<std::int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const std::vector<DType> kIntegers = {DType::i32, DType::i64};

/// Every dtype has one of these where it starts to misbehave: zeros, overflow and underflow of exp, subnormal
/// numbers.
const Fill kSpecial =
    fill::cycle({0.0,   -0.0,   1.0,  -1.0,  kInfinity, -kInfinity, kNan,  88.8, -88.8, 104.5,  -104.5,
                 1e-40, -1e-40, 3e38, -3e38, 0.5,       16.7,       -17.4, 9.1,  12.0,  1.5e-7, 65519.0});

UnaryProblem unary(UnaryFunction function, const Extents& shape, const Extents& strides, double scalar) {
  UnaryProblem p{};
  p.function = function;
  p.scalar = scalar;
  p.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), p.shape);
  std::copy(strides.begin(), strides.end(), p.x_strides);
  return p;
}

BinaryProblem binary(BinaryFunction function, const Extents& shape, const Extents& a, const Extents& b) {
  BinaryProblem p{};
  p.function = function;
  p.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), p.shape);
  std::copy(a.begin(), a.end(), p.a_strides);
  std::copy(b.begin(), b.end(), p.b_strides);
  return p;
}

std::string text(const Extents& values) {
  std::string out;
  for (const std::int64_t v : values) out += (out.empty() ? "" : "x") + std::to_string(v);
  return out;
}

void add(Suite& suite, UnaryFunction f, const std::string& name, const Extents& shape, const Extents& strides,
         const CaseOptions& o, double scalar = 1.75) {
  suite.add(kUnary[static_cast<int>(f)], name, [=] { return unary(f, shape, strides, scalar); }, o);
}

void add(Suite& suite, BinaryFunction f, const std::string& name, const Extents& shape, const Extents& a,
         const Extents& b, const CaseOptions& o) {
  suite.add(kBinary[static_cast<int>(f)], name, [=] { return binary(f, shape, a, b); }, o);
}

/// Ordinary inputs of a function.
CaseOptions options_for(UnaryFunction f) {
  CaseOptions o;
  Fill x = fill::normal(0, 2);
  if (f == UnaryFunction::log) x = fill::uniform(0.01, 10);
  if (f == UnaryFunction::rdiv_scalar) x = fill::uniform(0.5, 3);
  if (f == UnaryFunction::relu) o.zeros_ok = {"y"};
  o.fills = {{"x", x}};
  return o;
}

CaseOptions options_for(BinaryFunction f) {
  CaseOptions o;
  const bool output = f == BinaryFunction::sigmoid_grad || f == BinaryFunction::tanh_grad;
  // 1 - y^2 amplifies the rounding of y^2 by at most 1 / (1 - 0.9^2) = 5.3.
  if (output) o.fills = {{"b", fill::uniform(0.05, 0.9)}}, o.c = 8;
  if (f == BinaryFunction::div) o.fills = {{"b", fill::uniform(0.5, 3)}};
  if (f == BinaryFunction::relu_grad) o.zeros_ok = {"y"};
  return o;
}

template <class Function>
CaseOptions special_options(Function f) {
  CaseOptions o = options_for(f);
  // Beside infinities, results run through the subnormal numbers of every dtype.
  o.zeros_ok = {"y"};
  return o;
}

void add_unary_cases(Suite& suite) {
  for (int i = 0; i < kUnaryFunctions; ++i) {
    const auto f = static_cast<UnaryFunction>(i);
    CaseOptions o = options_for(f);
    for (const std::int64_t n : {0, 1, 31, 32, 33, 1009}) add(suite, f, std::to_string(n), {n}, {1}, o);
    if (f == UnaryFunction::exp || f == UnaryFunction::mul_scalar) add(suite, f, "70001", {70001}, {1}, o);
    add(suite, f, "transposed", {37, 61}, {1, 37}, o);
    add(suite, f, "every third", {5, 101}, {400, 3}, o);
    add(suite, f, "repeated", {7, 9, 4}, {9, 1, 0}, o);
    add(suite, f, "one repeated", {1025}, {0}, o);
    o.alias = {{"y", "x"}};
    add(suite, f, "in place", {1009}, {1}, o);
    o = options_for(f);
    o.shift = 1;
    add(suite, f, "unaligned", {1009}, {1}, o);
    o = special_options(f);
    o.fills = {{"x", kSpecial}};
    add(suite, f, "special values", {220}, {1}, o);
    if (!takes_integers(f)) continue;
    CaseOptions integers;
    integers.dtypes = kIntegers;
    integers.fills = {{"x", fill::integers(-1000, 1000)}};
    add(suite, f, "integers", {33, 5}, {1, 33}, integers, 7);
    add(suite, f, "integers contiguous", {1009}, {1}, integers, -3);
  }
}

struct Pattern {
  const char* name;
  Extents shape, a, b;
};

const std::vector<Pattern> kPatterns = {
    {"row", {33, 64}, {64, 1}, {0, 1}},      // a bias
    {"odd row", {33, 63}, {63, 1}, {0, 1}},  // rows that do not start at 16-byte words
    {"column", {33, 64}, {64, 1}, {1, 0}},
    {"row and column", {33, 64}, {0, 1}, {1, 0}},
    {"one", {1009}, {1}, {0}},
    {"one on the left", {1009}, {0}, {1}},
    {"both one", {777}, {0}, {0}},
    {"transposed", {40, 56}, {56, 1}, {1, 40}},
    {"both transposed", {40, 56}, {1, 40}, {1, 40}},
    {"channels", {3, 5, 28}, {140, 28, 1}, {0, 1, 0}},
    {"gaps", {9, 50}, {64, 1}, {100, 2}},
    {"rank 4", {3, 4, 5, 6}, {120, 30, 6, 1}, {0, 6, 0, 1}},
    {"rank 8", {2, 3, 2, 1, 3, 2, 2, 3}, {216, 72, 36, 36, 12, 6, 3, 1}, {0, 12, 0, 0, 4, 0, 2, 0}},
};

void add_binary_cases(Suite& suite) {
  for (int i = 0; i < kBinaryFunctions; ++i) {
    const auto f = static_cast<BinaryFunction>(i);
    CaseOptions o = options_for(f);
    for (const std::int64_t n : {0, 1, 31, 32, 33, 1009}) add(suite, f, std::to_string(n), {n}, {1}, {1}, o);
    if (f == BinaryFunction::add) add(suite, f, "70001", {70001}, {1}, {1}, o);
    for (const Pattern& p : kPatterns)
      add(suite, f, std::string(p.name) + " " + text(p.shape), p.shape, p.a, p.b, o);
    for (const char* input : {"a", "b"}) {
      o.alias = {{"y", input}};
      add(suite, f, std::string("in place of ") + input, {1009}, {1}, {1}, o);
    }
    o = options_for(f);
    o.shift = 1;
    add(suite, f, "unaligned", {1009}, {1}, {1}, o);
    o = special_options(f);
    // Each value meets many others: the cycles have lengths without a common factor.
    o.fills = {{"a", kSpecial},
               {"b", fill::cycle({0.0, kInfinity, 1.0, -0.0, kNan, -2.0, -kInfinity, 1e-39, 0.25})}};
    add(suite, f, "special values", {198}, {1}, {1}, o);
    if (!takes_integers(f)) continue;
    CaseOptions integers;
    integers.dtypes = kIntegers;
    integers.fills = {{"a", fill::integers(-1000, 1000)}, {"b", fill::integers(1, 1000)}};
    add(suite, f, "integers", {33, 40}, {40, 1}, {0, 1}, integers);
    add(suite, f, "integers transposed", {33, 5}, {5, 1}, {1, 33}, integers);
  }
}

}  // namespace

void add_elementwise_cases(Suite& suite) {
  add_unary_cases(suite);
  add_binary_cases(suite);
}

}  // namespace gpunn::parity
