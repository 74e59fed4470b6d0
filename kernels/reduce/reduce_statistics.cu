// Products, variances, norms, logsumexp and counts, and the gradients of products and norms.
// nvcc 13.0, sm_80: at most 60 registers, no spills.
#include "gpunn/kernels/reduce/reduce_device.cuh"

namespace gpunn {

namespace reduction {

/// Count, mean and sum of squared deviations of what was seen, all relative to a shift.
struct Moments {
  float n, mean, squares;
};
GPUNN_DEVICE Moments shuffle_xor(Moments m, int lane_mask) {
  return {gpunn::shuffle_xor(m.n, lane_mask), gpunn::shuffle_xor(m.mean, lane_mask),
          gpunn::shuffle_xor(m.squares, lane_mask)};
}

/// The largest value, and the sum of exp(value - largest).
struct ExpSum {
  float max, sum;
};
GPUNN_DEVICE ExpSum shuffle_xor(ExpSum s, int lane_mask) {
  return {gpunn::shuffle_xor(s.max, lane_mask), gpunn::shuffle_xor(s.sum, lane_mask)};
}

namespace {

/// An operation that gathers floats.
struct OfFloats {
  using Value = float;
  using Acc = float;
};

struct Product : OfFloats {
  GPUNN_DEVICE Product(const ReduceProblem&, float) {}
  static GPUNN_DEVICE float identity() { return 1.0f; }
  static GPUNN_DEVICE float combine(float a, float b) { return a * b; }
  GPUNN_DEVICE float take(float acc, float v, std::int64_t) const { return acc * v; }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t, float acc) {
    static_cast<T*>(p.y)[o] = from_float<T>(acc);
  }
};

/// Welford's update and Chan's combination, on values less the output's first element: a large common mean
/// costs no digits then.
struct Variance {
  using Value = float;
  using Acc = Moments;
  GPUNN_DEVICE Variance(const ReduceProblem&, float first) : shift(first) {}
  static GPUNN_DEVICE Moments identity() { return {0.0f, 0.0f, 0.0f}; }
  GPUNN_DEVICE Moments take(Moments m, float v, std::int64_t) const {
    const float value = v - shift, n = m.n + 1.0f, delta = value - m.mean;
    const float mean = m.mean + delta / n;
    return {n, mean, m.squares + delta * (value - mean)};
  }
  /// Rounds each product: a fused multiply-add would treat a and b differently.
  static GPUNN_DEVICE Moments combine(Moments a, Moments b) {
    if (a.n == 0.0f) return b;
    if (b.n == 0.0f) return a;
    const float n = a.n + b.n, delta = b.mean - a.mean;
    const float mean = __fadd_rn(__fmul_rn(a.mean, a.n / n), __fmul_rn(b.mean, b.n / n));
    return {n, mean,
            __fadd_rn(__fadd_rn(a.squares, b.squares),
                      __fmul_rn(__fmul_rn(delta, delta), __fmul_rn(a.n, b.n) / n))};
  }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t length, Moments m) {
    const float divisor = static_cast<float>(static_cast<double>(length) - p.parameter);
    const float variance = m.squares / (divisor > 0.0f ? divisor : 0.0f);
    static_cast<T*>(p.y)[o] = from_float<T>(p.function == ReduceFunction::std ? sqrtf(variance) : variance);
  }

  float shift;
};

/// Where the largest value is infinite, exp(inf - inf) counts as 1 and exp(-inf + inf) as 0.
struct LogSumExp {
  using Value = float;
  using Acc = ExpSum;
  GPUNN_DEVICE LogSumExp(const ReduceProblem&, float) {}
  static GPUNN_DEVICE ExpSum identity() { return {-INFINITY, 0.0f}; }
  GPUNN_DEVICE ExpSum take(ExpSum s, float v, std::int64_t) const {
    if (v > s.max) return {v, s.sum * expf(s.max - v) + 1.0f};
    if (v == s.max) return {v, s.sum + (v == -INFINITY ? 0.0f : 1.0f)};
    return {s.max, s.sum + expf(v - s.max)};
  }
  /// Rounds each product: a fused multiply-add would treat a and b differently.
  static GPUNN_DEVICE ExpSum combine(ExpSum a, ExpSum b) {
    const float max = fmaxf(a.max, b.max);
    const float from_a = a.max == max ? 1.0f : expf(a.max - max),
                from_b = b.max == max ? 1.0f : expf(b.max - max);
    return {max, __fadd_rn(__fmul_rn(a.sum, from_a), __fmul_rn(b.sum, from_b))};
  }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t, ExpSum s) {
    static_cast<T*>(p.y)[o] = from_float<T>(s.max + logf(s.sum));
  }
};

/// Norms that add up.
struct PowerSum : OfFloats {
  GPUNN_DEVICE PowerSum(const ReduceProblem& p, float)
      : term(norm_term(p.parameter)), power(static_cast<float>(p.parameter)) {}
  static GPUNN_DEVICE float identity() { return 0.0f; }
  static GPUNN_DEVICE float combine(float a, float b) { return a + b; }
  GPUNN_DEVICE float take(float acc, float v, std::int64_t) const {
    if (term == NormTerm::square) return acc + v * v;
    if (term == NormTerm::magnitude) return acc + fabsf(v);
    return acc + (term == NormTerm::nonzero ? (v != 0.0f ? 1.0f : 0.0f) : powf(fabsf(v), power));
  }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t, float acc) {
    const NormTerm term = norm_term(p.parameter);
    if (term == NormTerm::square) acc = sqrtf(acc);
    if (term == NormTerm::power) acc = powf(acc, static_cast<float>(1 / p.parameter));
    static_cast<T*>(p.y)[o] = from_float<T>(acc);
  }

  NormTerm term;
  float power;
};

/// Norms that choose: the largest |x|, or the largest -|x|.
struct LargestMagnitude : OfFloats {
  GPUNN_DEVICE LargestMagnitude(const ReduceProblem& p, float) : sign(sign_of(p)) {}
  static GPUNN_DEVICE float sign_of(const ReduceProblem& p) { return p.parameter > 0 ? 1.0f : -1.0f; }
  static GPUNN_DEVICE float identity() { return MaxOp::identity(); }
  static GPUNN_DEVICE float combine(float a, float b) { return MaxOp::combine(a, b); }
  GPUNN_DEVICE float take(float acc, float v, std::int64_t) const { return combine(acc, sign * fabsf(v)); }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t, float acc) {
    static_cast<T*>(p.y)[o] = from_float<T>(sign_of(p) * acc);
  }

  float sign;
};

/// any, all, count_nonzero.
struct Nonzeros {
  using Value = bool;
  using Acc = long long;
  GPUNN_DEVICE Nonzeros(const ReduceProblem&, bool) {}
  static GPUNN_DEVICE long long identity() { return 0; }
  static GPUNN_DEVICE long long combine(long long a, long long b) { return a + b; }
  GPUNN_DEVICE long long take(long long acc, bool v, std::int64_t) const { return acc + (v ? 1 : 0); }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t length, long long acc) {
    if (p.function == ReduceFunction::count_nonzero)
      static_cast<std::int64_t*>(p.y)[o] = acc;
    else
      static_cast<bool*>(p.y)[o] = p.function == ReduceFunction::any ? acc > 0 : acc == length;
  }
};

/// What an output's elements share in the gradient of prod or norm.
struct Shared {
  float y;
  float product;    // prod: of the elements that are not 0
  long long count;  // prod: zeros; norm: elements that tie
};

/// d y / d v
GPUNN_DEVICE float weight_of(const ReduceBackwardProblem& p, NormTerm term, const Shared& s, float v) {
  if (p.function == ReduceFunction::prod) {
    if (v == 0.0f) return s.count == 1 ? s.product : 0.0f;
    return s.count == 0 ? s.product / v : 0.0f;
  }
  const float magnitude = fabsf(v), sign = v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : v;
  if (term == NormTerm::largest || term == NormTerm::least)
    return (magnitude == s.y ? sign : 0.0f) / static_cast<float>(s.count);
  if (term == NormTerm::nonzero || v == 0.0f || s.y == 0.0f) return 0.0f;
  if (term == NormTerm::magnitude) return sign;
  if (term == NormTerm::square) return v / s.y;
  return sign * powf(magnitude / s.y, static_cast<float>(p.parameter - 1));
}

/// A block per output: first what its elements share, then every element of dx is written.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) reduce_bwd_kernel(const __grid_constant__ ReduceBackwardProblem p,
                                                         std::int64_t outputs, std::int64_t length) {
  const T* x = static_cast<const T*>(p.x);
  T* dx = static_cast<T*>(p.dx);
  const int thread = static_cast<int>(threadIdx.x);
  const bool prod = p.function == ReduceFunction::prod;
  const NormTerm term = norm_term(p.parameter);
  const bool ties = !prod && (term == NormTerm::largest || term == NormTerm::least);
  for (std::int64_t o = blockIdx.x; o < outputs; o += gridDim.x) {
    const std::int64_t base = offset_of(p.kept, o);
    Shared s{prod ? 0.0f : to_float(static_cast<const T*>(p.y)[o]), 1.0f, 0};
    if (prod || ties) {
      for (std::int64_t r = thread; r < length; r += kBlock) {
        const float v = to_float(x[base + offset_of(p.reduced, r)]);
        const bool counted = prod ? v == 0.0f : fabsf(v) == s.y;
        s.count += counted ? 1 : 0;
        if (prod && !counted) s.product *= v;
      }
      s.count = block_reduce<CountOp, kBlock>(s.count);
      s.product = block_reduce<Product, kBlock>(s.product);
    }
    const float dy = to_float(static_cast<const T*>(p.dy)[o]);
    for (std::int64_t r = thread; r < length; r += kBlock) {
      const std::int64_t at = base + offset_of(p.reduced, r);
      dx[at] = from_float<T>(dy * weight_of(p, term, s, to_float(x[at])));
    }
  }
}

/// Calls f with the element type and the operation of the problem.
template <class F>
void dispatch(const ReduceProblem& p, F&& f) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>)  // refused by accepts()
      if (counts(p.function)) return f.template operator()<T, Nonzeros>();
    if constexpr (!std::is_integral_v<T> && !std::is_same_v<T, double>) {
      const NormTerm term = norm_term(p.parameter);
      if (p.function == ReduceFunction::prod) return f.template operator()<T, Product>();
      if (p.function == ReduceFunction::logsumexp) return f.template operator()<T, LogSumExp>();
      if (p.function != ReduceFunction::norm) return f.template operator()<T, Variance>();
      if (term == NormTerm::largest || term == NormTerm::least)
        f.template operator()<T, LargestMagnitude>();
      else
        f.template operator()<T, PowerSum>();
    }
  });
}

}  // namespace
}  // namespace reduction

std::size_t reduce_statistics_cuda_workspace(const ReduceProblem& p) {
  std::size_t bytes = 0;
  reduction::dispatch(p, [&]<class T, class Op>() { bytes = reduction::workspace_bytes<Op>(p); });
  return bytes;
}

void reduce_statistics_cuda(const ReduceProblem& p, const Exec& exec) {
  reduction::dispatch(p, [&]<class T, class Op>() { reduction::run<T, Op>(p, exec); });
}

void reduce_bwd_cuda(const ReduceBackwardProblem& p, const Exec& exec) {
  using namespace reduction;
  visit_floating(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {
      const std::int64_t outputs = numel_of(p.kept);
      launch("reduce_bwd_kernel", reduce_bwd_kernel<T>, {dim3(capped(outputs)), dim3(kBlock)}, exec, p,
             outputs, numel_of(p.reduced));
    }
  });
}

}  // namespace gpunn
