// Sums, means, maxima and minima, and the gradient of the latter two. Minima are maxima of the flipped
// values.
// nvcc 13.0, sm_80: at most 50 registers, no spills.
#include "gpunn/kernels/reduce/reduce_device.cuh"

namespace gpunn {

namespace reduction {
namespace {

/// Sums; A is float or long long (what __shfl takes for 64-bit integers).
template <class A>
struct Sum {
  using Value = A;
  using Acc = A;
  GPUNN_DEVICE Sum(const ReduceProblem&, Value) {}
  static GPUNN_DEVICE Acc identity() { return Acc{0}; }
  GPUNN_DEVICE Acc take(Acc acc, Value value, std::int64_t) const { return combine(acc, value); }
  static GPUNN_DEVICE Acc combine(Acc a, Acc b) {
    if constexpr (std::is_integral_v<A>)  // wraps around
      return static_cast<A>(static_cast<unsigned long long>(a) + static_cast<unsigned long long>(b));
    else
      return a + b;
  }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t length, Acc acc) {
    if constexpr (std::is_integral_v<T>)
      static_cast<std::int64_t*>(p.y)[o] = acc;
    else
      static_cast<T*>(p.y)[o] =
          from_float<T>(p.function == ReduceFunction::mean ? acc / static_cast<float>(length) : acc);
  }
};

template <class A>
struct Best {
  A value;
  long long index;  // -1: nothing seen yet
};

template <class A>
GPUNN_DEVICE Best<A> shuffle_xor(Best<A> b, int lane_mask) {
  return {__shfl_xor_sync(kFullWarp, b.value, lane_mask), __shfl_xor_sync(kFullWarp, b.index, lane_mask)};
}

/// The largest value and its first position; NaN is larger than everything. For the least value, elements are
/// flipped when taken and when stored.
template <class A>
struct Max {
  using Value = A;
  using Acc = Best<A>;
  GPUNN_DEVICE Max(const ReduceProblem& p, Value) : least(wants_least(p.function)) {}
  static GPUNN_DEVICE Acc identity() { return {A{0}, -1}; }
  GPUNN_DEVICE Acc take(Acc acc, Value value, std::int64_t position) const {
    return combine(acc, {least ? flip(value) : value, static_cast<long long>(position)});
  }
  static GPUNN_DEVICE Acc combine(Acc a, Acc b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (a_nan || a.value == b.value) return a.index < b.index ? a : b;
    return a.value > b.value ? a : b;
  }
  /// Reverses the order; its own inverse, also for the lowest integer.
  static GPUNN_DEVICE A flip(A v) {
    if constexpr (std::is_integral_v<A>)
      return ~v;
    else
      return -v;
  }
  template <class T>
  static GPUNN_DEVICE void store(const ReduceProblem& p, std::int64_t o, std::int64_t, Acc acc) {
    if (gives_values(p.function)) {
      const A value = wants_least(p.function) ? flip(acc.value) : acc.value;
      if constexpr (std::is_integral_v<T>)
        static_cast<T*>(p.y)[o] = static_cast<T>(value);
      else
        static_cast<T*>(p.y)[o] = from_float<T>(value);
    }
    if (gives_indices(p.function)) p.indices[o] = acc.index;
  }

  bool least;
};

/// Gradient of the maxima, a block per output: ties are counted, then every element of dx is written.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    max_bwd_kernel(const __grid_constant__ MaxBackwardProblem p, std::int64_t outputs, std::int64_t length) {
  const T* x = static_cast<const T*>(p.x);
  T* dx = static_cast<T*>(p.dx);
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t o = blockIdx.x; o < outputs; o += gridDim.x) {
    const std::int64_t base = offset_of(p.kept, o);
    const float y = p.by_index ? 0.0f : to_float(static_cast<const T*>(p.y)[o]);
    const std::int64_t index = p.by_index ? p.indices[o] : -1;
    long long ties = 1;
    if (!p.by_index) {
      ties = 0;
      for (std::int64_t r = thread; r < length; r += kBlock)
        ties += to_float(x[base + offset_of(p.reduced, r)]) == y;
      ties = block_reduce<CountOp, kBlock>(ties);
    }
    const float dy = to_float(static_cast<const T*>(p.dy)[o]);
    for (std::int64_t r = thread; r < length; r += kBlock) {
      const std::int64_t at = base + offset_of(p.reduced, r);
      const bool chosen = p.by_index ? r == index : to_float(x[at]) == y;
      dx[at] = from_float<T>((chosen ? dy : 0.0f) / static_cast<float>(ties));
    }
  }
}

/// Calls f with the element type and the operation of the problem.
template <class F>
void dispatch(const ReduceProblem& p, F&& f) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, double>) {
      return;  // refused by accepts()
    } else if constexpr (!std::is_integral_v<T>) {
      if (adds(p.function))
        f.template operator()<T, Sum<float>>();
      else
        f.template operator()<T, Max<float>>();
    } else if constexpr (sizeof(T) >= 4) {
      if (adds(p.function))
        f.template operator()<T, Sum<long long>>();
      else
        f.template operator()<T, Max<long long>>();
    } else {
      if (adds(p.function)) f.template operator()<T, Sum<long long>>();
    }
  });
}

}  // namespace
}  // namespace reduction

std::size_t reduce_cuda_workspace(const ReduceProblem& p) {
  std::size_t bytes = 0;
  reduction::dispatch(p, [&]<class T, class Op>() { bytes = reduction::workspace_bytes<Op>(p); });
  return bytes;
}

void reduce_cuda(const ReduceProblem& p, const Exec& exec) {
  reduction::dispatch(p, [&]<class T, class Op>() { reduction::run<T, Op>(p, exec); });
}

void max_bwd_cuda(const MaxBackwardProblem& p, const Exec& exec) {
  using namespace reduction;
  visit_floating(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {
      const std::int64_t outputs = numel_of(p.kept);
      launch("max_bwd_kernel", max_bwd_kernel<T>, {dim3(capped(outputs)), dim3(kBlock)}, exec, p, outputs,
             numel_of(p.reduced));
    }
  });
}

}  // namespace gpunn
