// Parity cases of the groups of element-wise functions (functions_impl.h).
#include <array>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/elementwise/functions_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Extents = std::vector<std::int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const Fill kSpecial =
    fill::cycle({0.0,    -0.0,   1.0,     -1.0, kInfinity, -kInfinity, kNan, 88.8,  -88.8, 104.5,
                 -104.5, 1e-40,  -1e-40,  3e38, -3e38,     0.5,        16.7, -17.4, 2.5,   -3.5,
                 9.1,    1.5e-7, 65519.0, -3.0, 3.0,       21.9,       22.1, 1e-4,  -13.9, 6.0});

template <class Function>
MapProblem<Function> problem(Function f, const Extents& shape,
                             const std::array<Extents, kInputs<Function>>& strides, double s, double t) {
  MapProblem<Function> p{};
  p.function = f;
  p.s = s;
  p.t = t;
  p.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), p.shape);
  for (std::size_t k = 0; k < strides.size(); ++k)
    std::copy(strides[k].begin(), strides[k].end(), p.strides[k]);
  return p;
}

template <class Function>
void add(Suite& suite, Function f, const std::string& name, const Extents& shape,
         const std::array<Extents, kInputs<Function>>& strides, const CaseOptions& o, double s, double t) {
  suite.add(map_list(f), name, [=] { return problem(f, shape, strides, s, t); }, o);
}

template <class Function>
std::array<Extents, kInputs<Function>> all(const Extents& strides) {
  std::array<Extents, kInputs<Function>> result;
  result.fill(strides);
  return result;
}

/// Sizes, strides, alignment and aliasing of one function.
template <class Function>
void add_shapes(Suite& suite, Function f, CaseOptions o, double s = 0, double t = 0) {
  constexpr int K = kInputs<Function>;
  for (const std::int64_t n : {0, 1, 33, 1009})
    add(suite, f, std::to_string(n), {n}, all<Function>({1}), o, s, t);
  auto strides = all<Function>({1, 21});
  if constexpr (K > 1) strides[1] = {0, 1};  // a row for all
  if constexpr (K > 2) strides[2] = {1, 0};
  add(suite, f, "strided", {21, 36}, strides, o, s, t);
  strides = all<Function>({36, 1});
  if constexpr (K > 1) strides[1] = {1, 0};  // a column for all
  if constexpr (K > 2) strides[2] = {0, 0};
  add(suite, f, "repeated", {21, 36}, strides, o, s, t);
  CaseOptions shifted = o;
  shifted.shift = 1;
  add(suite, f, "unaligned", {301}, all<Function>({1}), shifted, s, t);
  if constexpr (MapGroup<Function>::kResult == MapResult::same) {
    o.alias = {{"y", MapGroup<Function>::kSelects ? "b" : "a"}};
    add(suite, f, "in place", {301}, all<Function>({1}), o, s, t);
  }
}

/// Each special value meets all of `other`, of two inputs: the cycles have no common factor.
const Fill kOther = fill::cycle({0.0, kInfinity, 1.0, -0.0, kNan, -2.0, -kInfinity, 2.0, 0.25, 3.0, -1.0});

template <class Function>
void add_special(Suite& suite, Function f, CaseOptions o, double s = 0, double t = 0,
                 const Fill& other = kOther) {
  o.zeros_ok = {"y"};
  o.fills = {{kInputs<Function> == 1 ? "a" : "b", kSpecial}};
  if (kInputs<Function> == 2) o.fills.push_back({"a", other});
  add(suite, f, "special values", {330}, all<Function>({1}), o, s, t);
}

template <class Function>
void add_integers(Suite& suite, Function f, double s = 0, double t = 0) {
  CaseOptions o;
  o.zeros_ok = {"y"};
  o.dtypes = {DType::i32, DType::i64};
  const std::int64_t low = MapGroup<Function>::kSelects ? 0 : -9,
                     high = MapGroup<Function>::kSelects ? 2 : 10;
  o.fills = {{"a", fill::integers(low, high)}};
  if (kInputs<Function> > 1) o.fills.push_back({"b", fill::integers(-9, 10)});
  if (kInputs<Function> > 2) o.fills.push_back({"c", fill::integers(-9, 10)});
  add(suite, f, "integers", {401}, all<Function>({1}), o, s, t);
  add(suite, f, "integers strided", {33, 7}, all<Function>({1, 33}), o, s, t);
}

template <class Function>
Function nth(int i) {
  return static_cast<Function>(i);
}

/// Parameters (s, t) of an activation.
std::pair<double, double> parameters(ActivationFunction f) {
  using F = ActivationFunction;
  if (f == F::leaky_relu) return {0.01, 0};
  if (f == F::elu || f == F::celu) return {1.25, 0};
  if (f == F::softplus) return {1.5, 8};
  return {-0.75, 1.25};  // hardtanh; the others ignore them
}

void add_activations(Suite& suite) {
  for (int i = 0; i < MapGroup<ActivationFunction>::kFunctions; ++i) {
    const auto f = nth<ActivationFunction>(i);
    const auto [s, t] = parameters(f);
    CaseOptions o;
    o.fills = {{"a", fill::normal(0, 2)}};
    // In the tails of gelu and mish the rounding of the exponent counts; on the CPU the accuracy test is
    // sharper.
    o.scale = Scale::operand;
    o.zeros_ok = {"y"};  // the flat parts of the hard ones
    add_shapes(suite, f, o, s, t);
    o.scale = Scale::element;
    o.c = 64;  // gelu's tanh form at -13.9, where the exponent 2 u is about 200: 2 u eps
    add_special(suite, f, o, s, t);
    CaseOptions gradient;
    gradient.fills = {{"b", fill::normal(0, 2)}};
    gradient.scale = Scale::operand;  // the slopes cross zero
    gradient.zeros_ok = {"y"};
    const auto g = static_cast<ActivationGrad>(f);
    add_shapes(suite, g, gradient, s, t);
    // An infinite dy would tell a slope that underflows in float from one that is small in double.
    add_special(suite, g, gradient, s, t, fill::cycle({1, -2, 0.25}));
  }
  for (const auto f : {ActivationFunction::gelu, ActivationFunction::silu}) {
    CaseOptions o;
    o.scale = Scale::operand;
    add(suite, f, "70001", {70001}, {Extents{1}}, o, 0, 0);
  }
}

void add_gated(Suite& suite) {
  for (int i = 0; i < MapGroup<GatedFunction>::kFunctions; ++i) {
    CaseOptions o;
    o.fills = {{"a", fill::normal(0, 2)}};
    o.scale = Scale::operand;  // the tails of the activation, as above
    add_shapes(suite, nth<GatedFunction>(i), o);
    CaseOptions gradient;
    gradient.fills = {{"b", fill::normal(0, 2)}};
    gradient.scale = Scale::operand;
    gradient.c = 8;
    add_shapes(suite, nth<GatedGrad>(i), gradient);
  }
}

void add_math(Suite& suite) {
  for (int i = 0; i < MapGroup<MathFunction>::kFunctions; ++i) {
    const auto f = nth<MathFunction>(i);
    using F = MathFunction;
    CaseOptions o;
    Fill x = fill::normal(0, 2);
    if (f == F::sqrt || f == F::rsqrt || f == F::log2 || f == F::log10 || f == F::log1p || f == F::pow_scalar)
      x = fill::uniform(0.01, 10);
    if (f == F::asin || f == F::acos) x = fill::uniform(-1, 1);
    o.fills = {{"a", x}};
    if (f == F::floor || f == F::ceil || f == F::round || f == F::trunc) o.zeros_ok = {"y"};
    const double s = f == F::clamp ? -1 : 1.75, t = 2;
    add_shapes(suite, f, o, s, t);
    add_special(suite, f, o, s, t);
    if (takes(f, DType::i32)) add_integers(suite, f, -3, 5);
  }
  add_special(suite, MathFunction::pow_scalar, {}, 2);
  for (int i = 0; i < MapGroup<MathGrad>::kFunctions; ++i) {
    const auto f = nth<MathGrad>(i);
    using F = MathGrad;
    CaseOptions o;
    Fill v = fill::uniform(0.3, 2);
    if (f == F::asin || f == F::acos) v = fill::uniform(-0.9, 0.9);
    if (f == F::abs || f == F::clamp || f == F::sin || f == F::cos || f == F::atan || f == F::tan ||
        f == F::erf)
      v = fill::normal(0, 1.5);
    if (f == F::clamp) o.zeros_ok = {"y"};
    if (f == F::erf) o.scale = Scale::operand;  // the rounding of x^2 counts in the tails
    o.fills = {{"b", v}};
    o.c = 8;  // several products and sums
    add_shapes(suite, f, o, f == F::clamp ? -1 : 1.75, 2);
  }
}

void add_binary_math(Suite& suite) {
  for (int i = 0; i < MapGroup<BinaryMath>::kFunctions; ++i) {
    const auto f = nth<BinaryMath>(i);
    CaseOptions o;
    using F = BinaryMath;
    if (f == F::pow) o.fills = {{"a", fill::uniform(0.1, 4)}};
    if (f == F::heaviside) o.fills = {{"a", fill::every(3, 0, fill::normal(0, 1))}}, o.zeros_ok = {"y"};
    if (f == F::lerp_scalar) o.scale = Scale::operand, o.zeros_ok = {"y"};  // differences; 0 when in place
    if (f == F::fmod || f == F::remainder) o.zeros_ok = {"y"};              // of repeated operands
    add_shapes(suite, f, o, 0.3);
    if (f != F::lerp_scalar) add_special(suite, f, o);
    if (takes(f, DType::i32)) add_integers(suite, f);
  }
  for (int i = 0; i < MapGroup<BinaryMathGrad>::kFunctions; ++i) {
    const auto f = nth<BinaryMathGrad>(i);
    CaseOptions o;
    using F = BinaryMathGrad;
    o.zeros_ok = {"y"};
    o.c = 8;
    if (f == F::pow_a || f == F::pow_b)
      o.fills = {{"b", fill::uniform(0.3, 3)}, {"c", fill::uniform(-2, 2)}}, o.scale = Scale::operand;
    if (f == F::fmod_b || f == F::remainder_b) o.fills = {{"c", fill::uniform(0.5, 2)}};
    add_shapes(suite, f, o);
  }
}

void add_selections(Suite& suite) {
  CaseOptions o;
  o.fills = {{"a", fill::integers(0, 2)}};
  add_shapes(suite, Selection::where, o);
  add_integers(suite, Selection::where);
  for (int i = 0; i < MapGroup<TernaryFunction>::kFunctions; ++i) {
    CaseOptions sum;
    sum.scale = Scale::operand;  // sums that may cancel
    sum.fills = {{"c", fill::uniform(0.2, 2)}};
    add_shapes(suite, nth<TernaryFunction>(i), sum, 1.25);
  }
}

template <class Function>
void add_comparisons_of(Suite& suite, double s) {
  for (int i = 0; i < MapGroup<Function>::kFunctions; ++i) {
    const auto f = nth<Function>(i);
    CaseOptions o;
    o.fills = {{"a", fill::integers(-2, 3)}};
    if (kInputs<Function> == 2) o.fills.push_back({"b", fill::integers(-2, 3)});
    add_shapes(suite, f, o, s);
    add_special(suite, f, o, s);
    add_integers(suite, f, s);
    o.dtypes = {DType::u8, DType::boolean};
    o.fills = {{"a", fill::integers(0, 2)}};
    if (kInputs<Function> == 2) o.fills.push_back({"b", fill::integers(0, 2)});
    add(suite, f, "bytes", {401}, all<Function>({1}), o, s, 0);
  }
}

}  // namespace

void add_elementwise_functions_cases(Suite& suite) {
  add_activations(suite);
  add_gated(suite);
  add_math(suite);
  add_binary_math(suite);
  add_selections(suite);
  add_comparisons_of<CompareFunction>(suite, 0);
  add_comparisons_of<Predicate>(suite, 1);
}

}  // namespace gpunn::parity
