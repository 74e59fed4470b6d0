// f32 on the CPU: Highway vectors over runs along the last dimension, chunks on the pool for large tensors.
//
// A run is contiguous, or one repeated element (stride 0), or gathered through a small buffer. Tails go
// through the same vector code in a padded buffer, so that an element's value does not depend on where it
// stands.
#include <algorithm>
#include <cstring>

#include "gpunn/kernels/elementwise/elementwise_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/elementwise/elementwise_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h
#include "gpunn/kernels/common/simd_math-inl.h"

// One body per target; the shared part below is compiled once.
#ifndef GPUNN_ELEMENTWISE_RUNS_
#define GPUNN_ELEMENTWISE_RUNS_
namespace gpunn {
using UnaryRun = void (*)(const float* x, float* y, std::size_t n, float scalar);
/// `a` or `b` is one repeated element in the forms that say so.
using BinaryRun = void (*)(const float* a, const float* b, float* y, std::size_t n);
struct BinaryRuns {
  BinaryRun both, repeat_a, repeat_b;
};
}  // namespace gpunn
#endif

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

// Functors: (tag, x, s) and (tag, a, b).
struct VAdd {
  static HWY_INLINE Vector apply(Tag, Vector a, Vector b) { return hn::Add(a, b); }
};
struct VSub {
  static HWY_INLINE Vector apply(Tag, Vector a, Vector b) { return hn::Sub(a, b); }
};
struct VMul {
  static HWY_INLINE Vector apply(Tag, Vector a, Vector b) { return hn::Mul(a, b); }
};
struct VDiv {
  static HWY_INLINE Vector apply(Tag, Vector a, Vector b) { return hn::Div(a, b); }
};
struct VNegMul {
  static HWY_INLINE Vector apply(Tag, Vector a, Vector b) { return hn::Neg(hn::Mul(a, b)); }
};
struct VReluGrad {
  static HWY_INLINE Vector apply(Tag d, Vector dy, Vector y) {
    return hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), dy);
  }
};
struct VSigmoidGrad {
  static HWY_INLINE Vector apply(Tag d, Vector dy, Vector y) {
    return hn::Mul(hn::Mul(dy, y), hn::Sub(hn::Set(d, 1.0f), y));
  }
};
struct VTanhGrad {
  static HWY_INLINE Vector apply(Tag d, Vector dy, Vector y) {
    return hn::Mul(dy, hn::NegMulAdd(y, y, hn::Set(d, 1.0f)));
  }
};
struct VNeg {
  static HWY_INLINE Vector apply(Tag, Vector x, Vector) { return hn::Neg(x); }
};
struct VExp {
  static HWY_INLINE Vector apply(Tag d, Vector x, Vector) { return Exp(d, x); }
};
struct VLog {
  static HWY_INLINE Vector apply(Tag d, Vector x, Vector) { return Log(d, x); }
};
struct VRelu {
  static HWY_INLINE Vector apply(Tag d, Vector x, Vector) {
    return hn::IfThenZeroElse(hn::Le(x, hn::Zero(d)), x);
  }
};
struct VSigmoid {
  static HWY_INLINE Vector apply(Tag d, Vector x, Vector) { return Sigmoid(d, x); }
};
struct VTanh {
  static HWY_INLINE Vector apply(Tag d, Vector x, Vector) { return Tanh(d, x); }
};
struct VRSub {
  static HWY_INLINE Vector apply(Tag, Vector x, Vector s) { return hn::Sub(s, x); }
};
struct VRDiv {
  static HWY_INLINE Vector apply(Tag, Vector x, Vector s) { return hn::Div(s, x); }
};

/// y[i] = F(a[i], b[i]); a repeated operand is one element.
template <class F, bool kRepeatA, bool kRepeatB>
void Run(const float* a, const float* b, float* y, std::size_t n) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector a0 = hn::Set(d, *a), b0 = hn::Set(d, *b);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    Vector va = a0, vb = b0;
    if constexpr (!kRepeatA) va = hn::LoadU(d, a + i);
    if constexpr (!kRepeatB) vb = hn::LoadU(d, b + i);
    hn::StoreU(F::apply(d, va, vb), d, y + i);
  }
  if (i == n) return;
  HWY_ALIGN float tail[2][HWY_MAX_BYTES / sizeof(float)] = {};
  const std::size_t bytes = (n - i) * sizeof(float);
  Vector va = a0, vb = b0;
  if constexpr (!kRepeatA) std::memcpy(tail[0], a + i, bytes), va = hn::Load(d, tail[0]);
  if constexpr (!kRepeatB) std::memcpy(tail[1], b + i, bytes), vb = hn::Load(d, tail[1]);
  hn::Store(F::apply(d, va, vb), d, tail[0]);
  std::memcpy(y + i, tail[0], bytes);
}

template <class F>
void RunUnary(const float* x, float* y, std::size_t n, float scalar) {
  Run<F, false, true>(x, &scalar, y, n);
}

UnaryRun ChooseUnary(UnaryFunction function) {
  switch (function) {
    case UnaryFunction::neg:
      return RunUnary<VNeg>;
    case UnaryFunction::exp:
      return RunUnary<VExp>;
    case UnaryFunction::log:
      return RunUnary<VLog>;
    case UnaryFunction::relu:
      return RunUnary<VRelu>;
    case UnaryFunction::sigmoid:
      return RunUnary<VSigmoid>;
    case UnaryFunction::tanh:
      return RunUnary<VTanh>;
    case UnaryFunction::add_scalar:
      return RunUnary<VAdd>;
    case UnaryFunction::mul_scalar:
      return RunUnary<VMul>;
    case UnaryFunction::div_scalar:
      return RunUnary<VDiv>;
    case UnaryFunction::rsub_scalar:
      return RunUnary<VRSub>;
    default:
      return RunUnary<VRDiv>;
  }
}

template <class F>
BinaryRuns Runs() {
  return {Run<F, false, false>, Run<F, true, false>, Run<F, false, true>};
}

BinaryRuns ChooseBinary(BinaryFunction function) {
  switch (function) {
    case BinaryFunction::add:
      return Runs<VAdd>();
    case BinaryFunction::sub:
      return Runs<VSub>();
    case BinaryFunction::mul:
      return Runs<VMul>();
    case BinaryFunction::div:
      return Runs<VDiv>();
    case BinaryFunction::neg_mul:
      return Runs<VNegMul>();
    case BinaryFunction::relu_grad:
      return Runs<VReluGrad>();
    case BinaryFunction::sigmoid_grad:
      return Runs<VSigmoidGrad>();
    default:
      return Runs<VTanhGrad>();
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/elementwise/stream_cpu_impl.h"

namespace gpunn {

namespace {

HWY_EXPORT(ChooseUnary);
HWY_EXPORT(ChooseBinary);

// Elements per chunk: some ten microseconds of work, well above the cost of a hand-over.
constexpr std::int64_t kGrain = 1 << 15;
using elementwise::kStreamTile;

/// The operand's run as contiguous floats: itself, or gathered into `buffer` (at most kStreamTile elements).
const float* as_run(const float* x, std::int64_t stride, std::int64_t n, float* buffer) {
  if (stride == 1) return x;
  for (std::int64_t i = 0; i < n; ++i) buffer[i] = x[i * stride];
  return buffer;
}

}  // namespace

void unary_cpu(const UnaryProblem& p, const Exec& exec) {
  const UnaryRun run = HWY_DYNAMIC_DISPATCH(ChooseUnary)(p.function);
  const auto* x = static_cast<const float*>(p.x);
  auto* y = static_cast<float*>(p.y);
  const auto scalar = static_cast<float>(p.scalar);
  const std::int64_t stride = p.x_strides[p.rank - 1];
  const std::int64_t elements = numel_of(p);
  parallel_for(*exec.pool, elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    elementwise::ResultWriter writer(elements);
    if (p.rank == 1 && stride == 1 && !writer.tiled())
      return run(x + begin, y + begin, static_cast<std::size_t>(end - begin), scalar);
    float buffer[kStreamTile];
    float* out = y + begin;
    detail::walk<1>(
        p.rank, p.shape, {p.x_strides}, begin, end, [&](std::int64_t n, const std::int64_t(&at)[1]) {
          const std::int64_t step = stride != 1 || writer.tiled() ? kStreamTile : n;
          for (std::int64_t i = 0; i < n; i += step) {
            const std::int64_t m = std::min(step, n - i);
            const float* const from = as_run(x + at[0] + i * stride, stride, m, buffer);
            if (writer.tiled() && stride == 1) prefetch_ahead(from, m);
            writer.write(out, m, [&](float* to) { run(from, to, static_cast<std::size_t>(m), scalar); });
            out += m;
          }
        });
  });
}

void binary_cpu(const BinaryProblem& p, const Exec& exec) {
  const BinaryRuns runs = HWY_DYNAMIC_DISPATCH(ChooseBinary)(p.function);
  const auto* a = static_cast<const float*>(p.a);
  const auto* b = static_cast<const float*>(p.b);
  auto* y = static_cast<float*>(p.y);
  const std::int64_t sa = p.a_strides[p.rank - 1], sb = p.b_strides[p.rank - 1];
  // A repeated operand beside one that is read; two repeated ones are gathered like any stride.
  const bool repeat_a = sa == 0 && sb != 0, repeat_b = sb == 0 && sa != 0;
  const BinaryRun run = repeat_a ? runs.repeat_a : repeat_b ? runs.repeat_b : runs.both;
  const bool direct = (sa == 1 || repeat_a) && (sb == 1 || repeat_b);
  const std::int64_t elements = numel_of(p);
  parallel_for(*exec.pool, elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    elementwise::ResultWriter writer(elements);
    if (p.rank == 1 && direct && !writer.tiled())
      return run(a + begin * sa, b + begin * sb, y + begin, static_cast<std::size_t>(end - begin));
    float buffer_a[kStreamTile], buffer_b[kStreamTile];
    float* out = y + begin;
    detail::walk<2>(p.rank, p.shape, {p.a_strides, p.b_strides}, begin, end,
                    [&](std::int64_t n, const std::int64_t(&at)[2]) {
                      const std::int64_t step = !direct || writer.tiled() ? kStreamTile : n;
                      for (std::int64_t i = 0; i < n; i += step) {
                        const std::int64_t m = std::min(step, n - i);
                        const float* from_a = a + at[0] + i * sa;
                        const float* from_b = b + at[1] + i * sb;
                        const float* const left = repeat_a ? from_a : as_run(from_a, sa, m, buffer_a);
                        const float* const right = repeat_b ? from_b : as_run(from_b, sb, m, buffer_b);
                        if (writer.tiled() && sa == 1) prefetch_ahead(from_a, m);
                        if (writer.tiled() && sb == 1) prefetch_ahead(from_b, m);
                        writer.write(out, m,
                                     [&](float* to) { run(left, right, to, static_cast<std::size_t>(m)); });
                        out += m;
                      }
                    });
  });
}

}  // namespace gpunn
#endif  // HWY_ONCE
