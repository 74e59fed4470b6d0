// Recording, argument checks and gradients of chains.
#include "gpunn/kernels/chain/chain.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "gpunn/core/op.h"
#include "gpunn/kernels/chain/chain_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/map_op_impl.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {

template <class P>
const char* cpu_accepts(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}
#if GPUNN_HAS_CUDA
template <class P>
const char* cuda_accepts(const P& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : nullptr;
}
#endif

constexpr Implementation<ChainProblem> kForward[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<ChainProblem>, nullptr, Determinism::bitwise, chain_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<ChainProblem>, nullptr, Determinism::bitwise, chain_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, chain_fwd_ref},
};
constexpr Implementation<ChainBackwardProblem> kBackward[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts<ChainBackwardProblem>, nullptr, Determinism::bitwise,
     chain_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts<ChainBackwardProblem>, nullptr, Determinism::bitwise, chain_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, chain_bwd_ref},
};

constexpr const char* kOperandNames[kChainOperands] = {"b0", "b1", "b2", "b3", "b4", "b5"};
constexpr const char* kGradNames[kChainOperands] = {"db0", "db1", "db2", "db3", "db4", "db5"};

/// x and the operands of either problem.
template <class P>
std::vector<Operand> input_operands(P& p) {
  const ChainGeometry& g = p.geometry;
  std::vector<Operand> list{
      {"x", const_cast<void**>(&p.x), p.dtype, detail::extent_of(g.rank, g.shape, g.strides[0]), Role::in}};
  for (int k = 0; k < p.program.operands; ++k)
    list.push_back({kOperandNames[k], const_cast<void**>(&p.operand[k]), p.dtype,
                    detail::extent_of(g.rank, g.shape, g.strides[1 + k]), Role::in});
  return list;
}

/// Distinct elements of x and the operands, in all.
double elements_read(const ChainGeometry& g, int operands) {
  double sum = 0;
  for (int k = 0; k <= operands; ++k) {
    double distinct = 1;
    for (int i = 0; i < g.rank; ++i)
      if (g.strides[k][i] != 0) distinct *= static_cast<double>(g.shape[i]);
    sum += distinct;
  }
  return sum;
}

}  // namespace

const ImplementationList<ChainProblem> kChainForward{"chain", "forward", kForward};
const ImplementationList<ChainBackwardProblem> kChainBackward{"chain", "backward", kBackward};

std::int64_t numel_of(const ChainGeometry& g) {
  std::int64_t n = 1;
  for (int i = 0; i < g.rank; ++i) n *= g.shape[i];
  return n;
}

int recomputed_steps(const ChainBackwardProblem& p) {
  for (int k = p.program.steps - 1; k >= 0; --k) {
    const ChainStep& step = p.program.step[k];
    const bool operand = step.operand >= 0 && p.d_operand[step.operand];
    if (needs_after(step.function) || (operand && operand_needs_after(step.function))) return k + 1;
    if (needs_before(step.function) || (operand && operand_needs_before(step.function))) return k;
  }
  return 0;
}

std::vector<Operand> operands(ChainProblem& p) {
  std::vector<Operand> list = input_operands(p);
  list.push_back({"y", &p.y, p.dtype, numel_of(p.geometry), Role::out});
  return list;
}
std::vector<Operand> operands(ChainBackwardProblem& p) {
  const std::int64_t n = numel_of(p.geometry);
  std::vector<Operand> list = input_operands(p);
  list.push_back({"dy", const_cast<void**>(&p.dy), p.dtype, n, Role::in});
  list.push_back({"dx", &p.dx, p.dtype, n, Role::out});
  for (int k = 0; k < p.program.operands; ++k)
    list.push_back({kGradNames[k], &p.d_operand[k], p.dtype, n, Role::out});
  return list;
}

Cost cost(const ChainProblem& p) {
  const auto n = static_cast<double>(numel_of(p.geometry));
  return {(elements_read(p.geometry, p.program.operands) + n) * static_cast<double>(size_of(p.dtype)),
          n * p.program.steps};
}
Cost cost(const ChainBackwardProblem& p) {
  const auto n = static_cast<double>(numel_of(p.geometry));
  const double written =
      (p.dx != nullptr) + static_cast<double>(std::count_if(std::begin(p.d_operand), std::end(p.d_operand),
                                                            [](void* d) { return d != nullptr; }));
  return {(elements_read(p.geometry, p.program.operands) + n * (1 + written)) *
              static_cast<double>(size_of(p.dtype)),
          3 * n * p.program.steps};
}

namespace {

/// What a chain works on: x and its operands, the absent ones undefined.
using ChainInputs = std::array<Tensor, 1 + kChainOperands>;

/// Fills in what both problems share.
template <class P>
void describe(P& p, const ChainProgram& program, const ChainInputs& in, const Shape& shape) {
  p.dtype = in[0].dtype();
  p.program = program;
  p.x = in[0].data();
  for (int k = 0; k < kChainOperands; ++k) {
    const Tensor& b = in[static_cast<std::size_t>(1 + k)];
    p.operand[k] = b.defined() ? b.data() : nullptr;
  }
  ChainGeometry& g = p.geometry;
  std::copy(shape.begin(), shape.end(), g.shape);
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (in[k].defined())
      elementwise::broadcast_to(in[k], shape, g.strides[k]);
    else
      std::fill_n(g.strides[k], kMaxRank, 0);
  }
  auto& s = g.strides;
  g.rank = detail::coalesce<1 + kChainOperands>(
      {shape.rank(), g.shape, {s[0], s[1], s[2], s[3], s[4], s[5], s[6]}});
}

/// A step in public ops.
Tensor composed_step(const ChainStep& step, const Tensor& v, const Tensor& b) {
  using F = ChainFunction;
  const double s = step.s, t = step.t;
  const bool number = step.operand < 0;
  switch (step.function) {
    case F::add:
      return number ? add(v, s) : add(v, b);
    case F::sub:
      return number ? sub(v, s) : sub(v, b);
    case F::rsub:
      return number ? sub(s, v) : sub(b, v);
    case F::mul:
      return number ? mul(v, s) : mul(v, b);
    case F::div:
      return number ? div(v, s) : div(v, b);
    case F::rdiv:
      return number ? div(s, v) : div(b, v);
    case F::maximum:
      return maximum(v, number ? full({}, s, {.dtype = v.dtype(), .device = v.device()}) : b);
    case F::minimum:
      return minimum(v, number ? full({}, s, {.dtype = v.dtype(), .device = v.device()}) : b);
    case F::gelu:
      return gelu(v);
    case F::gelu_tanh:
      return gelu(v, GeluApproximate::tanh);
    case F::clamp:
      return clamp(v, s, t);
    case F::leaky_relu:
      return leaky_relu(v, s);
#define GPUNN_CHAIN_COMPOSED(name) \
  case F::name:                    \
    return name(v);
      GPUNN_CHAIN_COMPOSED(neg)
      GPUNN_CHAIN_COMPOSED(exp)
      GPUNN_CHAIN_COMPOSED(log)
      GPUNN_CHAIN_COMPOSED(relu)
      GPUNN_CHAIN_COMPOSED(sigmoid)
      GPUNN_CHAIN_COMPOSED(tanh)
      GPUNN_CHAIN_COMPOSED(silu)
      GPUNN_CHAIN_COMPOSED(abs)
      GPUNN_CHAIN_COMPOSED(square)
      GPUNN_CHAIN_COMPOSED(sqrt)
      GPUNN_CHAIN_COMPOSED(rsqrt)
#undef GPUNN_CHAIN_COMPOSED
  }
  return v;
}

/// The gradients as functions of dy and the inputs, which can be derived again.
Gradients composed_gradients(const ChainProgram& program, const ChainInputs& in, const Backward& g) {
  // Views of the inputs end the inner walk: an operand may itself depend on x.
  ChainInputs ends;
  std::vector<Tensor> wanted;
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (in[k].defined()) ends[k] = in[k].view(in[k].shape());
    if (g.needs(k)) wanted.push_back(ends[k]);
  }
  Tensor y = ends[0];
  for (int k = 0; k < program.steps; ++k) {
    const ChainStep& step = program.step[k];
    y = composed_step(step, y,
                      step.operand < 0 ? Tensor() : ends[static_cast<std::size_t>(1 + step.operand)]);
  }
  const std::vector<Tensor> found =
      autograd::grad(std::span(&y, 1), wanted, std::span(&g.grad(), 1), true, true, true);
  Gradients result(in.size());
  std::size_t next = 0;
  for (std::size_t k = 0; k < in.size(); ++k)
    if (g.needs(k)) result[k] = found[next++];
  return result;
}

/// Where an input's gradient of the full shape comes from.
enum class GradientSource : std::uint8_t { none, dy, dx, own };

/// Sources for x and the operands. A summand behind which only sums follow has the gradient dy; one with
/// nothing but sums before it has x's. Neither needs a buffer of its own.
std::array<GradientSource, 1 + kChainOperands> gradient_sources(const ChainProgram& program,
                                                                const Backward& g) {
  std::array<GradientSource, 1 + kChainOperands> source{};
  int first = 0, end = program.steps;  // steps before `first`, and from `end` on, pass gradients unchanged
  while (first < program.steps && passes(program.step[first].function)) ++first;
  while (end > 0 && passes(program.step[end - 1].function)) --end;
  for (int k = 0; k < program.steps; ++k) {
    const ChainStep& step = program.step[k];
    if (step.operand < 0 || !g.needs(static_cast<std::size_t>(1 + step.operand))) continue;
    GradientSource& s = source[static_cast<std::size_t>(1 + step.operand)];
    s = GradientSource::own;
    if (step.function != ChainFunction::add) continue;
    if (k >= end)
      s = GradientSource::dy;
    else if (k <= first)
      s = GradientSource::dx;
  }
  const bool wanted = g.needs(0) || std::count(source.begin(), source.end(), GradientSource::dx) > 0;
  if (wanted) source[0] = end == 0 ? GradientSource::dy : GradientSource::own;
  return source;
}

Gradients fused_gradients(const ChainProgram& program, const ChainInputs& in, const Shape& shape,
                          const Backward& g) {
  using S = GradientSource;
  const auto source = gradient_sources(program, g);
  const Tensor dy = g.grad().contiguous();
  std::array<Tensor, 1 + kChainOperands> full;
  bool runs = false;
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (source[k] != S::own) continue;
    full[k] = empty_on(dy.context(), shape, dy.dtype());
    runs = true;
  }
  if (runs && dy.numel() > 0) {
    ChainBackwardProblem p;
    describe(p, program, in, shape);
    p.dy = dy.data();
    p.dx = full[0].defined() ? full[0].data() : nullptr;
    for (std::size_t k = 0; k < kChainOperands; ++k)
      p.d_operand[k] = full[k + 1].defined() ? full[k + 1].data() : nullptr;
    // execute() takes the device from the first of the writes.
    const Tensor absent;
    std::array<const Tensor*, 1 + kChainOperands> writes;
    writes.fill(&absent);
    std::size_t n = 0;
    for (const Tensor& t : full)
      if (t.defined()) writes[n++] = &t;
    execute(kChainBackward, p, {&in[0], &in[1], &in[2], &in[3], &in[4], &in[5], &in[6], &dy},
            {writes[0], writes[1], writes[2], writes[3], writes[4], writes[5], writes[6]});
  }
  if (source[0] == S::dy) full[0] = dy;
  Gradients result(in.size());
  for (std::size_t k = 0; k < in.size(); ++k)
    if (g.needs(k))
      result[k] = sum_to(source[k] == S::dy ? dy : source[k] == S::dx ? full[0] : full[k], in[k].shape());
  return result;
}

}  // namespace

Chain::Chain(const Tensor& x) : x_(x) {
  OpScope scope("chain");
  check_floating(x, "x");
}

Chain chain(const Tensor& x) { return Chain(x); }

Chain& Chain::push(ChainFunction function, double s, double t) {
  OpScope scope("chain");
  GPUNN_CHECK(program_.steps < kChainSteps, "expected at most ", kChainSteps,
              " steps, got one more; evaluate the chain and begin another");
  program_.step[program_.steps++] = {function, -1, s, t};
  return *this;
}

Chain& Chain::push(ChainFunction function, const Tensor& b) {
  OpScope scope("chain");
  check_same(x_, "x", b, "b");
  GPUNN_CHECK(program_.operands < kChainOperands, "expected at most ", kChainOperands,
              " tensors beside x, got one more; evaluate the chain and begin another");
  push(function);
  program_.step[program_.steps - 1].operand = static_cast<std::int8_t>(program_.operands);
  operands_[program_.operands++] = b;
  return *this;
}

Chain& Chain::clamp(std::optional<double> min, std::optional<double> max) {
  OpScope scope("chain");
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  GPUNN_CHECK(min || max, "expected a lower or an upper bound for clamp, got none");
  const double s = min.value_or(-kInfinity), t = max.value_or(kInfinity);
  GPUNN_CHECK(!std::isnan(s) && !std::isnan(t), "expected numbers as bounds of clamp, got NaN");
  return push(ChainFunction::clamp, s, t);
}

Tensor Chain::eval() const {
  OpScope scope("chain");
  if (program_.steps == 0) return x_;
  const ChainInputs in{x_,           operands_[0], operands_[1], operands_[2],
                       operands_[3], operands_[4], operands_[5]};
  Shape shape = x_.shape();
  for (int k = 0; k < program_.operands; ++k)
    if (operands_[k].shape() != shape) shape = broadcast_shapes(shape, operands_[k].shape());
  Tensor y = empty_on(x_.context(), shape, x_.dtype());
  if (y.numel() > 0) {
    ChainProblem p;
    describe(p, program_, in, shape);
    p.y = y.data();
    execute(kChainForward, p, {&in[0], &in[1], &in[2], &in[3], &in[4], &in[5], &in[6]}, {&y});
  }
  if (!autograd::wanted(in[0], in[1], in[2], in[3], in[4], in[5], in[6])) return y;
  std::array<Saved, 1 + kChainOperands> saved;
  for (std::size_t k = 0; k < in.size(); ++k) saved[k] = Saved(in[k]);
  autograd::record(y, "chain", {&in[0], &in[1], &in[2], &in[3], &in[4], &in[5], &in[6]},
                   [saved, program = program_, shape](const Backward& g) -> Gradients {
                     ChainInputs inputs;
                     for (std::size_t k = 0; k < saved.size(); ++k) inputs[k] = saved[k](g);
                     if (g.creates_graph()) return composed_gradients(program, inputs, g);
                     return fused_gradients(program, inputs, shape, g);
                   });
  return y;
}

}  // namespace gpunn
