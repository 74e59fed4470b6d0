// Parity cases of chains: every function, shapes and strides, long programs.
#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/chain/chain_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using F = ChainFunction;
using Extents = std::vector<std::int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

constexpr const char* kNames[] = {
#define GPUNN_NAME(name, Functor) #name,
    GPUNN_CHAIN_BINARY(GPUNN_NAME) GPUNN_CHAIN_UNARY(GPUNN_NAME)
#undef GPUNN_NAME
};

class Program {
 public:
  Program& with(F f) {
    program_.step[program_.steps++] = {f, static_cast<std::int8_t>(program_.operands++), 0, 0};
    return *this;
  }
  Program& then(F f, double s = 0, double t = 0) {
    program_.step[program_.steps++] = {f, -1, s, t};
    return *this;
  }
  operator ChainProgram() const { return program_; }

 private:
  ChainProgram program_;
};

/// strides[0] is x's, then the operands'; missing ones are as x's.
ChainGeometry geometry(const Extents& shape, const std::vector<Extents>& strides) {
  ChainGeometry g{};
  g.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), g.shape);
  for (std::size_t k = 0; k <= kChainOperands; ++k) {
    const Extents& s = strides[k < strides.size() ? k : 0];
    std::copy(s.begin(), s.end(), g.strides[k]);
  }
  return g;
}

/// The fills of x and the first `operands` tensors.
CaseOptions fitted(CaseOptions o, int operands) {
  o.fills.resize(static_cast<std::size_t>(1 + operands));
  return o;
}

void add(Suite& suite, const std::string& name, const ChainProgram& program, const ChainGeometry& g,
         const CaseOptions& all) {
  CaseOptions o = fitted(all, program.operands);
  const auto fill_in = [=](auto problem) {
    problem.geometry = g;
    problem.program = program;
    return problem;
  };
  suite.add(kChainForward, name, [=] { return fill_in(ChainProblem{}); }, o);
  // Gradients of several inputs: the products of slopes and values of a chain spread over magnitudes.
  o.scale = Scale::operand;
  o.alias.clear();
  suite.add(kChainBackward, name, [=] { return fill_in(ChainBackwardProblem{}); }, o);
}

CaseOptions options() {
  CaseOptions o;
  o.c = 8;
  o.scale = Scale::operand;
  o.fills = {{"x", fill::normal(0, 1)}};
  // Away from 0, for quotients.
  for (const char* b : {"b0", "b1", "b2", "b3", "b4", "b5"}) o.fills.push_back({b, fill::uniform(0.5, 2)});
  return o;
}

const Program kAffine = Program().with(F::mul).with(F::add).then(F::relu);
const Program kResidual = Program().with(F::add).then(F::gelu).with(F::add);
const Program kLong = Program()
                          .with(F::mul)
                          .with(F::add)
                          .then(F::gelu_tanh)
                          .then(F::mul, 0.75)
                          .with(F::sub)
                          .then(F::silu)
                          .with(F::div)
                          .then(F::tanh)
                          .then(F::add, 1.5)
                          .then(F::sqrt)
                          .with(F::rsub)
                          .then(F::clamp, -1.5, 1.25)
                          .with(F::maximum)
                          .then(F::sigmoid)
                          .then(F::square)
                          .then(F::leaky_relu, 0.1);

void add_functions(Suite& suite) {
  const ChainGeometry g = geometry({301}, {{1}});
  for (int i = 0; i < kChainFunctions; ++i) {
    const auto f = static_cast<F>(i);
    CaseOptions o = options();
    // Half of relu's values, and of the gradients of a maximum.
    o.zeros_ok = {"y", "dx", "db0"};
    if (f == F::log || f == F::sqrt || f == F::rsqrt || f == F::rdiv)
      o.fills[0].second = fill::uniform(0.25, 4);
    if (is_binary(f)) {
      add(suite, std::string(kNames[i]) + " tensor", Program().with(f), g, o);
      add(suite, std::string(kNames[i]) + " number", Program().then(f, 0.75), g, o);
    } else {
      add(suite, kNames[i], Program().then(f, -0.5, 0.75), g, o);
    }
    if (f == F::rdiv || f == F::log) continue;  // x twice over 0
    o.fills[0].second = fill::cycle({0.0, -0.0, 1.0, -1.0, kInfinity, -kInfinity, kNan, 80.0, -80.0, 0.5});
    o.fills[1].second = fill::cycle({1.0, -2.0, 0.0, 3.0, kNan, -0.0, kInfinity});
    const ChainProgram program = is_binary(f) ? Program().with(f) : Program().then(f, -0.5, 0.75);
    suite.add(
        kChainForward, std::string(kNames[i]) + " special values",
        [=] {
          ChainProblem p{};
          p.geometry = g;
          p.program = program;
          return p;
        },
        fitted(o, program.operands));
  }
}

void add_shapes(Suite& suite) {
  const CaseOptions plain = [] {
    CaseOptions o = options();
    o.zeros_ok = {"y", "dx", "db0", "db1"};  // relu
    return o;
  }();
  for (const std::int64_t n : {0, 1, 15, 16, 33, 1024, 1500}) {
    CaseOptions o = plain;
    o.small = n <= 33;
    add(suite, std::to_string(n), kAffine, geometry({n}, {{1}}), o);
  }
  // Chunks of 2^15 elements, tiles, and a last part.
  CaseOptions large = plain;
  large.dtypes = {DType::f32};
  add(suite, "65600", kResidual, geometry({65600}, {{1}}), large);
  // x * scale + bias by columns, in rows shorter and longer than a tile and by columns
  for (const Extents& shape : {Extents{70, 12}, Extents{9, 37}, Extents{3, 2048}, Extents{3, 2100}}) {
    const std::string name = std::to_string(shape[0]) + "x" + std::to_string(shape[1]);
    const Extents whole{shape[1], 1};
    add(suite, name + " + row", kAffine, geometry(shape, {whole, {0, 1}, {0, 1}}), plain);
    add(suite, name + " + column", kAffine, geometry(shape, {whole, {1, 0}, {0, 0}}), plain);
    add(suite, name + " residual", kResidual, geometry(shape, {whole, {0, 1}, whole}), options());
  }
  add(suite, "transposed", kResidual, geometry({21, 36}, {{1, 21}, {36, 1}, {1, 21}}), options());
  add(suite, "repeated x", kResidual, geometry({21, 1100}, {{1, 0}, {0, 1}, {1100, 1}}), options());
  add(suite, "one x", kResidual, geometry({40, 50}, {{0, 0}, {0, 0}, {50, 1}}), options());
  add(suite, "spread", kResidual, geometry({4, 5, 30}, {{600, 60, 2}, {0, 0, 3}, {0, 30, 1}}), options());
  CaseOptions unaligned = options();
  unaligned.shift = 1;
  add(suite, "unaligned", kResidual, geometry({20, 40}, {{40, 1}, {0, 1}, {40, 1}}), unaligned);
  for (const char* input : {"x", "b1"}) {
    CaseOptions in_place = options();
    in_place.alias = {{"y", input}};
    add(suite, std::string("in place of ") + input, kResidual, geometry({1300}, {{1}}), in_place);
  }
}

void add_programs(Suite& suite) {
  // Sixteen steps with six tensors.
  CaseOptions o = options();
  o.zeros_ok = {"dx", "db0", "db1", "db2", "db3", "db4", "db5"};  // clamped and beaten places
  add(suite, "16 steps", kLong, geometry({11, 130}, {{130, 1}, {0, 1}, {0, 1}, {130, 1}, {0, 0}, {1, 0}}), o);
  o.small = true;
  add(suite, "16 steps small", kLong, geometry({50}, {{1}}), o);
}

}  // namespace

void add_chain_cases(Suite& suite) {
  add_functions(suite);
  add_shapes(suite);
  add_programs(suite);
}

}  // namespace gpunn::parity
