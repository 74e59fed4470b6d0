// Reduction kernels. Two ways to read: along rows (a warp or a block per output, threads side by side along
// the reduced dimensions) and down columns (a thread per output and row group, warps side by side along a
// contiguous kept dimension). Long reductions with few outputs are split over blocks; the pieces' results go
// through the workspace and a second kernel joins them. Every tree depends on sizes (and on the alignment of
// x), so the bits do not depend on the GPU.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr int kWarps = kBlock / kWarpSize;
constexpr std::int64_t kWarpRow = 512;        // rows up to this long are reduced by a warp, eight to a block
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, blocks take several outputs
constexpr std::int64_t kWantedBlocks = 512;   // enough to fill any GPU of today; splitting stops there
constexpr std::int64_t kMinRowPiece = 1 << 12, kMinColumnPiece = 64;
constexpr std::int64_t kMaxPiece = 1 << 16;  // longer sums in one block would lose accuracy

// ---- operations: an accumulator, taking one element (position and value), combining two

/// Sums; A is float or long long (what __shfl takes for 64-bit integers).
template <class A>
struct Sum {
  using Acc = A;
  static GPUNN_DEVICE Acc identity() { return Acc{0}; }
  static GPUNN_DEVICE Acc take(Acc acc, Acc value, std::int64_t) { return combine(acc, value); }
  static GPUNN_DEVICE Acc combine(Acc a, Acc b) {
    if constexpr (std::is_integral_v<A>)  // wraps around
      return static_cast<A>(static_cast<unsigned long long>(a) + static_cast<unsigned long long>(b));
    else
      return a + b;
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

/// The largest value and its first position; NaN is larger than everything.
template <class A>
struct Max {
  using Acc = Best<A>;
  static GPUNN_DEVICE Acc identity() { return {A{0}, -1}; }
  static GPUNN_DEVICE Acc take(Acc acc, A value, std::int64_t position) {
    return combine(acc, {value, static_cast<long long>(position)});
  }
  static GPUNN_DEVICE Acc combine(Acc a, Acc b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (a_nan || a.value == b.value) return a.index < b.index ? a : b;
    return a.value > b.value ? a : b;
  }
};

template <class A, class T>
GPUNN_DEVICE A widen(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<A>(x);
  else
    return to_float(x);
}

template <class Index>
GPUNN_DEVICE std::int64_t locate(const ReduceDims& d, std::int64_t flat) {
  Index rest = static_cast<Index>(flat);
  std::int64_t offset = 0;
  for (int i = d.rank - 1; i > 0; --i) {
    const Index extent = static_cast<Index>(d.shape[i]);
    const Index quotient = rest / extent;
    offset += static_cast<std::int64_t>(rest - quotient * extent) * d.strides[i];
    rest = quotient;
  }
  return offset + static_cast<std::int64_t>(rest) * d.strides[0];
}

/// Offset of element `flat`; 32-bit division is several times faster than 64-bit division.
GPUNN_DEVICE std::int64_t offset_of(const ReduceDims& d, std::int64_t flat) {
  if (d.rank == 1) return flat * d.strides[0];
  return flat <= 0x7fffffff ? locate<unsigned>(d, flat) : locate<std::uint64_t>(d, flat);
}

/// How the work is cut: pieces of `piece` elements (rows: along the reduced dimensions; columns: rows),
/// `pieces` per output.
struct Cut {
  std::int64_t outputs, length, piece, pieces;
};

/// Writes a finished output in x's dtype T.
template <class T, class Op>
GPUNN_DEVICE void finish(const ReduceProblem& p, std::int64_t o, std::int64_t length,
                         const typename Op::Acc& acc) {
  if constexpr (std::is_same_v<typename Op::Acc, float>) {
    const float value = p.function == ReduceFunction::mean ? acc / static_cast<float>(length) : acc;
    static_cast<T*>(p.y)[o] = from_float<T>(value);
  } else if constexpr (std::is_same_v<typename Op::Acc, long long>) {
    static_cast<std::int64_t*>(p.y)[o] = acc;
  } else {
    if (p.function != ReduceFunction::argmax) {
      if constexpr (std::is_integral_v<T>)
        static_cast<T*>(p.y)[o] = static_cast<T>(acc.value);
      else
        static_cast<T*>(p.y)[o] = from_float<T>(acc.value);
    }
    if (p.function != ReduceFunction::max) p.indices[o] = acc.index;
  }
}

/// A thread's share of flat elements [begin, end) of a row: every `step`-th from `begin + first`.
template <class T, class Op>
GPUNN_DEVICE typename Op::Acc take_row(const T* row, const ReduceDims& d, std::int64_t begin,
                                       std::int64_t end, int first, int step) {
  typename Op::Acc acc = Op::identity();
  using A = decltype(Op::identity());
  for (std::int64_t r = begin + first; r < end; r += step) {
    if constexpr (std::is_class_v<A>)
      acc = Op::take(acc, widen<decltype(acc.value)>(row[offset_of(d, r)]), r);
    else
      acc = Op::take(acc, widen<A>(row[offset_of(d, r)]), r);
  }
  return acc;
}

/// Rows: grid (outputs, pieces). `by_warp`: each warp of the block has an output of its own, and pieces is 1.
template <class T, class Op>
GPUNN_KERNEL __launch_bounds__(kBlock)
    reduce_fwd_rows_kernel(const __grid_constant__ ReduceProblem p, const __grid_constant__ Cut cut,
                           bool by_warp, bool in_words, typename Op::Acc* partial) {
  using Acc = typename Op::Acc;
  const T* x = static_cast<const T*>(p.x);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarpSize, lane = thread % kWarpSize;
  const std::int64_t piece = static_cast<std::int64_t>(blockIdx.y);
  const std::int64_t begin = piece * cut.piece;
  const std::int64_t end = begin + cut.piece < cut.length ? begin + cut.piece : cut.length;
  if (by_warp) {
    for (std::int64_t o = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp; o < cut.outputs;
         o += static_cast<std::int64_t>(gridDim.x) * kWarps) {
      const Acc acc =
          warp_reduce<Op>(take_row<T, Op>(x + offset_of(p.kept, o), p.reduced, begin, end, lane, kWarpSize));
      if (lane == 0) finish<T, Op>(p, o, cut.length, acc);
    }
    return;  // the whole block takes this way
  }
  for (std::int64_t o = blockIdx.x; o < cut.outputs; o += gridDim.x) {
    const T* row = x + offset_of(p.kept, o);
    Acc acc = Op::identity();
    if constexpr (std::is_same_v<Acc, float>) {
      if (in_words)
        for_each_in_row<kBlock>(row + begin, end - begin, [&](std::int64_t, float v) { acc += v; });
      else
        acc = take_row<T, Op>(row, p.reduced, begin, end, thread, kBlock);
    } else {
      acc = take_row<T, Op>(row, p.reduced, begin, end, thread, kBlock);
    }
    acc = block_reduce<Op, kBlock>(acc);
    if (thread != 0) continue;
    if (cut.pieces == 1)
      finish<T, Op>(p, o, cut.length, acc);
    else
      partial[o * cut.pieces + piece] = acc;
  }
}

/// Columns: block (32 outputs, 8 row groups), grid (tiles of outputs, pieces).
template <class T, class Op>
GPUNN_KERNEL __launch_bounds__(kBlock)
    reduce_fwd_columns_kernel(const __grid_constant__ ReduceProblem p, const __grid_constant__ Cut cut,
                              typename Op::Acc* partial) {
  using Acc = typename Op::Acc;
  GPUNN_SHARED(groups, Acc[kWarps][kWarpSize]);  // [row groups, outputs]
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            group = static_cast<int>(threadIdx.x) / kWarpSize;
  const std::int64_t piece = static_cast<std::int64_t>(blockIdx.y);
  const std::int64_t begin = piece * cut.piece;
  const std::int64_t end = begin + cut.piece < cut.length ? begin + cut.piece : cut.length;
  for (std::int64_t tile = blockIdx.x; tile * kWarpSize < cut.outputs; tile += gridDim.x) {
    const std::int64_t o = tile * kWarpSize + lane;
    Acc acc = Op::identity();
    if (o < cut.outputs)
      acc = take_row<T, Op>(static_cast<const T*>(p.x) + offset_of(p.kept, o), p.reduced, begin, end, group,
                            kWarps);
    groups[group][lane] = acc;
    __syncthreads();  // all groups are there before the first one adds them up
    if (group == 0 && o < cut.outputs) {
      for (int g = 1; g < kWarps; ++g) acc = Op::combine(acc, groups[g][lane]);
      if (cut.pieces == 1)
        finish<T, Op>(p, o, cut.length, acc);
      else
        partial[o * cut.pieces + piece] = acc;
    }
    __syncthreads();  // read before the next tile overwrites it
  }
}

/// Joins the pieces, a warp per output.
template <class T, class Op>
GPUNN_KERNEL __launch_bounds__(kBlock)
    reduce_fwd_join_kernel(const __grid_constant__ ReduceProblem p, const __grid_constant__ Cut cut,
                           const typename Op::Acc* partial) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize,
            lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (std::int64_t o = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp; o < cut.outputs;
       o += static_cast<std::int64_t>(gridDim.x) * kWarps) {
    typename Op::Acc acc = Op::identity();
    for (std::int64_t i = lane; i < cut.pieces; i += kWarpSize)
      acc = Op::combine(acc, partial[o * cut.pieces + i]);
    acc = warp_reduce<Op>(acc);
    if (lane == 0) finish<T, Op>(p, o, cut.length, acc);
  }
}

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
      ties = block_reduce<Sum<long long>, kBlock>(ties);
    }
    const float dy = to_float(static_cast<const T*>(p.dy)[o]);
    for (std::int64_t r = thread; r < length; r += kBlock) {
      const std::int64_t at = base + offset_of(p.reduced, r);
      const bool chosen = p.by_index ? r == index : to_float(x[at]) == y;
      dx[at] = from_float<T>((chosen ? dy : 0.0f) / static_cast<float>(ties));
    }
  }
}

// ---- launchers

bool down_columns(const ReduceProblem& p) {
  const int last = p.kept.rank - 1;
  return p.kept.strides[last] == 1 && p.kept.shape[last] >= kWarpSize / 2 &&
         p.reduced.strides[p.reduced.rank - 1] != 1;
}

bool by_warp(const Cut& cut) { return cut.length <= kWarpRow; }

Cut cut_for(const ReduceProblem& p) {
  const bool columns = down_columns(p);
  Cut cut{numel_of(p.kept), numel_of(p.reduced), 0, 1};
  const std::int64_t blocks = columns ? (cut.outputs + kWarpSize - 1) / kWarpSize : cut.outputs;
  const std::int64_t least = columns ? kMinColumnPiece : kMinRowPiece;
  const std::int64_t most = cut.length / least;
  std::int64_t pieces = kWantedBlocks / (blocks > 0 ? blocks : 1);
  if (pieces > most) pieces = most;
  const std::int64_t needed = (cut.length + kMaxPiece - 1) / kMaxPiece;
  if (pieces < needed) pieces = needed;
  if (pieces > 65535) pieces = 65535;  // CUDA's limit of gridDim.y
  cut.piece = (cut.length + pieces - 1) / (pieces > 0 ? pieces : 1);
  cut.pieces = (cut.length + cut.piece - 1) / cut.piece;
  return cut;
}

unsigned capped(std::int64_t blocks) {
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

template <class T, class Op>
void run(const ReduceProblem& p, const Exec& exec) {
  using Acc = typename Op::Acc;
  const Cut cut = cut_for(p);
  auto* partial = static_cast<Acc*>(exec.workspace);
  const auto pieces = static_cast<unsigned>(cut.pieces);
  const std::int64_t warp_blocks = (cut.outputs + kWarps - 1) / kWarps;
  if (down_columns(p)) {
    const dim3 grid(capped((cut.outputs + kWarpSize - 1) / kWarpSize), pieces);
    launch("reduce_fwd_columns_kernel", reduce_fwd_columns_kernel<T, Op>, {grid, dim3(kBlock)}, exec, p, cut,
           partial);
  } else {
    const bool warps = by_warp(cut), in_words = p.reduced.rank == 1 && p.reduced.strides[0] == 1;
    const dim3 grid(capped(warps ? warp_blocks : cut.outputs), pieces);
    launch("reduce_fwd_rows_kernel", reduce_fwd_rows_kernel<T, Op>, {grid, dim3(kBlock)}, exec, p, cut, warps,
           in_words, partial);
  }
  if (cut.pieces > 1)
    launch("reduce_fwd_join_kernel", reduce_fwd_join_kernel<T, Op>, {dim3(capped(warp_blocks)), dim3(kBlock)},
           exec, p, cut, static_cast<const Acc*>(partial));
}

/// Calls f with the element type and the operation of the problem.
template <class F>
void dispatch(const ReduceProblem& p, F&& f) {
  const bool adds = p.function == ReduceFunction::sum || p.function == ReduceFunction::mean;
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, double>) {
      return;  // refused by accepts()
    } else if constexpr (!std::is_integral_v<T>) {
      if (adds)
        f(T{}, Sum<float>{});
      else
        f(T{}, Max<float>{});
    } else if constexpr (sizeof(T) >= 4) {
      if (adds)
        f(T{}, Sum<long long>{});
      else
        f(T{}, Max<long long>{});
    } else {
      if (adds) f(T{}, Sum<long long>{});
    }
  });
}

}  // namespace

std::size_t reduce_cuda_workspace(const ReduceProblem& p) {
  const Cut cut = cut_for(p);
  if (cut.pieces == 1) return 0;
  std::size_t bytes = 0;
  dispatch(p, [&]<class T, class Op>(T, Op) { bytes = sizeof(typename Op::Acc); });
  return bytes * static_cast<std::size_t>(cut.outputs * cut.pieces);
}

void reduce_cuda(const ReduceProblem& p, const Exec& exec) {
  dispatch(p, [&]<class T, class Op>(T, Op) { run<T, Op>(p, exec); });
}

void max_bwd_cuda(const MaxBackwardProblem& p, const Exec& exec) {
  visit_floating(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {
      const std::int64_t outputs = numel_of(p.kept);
      launch("max_bwd_kernel", max_bwd_kernel<T>, {dim3(capped(outputs)), dim3(kBlock)}, exec, p, outputs,
             numel_of(p.reduced));
    }
  });
}

}  // namespace gpunn
