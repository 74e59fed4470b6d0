// f32 on the CPU: tiles that stay in the first cache, one vector loop per step and tile, chunks on the pool.
//
// A tile's first step reads x, its last writes y, and between them the values live in one buffer; a repeated
// operand is one vector, a strided one is gathered. Loops run over whole vectors only: a tile that does not
// end with one goes through padded buffers, so that an element's value does not depend on where it stands.
#include <algorithm>
#include <cstring>

#include "gpunn/kernels/chain/chain_impl.h"
#include "gpunn/kernels/elementwise/math_functors_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/chain/chain_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h
#include "gpunn/kernels/elementwise/simd_activations-inl.h"

// One body per target; the shared part below is compiled once.
#ifndef GPUNN_CHAIN_TILES_
#define GPUNN_CHAIN_TILES_
namespace gpunn {
inline constexpr std::size_t kChainPad = 16;  // elements of the widest vector
/// An operand's part of a tile: element i is data[i & mask].
struct TileOperand {
  const float* data;
  std::size_t mask;
};
/// One step on n elements, n a multiple of kChainPad. Each of g, v, b and y is read at an element before out
/// is written there, so out may be any of them that does not repeat.
struct TileStep {
  const float *g, *v;  // the gradient of y; the value before the step
  TileOperand b;
  const float* y;  // the value after it
  float* out;
  std::size_t n;
  float s, t;
};
using TileRun = void (*)(ChainFunction, const TileStep&);
struct TileRuns {
  TileRun value, grad, operand_grad;
};
}  // namespace gpunn
#endif

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::CappedTag<float, kChainPad>;
using Vector = hn::Vec<Tag>;

HWY_INLINE Vector Zero() { return hn::Zero(Tag()); }
HWY_INLINE Vector One() { return hn::Set(Tag(), 1.0f); }
HWY_INLINE Vector Larger(Vector a, Vector b) {
  const Vector larger = hn::IfThenElse(hn::Lt(a, b), b, a);
  return hn::IfThenElse(hn::Eq(b, b), larger, hn::IfThenElse(hn::Eq(a, a), b, a));
}
HWY_INLINE Vector Smaller(Vector a, Vector b) {
  const Vector smaller = hn::IfThenElse(hn::Lt(b, a), b, a);
  return hn::IfThenElse(hn::Eq(b, b), smaller, hn::IfThenElse(hn::Eq(a, a), b, a));
}
/// The gradient of the operand that is not beaten; equal ones get half of it each.
HWY_INLINE Vector Share(Vector g, Vector a, Vector b) {
  return hn::IfThenElse(hn::Eq(a, b), hn::Mul(g, hn::Set(Tag(), 0.5f)), g);
}
HWY_INLINE Vector Bounded(Vector v, Vector s, Vector t) {
  const Vector above = hn::IfThenElse(hn::Lt(v, s), s, v);
  return hn::IfThenElse(hn::Gt(above, t), t, above);
}

/// The vector forms of chain_functors_impl.h. Value, Grad and OperandGrad tell the loop what to compute.
#define GPUNN_CHAIN_VECTORS(Name, value_of, grad_of, operand_grad_of)                                 \
  struct Name {                                                                                       \
    static HWY_INLINE Vector Value([[maybe_unused]] Tag d, [[maybe_unused]] Vector g, Vector v,       \
                                   [[maybe_unused]] Vector b, [[maybe_unused]] Vector y,              \
                                   [[maybe_unused]] Vector s, [[maybe_unused]] Vector t) {            \
      return value_of;                                                                                \
    }                                                                                                 \
    static HWY_INLINE Vector Grad([[maybe_unused]] Tag d, Vector g, [[maybe_unused]] Vector v,        \
                                  [[maybe_unused]] Vector b, [[maybe_unused]] Vector y,               \
                                  [[maybe_unused]] Vector s, [[maybe_unused]] Vector t) {             \
      return grad_of;                                                                                 \
    }                                                                                                 \
    static HWY_INLINE Vector OperandGrad([[maybe_unused]] Tag d, Vector g, [[maybe_unused]] Vector v, \
                                         [[maybe_unused]] Vector b, [[maybe_unused]] Vector y,        \
                                         [[maybe_unused]] Vector s, [[maybe_unused]] Vector t) {      \
      return operand_grad_of;                                                                         \
    }                                                                                                 \
  }

GPUNN_CHAIN_VECTORS(VAdd, hn::Add(v, b), g, g);
GPUNN_CHAIN_VECTORS(VSub, hn::Sub(v, b), g, hn::Neg(g));
GPUNN_CHAIN_VECTORS(VRSub, hn::Sub(b, v), hn::Neg(g), g);
GPUNN_CHAIN_VECTORS(VMul, hn::Mul(v, b), hn::Mul(g, b), hn::Mul(g, v));
GPUNN_CHAIN_VECTORS(VDiv, hn::Div(v, b), hn::Div(g, b), hn::Neg(hn::Mul(hn::Div(g, b), y)));
GPUNN_CHAIN_VECTORS(VRDiv, hn::Div(b, v), hn::Neg(hn::Mul(hn::Div(g, v), y)), hn::Div(g, v));
GPUNN_CHAIN_VECTORS(VMaximum, Larger(v, b), hn::IfThenZeroElse(hn::Lt(v, b), Share(g, v, b)),
                    hn::IfThenZeroElse(hn::Lt(b, v), Share(g, v, b)));
GPUNN_CHAIN_VECTORS(VMinimum, Smaller(v, b), hn::IfThenZeroElse(hn::Gt(v, b), Share(g, v, b)),
                    hn::IfThenZeroElse(hn::Gt(b, v), Share(g, v, b)));
GPUNN_CHAIN_VECTORS(VNeg, hn::Neg(v), hn::Neg(g), g);
GPUNN_CHAIN_VECTORS(VExp, Exp(d, v), hn::Mul(g, y), g);
GPUNN_CHAIN_VECTORS(VLog, Log(d, v), hn::Div(g, v), g);
GPUNN_CHAIN_VECTORS(VRelu, hn::IfThenZeroElse(hn::Le(v, Zero()), v), hn::IfThenZeroElse(hn::Le(y, Zero()), g),
                    g);
GPUNN_CHAIN_VECTORS(VSigmoid, Sigmoid(d, v), hn::Mul(hn::Mul(g, y), hn::Sub(One(), y)), g);
GPUNN_CHAIN_VECTORS(VTanh, Tanh(d, v), hn::Mul(g, hn::NegMulAdd(y, y, One())), g);
GPUNN_CHAIN_VECTORS(VGelu, Gelu(d, v), GeluGrad(d, g, v), g);
GPUNN_CHAIN_VECTORS(VGeluTanh, GeluTanh(d, v), GeluTanhGrad(d, g, v), g);
GPUNN_CHAIN_VECTORS(VSilu, Silu(d, v), SiluGrad(d, g, v), g);
GPUNN_CHAIN_VECTORS(VAbs, hn::Abs(v),
                    hn::IfThenElse(hn::Eq(v, Zero()), hn::Mul(g, v),
                                   hn::IfThenElse(hn::Eq(v, v), hn::Mul(g, hn::CopySign(One(), v)), v)),
                    g);
GPUNN_CHAIN_VECTORS(VSquare, hn::Mul(v, v), hn::Mul(g, hn::Add(v, v)), g);
GPUNN_CHAIN_VECTORS(VSqrt, hn::Sqrt(v), hn::Div(g, hn::Add(y, y)), g);
GPUNN_CHAIN_VECTORS(VRsqrt, hn::Div(One(), hn::Sqrt(v)),
                    hn::Mul(hn::Mul(hn::Set(d, -0.5f), g), hn::Mul(y, hn::Mul(y, y))), g);
GPUNN_CHAIN_VECTORS(VClamp, Bounded(v, s, t), hn::IfThenElseZero(hn::And(hn::Ge(v, s), hn::Le(v, t)), g), g);
GPUNN_CHAIN_VECTORS(VLeakyRelu, hn::IfThenElse(hn::Gt(v, Zero()), v, hn::Mul(v, s)),
                    hn::IfThenElse(hn::Gt(v, Zero()), g, hn::Mul(g, s)), g);
#undef GPUNN_CHAIN_VECTORS

/// out[i] = f(...) in vectors; what f does not use is not loaded.
template <class F>
HWY_INLINE void Loop(const TileStep& a, F f) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector s = hn::Set(d, a.s), t = hn::Set(d, a.t);
  for (std::size_t i = 0; i < a.n; i += lanes)
    hn::StoreU(f(d, hn::LoadU(d, a.g + i), hn::LoadU(d, a.v + i), hn::LoadU(d, a.b.data + (i & a.b.mask)),
                 hn::LoadU(d, a.y + i), s, t),
               d, a.out + i);
}

#define GPUNN_CHAIN_LOOP(Member, Functor)                                                            \
  Loop(a, [](Tag d, Vector g, Vector v, Vector b, Vector y, Vector s, Vector t) HWY_ATTR -> Vector { \
    return Functor::Member(d, g, v, b, y, s, t);                                                     \
  })
#define GPUNN_CHAIN_VALUE(name, Functor) \
  case ChainFunction::name:              \
    return GPUNN_CHAIN_LOOP(Value, V##Functor);
#define GPUNN_CHAIN_GRAD(name, Functor) \
  case ChainFunction::name:             \
    return GPUNN_CHAIN_LOOP(Grad, V##Functor);
#define GPUNN_CHAIN_OPERAND_GRAD(name, Functor) \
  case ChainFunction::name:                     \
    return GPUNN_CHAIN_LOOP(OperandGrad, V##Functor);

void RunValue(ChainFunction function, const TileStep& a) {
  switch (function) { GPUNN_CHAIN_BINARY(GPUNN_CHAIN_VALUE) GPUNN_CHAIN_UNARY(GPUNN_CHAIN_VALUE) }
}
void RunGrad(ChainFunction function, const TileStep& a) {
  switch (function) { GPUNN_CHAIN_BINARY(GPUNN_CHAIN_GRAD) GPUNN_CHAIN_UNARY(GPUNN_CHAIN_GRAD) }
}
void RunOperandGrad(ChainFunction function, const TileStep& a) {
  switch (function) {
    GPUNN_CHAIN_BINARY(GPUNN_CHAIN_OPERAND_GRAD)
    default:
      return;
  }
}
#undef GPUNN_CHAIN_VALUE
#undef GPUNN_CHAIN_GRAD
#undef GPUNN_CHAIN_OPERAND_GRAD
#undef GPUNN_CHAIN_LOOP

TileRuns ChooseRuns() { return {RunValue, RunGrad, RunOperandGrad}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cstdint>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/elementwise/stream_cpu_impl.h"

namespace gpunn {

namespace {

HWY_EXPORT(ChooseRuns);

constexpr std::size_t kPad = kChainPad;
constexpr std::size_t kAll = ~std::size_t{0};
// Forward keeps a tile of values and perhaps of operands; backward the values after every step as well, and
// what goes through more memory than a core's own caches hold asks for a tile ahead of its use.
constexpr std::size_t kTile = 1024, kSmallTile = elementwise::kStreamTile;
// Elements per chunk: some ten microseconds of work, well above the cost of a hand-over.
constexpr std::int64_t kGrain = 1 << 15;
std::size_t padded(std::size_t n) { return (n + kPad - 1) / kPad * kPad; }

/// Copies n elements of a strided operand, from element `begin` of the shape on, to a padded buffer.
void gather(const ChainGeometry& g, int k, const float* x, std::int64_t begin, std::size_t n, float* to) {
  const std::int64_t stride = g.strides[k][g.rank - 1];
  float* out = to;
  detail::walk<1>(g.rank, g.shape, {g.strides[k]}, begin, begin + static_cast<std::int64_t>(n),
                  [&](std::int64_t m, const std::int64_t(&at)[1]) {
                    const float* from = x + at[0];
                    if (stride == 1)
                      std::copy_n(from, m, out);
                    else if (stride == 0)
                      std::fill_n(out, m, *from);
                    else
                      for (std::int64_t i = 0; i < m; ++i) out[i] = from[i * stride];
                    out += m;
                  });
  std::fill(out, to + padded(n), 0.0f);
}

/// n elements of operand k from element `begin` on: in place where they lie together, repeated, or gathered.
/// `ahead`: what a later tile takes from there is asked for.
TileOperand tile_of(const ChainGeometry& g, int k, const void* data, std::int64_t begin, std::size_t n,
                    bool ahead, float* buffer) {
  const auto* x = static_cast<const float*>(data);
  const std::int64_t cols = g.shape[g.rank - 1], stride = g.strides[k][g.rank - 1];
  const bool one_run = begin % cols + static_cast<std::int64_t>(n) <= cols;
  const bool whole = n % kPad == 0;
  if (!one_run || (stride != 0 && (stride != 1 || !whole))) {
    gather(g, k, x, begin, n, buffer);
    return {buffer, kAll};
  }
  std::int64_t offset = 0, rest = begin;
  for (int i = g.rank - 1; i >= 0; --i) {
    offset += rest % g.shape[i] * g.strides[k][i];
    rest /= g.shape[i];
  }
  if (stride == 1) {
    if (ahead && g.strides[k][0] != 0) prefetch_ahead(x + offset, static_cast<std::int64_t>(n));
    return {x + offset, kAll};
  }
  std::fill_n(buffer, kPad, x[offset]);
  return {buffer, 0};
}

/// Does a gradient, of v or of b, take b?
constexpr bool gradient_takes_operand(ChainFunction f) {
  return is_binary(f) && !passes(f) && f != ChainFunction::rsub;
}

/// The operands of a tile, one per step; numbers too. What no loop reads is not fetched.
template <std::size_t kSize>
struct TileOperands {
  alignas(64) float gathered[kChainOperands][kSize];
  alignas(64) float numbers[kChainSteps][kPad];
  TileOperand of[kChainSteps];
  bool read[kChainSteps];

  /// Numbers are the same for all tiles. The values of the first `computed` steps are computed, and of others
  /// gradients at most.
  TileOperands(const ChainProgram& program, int computed) {
    for (int k = 0; k < program.steps; ++k) {
      const ChainStep& step = program.step[k];
      std::fill_n(numbers[k], kPad, static_cast<float>(step.s));
      of[k] = {numbers[k], 0};
      read[k] = step.operand >= 0 && (k < computed || gradient_takes_operand(step.function));
    }
  }
  template <class P>
  void fetch(const P& p, std::int64_t begin, std::size_t n, bool ahead) {
    for (int k = 0; k < p.program.steps; ++k)
      if (const int b = p.program.step[k].operand; read[k])
        of[k] = tile_of(p.geometry, 1 + b, p.operand[b], begin, n, ahead, gathered[b]);
  }
};

TileStep step_of(const ChainStep& step, TileOperand b, const float* v, float* out, std::size_t n) {
  return {v, v, b, v, out, n, static_cast<float>(step.s), static_cast<float>(step.t)};
}

/// Where a tile's results go: to their place when that takes whole vectors, or through a buffer of the tile.
class TileWriter {
 public:
  explicit TileWriter(std::int64_t elements)
      : streams_(elementwise::streamed(elements)), tiled_(streams_ || elements >= elementwise::kLeastTiled) {}
  /// Before the results are handed over.
  ~TileWriter() {
    if (streams_) elementwise::finish_streams();
  }
  TileWriter(const TileWriter&) = delete;
  TileWriter& operator=(const TileWriter&) = delete;
  /// Tiles have at most elementwise::kStreamTile elements, and operands are asked for ahead.
  bool tiled() const { return tiled_; }

  /// What the last step of n elements writes to; put() brings it to its place.
  float* target(float* place, std::size_t n, float* buffer) const {
    return !streams_ && n % kPad == 0 ? place : buffer;
  }
  void put(const float* result, float* place, std::size_t n) const {
    if (result == place) return;
    if (streams_ && reinterpret_cast<std::uintptr_t>(place) % 64 == 0)
      elementwise::stream_floats(result, place, n);
    else
      std::copy_n(result, n, place);
  }

 private:
  bool streams_, tiled_;
};

void forward_chunk(const ChainProblem& p, const TileRuns& runs, std::int64_t begin, std::int64_t end) {
  alignas(64) float values[kTile], first[kTile];
  const int steps = p.program.steps;
  TileOperands<kTile> operands(p.program, steps);
  const TileWriter writer(numel_of(p.geometry));
  const std::size_t most = writer.tiled() ? kSmallTile : kTile;
  for (std::int64_t i = begin; i < end; i += static_cast<std::int64_t>(most)) {
    const std::size_t n = std::min(most, static_cast<std::size_t>(end - i));
    float* const y = static_cast<float*>(p.y) + i;
    operands.fetch(p, i, n, writer.tiled());
    const TileOperand x = tile_of(p.geometry, 0, p.x, i, n, writer.tiled(), first);
    const float* v = x.data;
    if (x.mask == 0) {  // one element of x for the whole tile
      std::fill(first + kPad, first + padded(n), first[0]);
      v = first;
    }
    float* const target = writer.target(y, n, values);
    for (int k = 0; k < steps; ++k) {
      float* const out = k + 1 < steps ? values : target;
      runs.value(p.program.step[k].function, step_of(p.program.step[k], operands.of[k], v, out, padded(n)));
      v = out;
    }
    writer.put(target, y, n);
  }
}

void backward_chunk(const ChainBackwardProblem& p, const TileRuns& runs, std::int64_t begin,
                    std::int64_t end) {
  constexpr std::size_t kSize = kSmallTile;
  alignas(64) float values[kChainSteps][kSize], first[kSize], gradient[kSize], part[kSize];
  const int steps = p.program.steps, recomputed = recomputed_steps(p);
  TileOperands<kSize> operands(p.program, recomputed);
  int first_step = 0;  // the first whose gradient is a computation
  while (first_step < steps && passes(p.program.step[first_step].function)) ++first_step;
  const TileWriter writer(numel_of(p.geometry));
  for (std::int64_t i = begin; i < end; i += static_cast<std::int64_t>(kSize)) {
    const std::size_t n = std::min(kSize, static_cast<std::size_t>(end - i));
    operands.fetch(p, i, n, writer.tiled());
    const TileOperand x = tile_of(p.geometry, 0, p.x, i, n, writer.tiled(), first);
    if (x.mask == 0) std::fill(first + kPad, first + padded(n), first[0]);
    const float* const x_tile = x.mask == 0 ? first : x.data;
    // Behind the last value that a gradient needs, any number does.
    const auto value_before = [&](int k) { return k == 0 || k > recomputed ? x_tile : values[k - 1]; };
    for (int k = 0; k < recomputed; ++k)
      runs.value(p.program.step[k].function,
                 step_of(p.program.step[k], operands.of[k], value_before(k), values[k], padded(n)));
    const float* g = static_cast<const float*>(p.dy) + i;
    if (writer.tiled()) prefetch_ahead(g, static_cast<std::int64_t>(n));
    if (n % kPad != 0) {
      std::fill(std::copy_n(g, n, gradient), gradient + padded(n), 0.0f);
      g = gradient;
    }
    for (int k = steps - 1; k >= 0; --k) {
      const ChainStep& step = p.program.step[k];
      TileStep a = step_of(step, operands.of[k], value_before(k), gradient, padded(n));
      a.g = g;
      a.y = value_before(k + 1);
      if (void* const db = step.operand < 0 ? nullptr : p.d_operand[step.operand]) {
        float* const place = static_cast<float*>(db) + i;
        a.out = writer.target(place, n, part);
        runs.operand_grad(step.function, a);
        writer.put(a.out, place, n);
      }
      if (passes(step.function)) continue;
      a.out = k == first_step && p.dx ? writer.target(static_cast<float*>(p.dx) + i, n, gradient) : gradient;
      runs.grad(step.function, a);
      g = a.out;
    }
    if (p.dx) writer.put(g, static_cast<float*>(p.dx) + i, n);
  }
}

}  // namespace

void chain_fwd_cpu(const ChainProblem& p, const Exec& exec) {
  const TileRuns runs = HWY_DYNAMIC_DISPATCH(ChooseRuns)();
  parallel_for(*exec.pool, numel_of(p.geometry), kGrain,
               [&](std::int64_t begin, std::int64_t end) { forward_chunk(p, runs, begin, end); });
}

void chain_bwd_cpu(const ChainBackwardProblem& p, const Exec& exec) {
  const TileRuns runs = HWY_DYNAMIC_DISPATCH(ChooseRuns)();
  parallel_for(*exec.pool, numel_of(p.geometry), kGrain,
               [&](std::int64_t begin, std::int64_t end) { backward_chunk(p, runs, begin, end); });
}

}  // namespace gpunn
#endif  // HWY_ONCE
