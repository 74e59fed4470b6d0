// Running sums and products, and the linear recurrence of cumprod's gradient, as scans of one machinery:
// along rows a block scans 1,024 elements at a time, down columns each thread takes a column. Rows are cut
// into pieces where there are few: a first launch takes the pieces' totals, a second what comes before each
// piece, a third scans them. All orders depend on sizes only.
// nvcc 13.0, sm_80: at most 60 registers; two column kernels spill 8 bytes around the division before their
// loop.
//
// An operation offers
//   Acc                      what is scanned; combine(earlier, later) is associative
//   load(p, first, t)        element t, in the scan's direction, of the row that starts at `first`
//   store(p, first, t, acc)  from everything up to and including element t
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/scan/scan_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr int kWarps = kBlock / kWarpSize;
constexpr int kItems = 4;  // neighbouring elements of a thread
constexpr std::int64_t kTile = kBlock * kItems;
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, blocks take several rows
constexpr std::int64_t kWantedBlocks = 512;   // enough to fill any GPU of today; cutting stops there
constexpr std::int64_t kMinRowPiece = 1 << 12, kMinColumnPiece = 64;

GPUNN_DEVICE float shuffle_up(float v, unsigned delta) { return __shfl_up_sync(kFullWarp, v, delta); }
GPUNN_DEVICE long long shuffle_up(long long v, unsigned delta) { return __shfl_up_sync(kFullWarp, v, delta); }

/// Offset of element t.
GPUNN_DEVICE std::int64_t offset_of(const ScanProblem& p, std::int64_t first, std::int64_t t) {
  return first + (p.reverse ? p.length - 1 - t : t) * p.inner;
}

/// A is float or long long.
template <class T, class A>
struct SumScan {
  using Problem = ScanProblem;
  using Acc = A;
  static GPUNN_DEVICE Acc identity() { return Acc{0}; }
  static GPUNN_DEVICE Acc combine(Acc earlier, Acc later) {
    if constexpr (std::is_integral_v<A>)  // wraps around
      return static_cast<A>(static_cast<unsigned long long>(earlier) +
                            static_cast<unsigned long long>(later));
    else
      return earlier + later;
  }
  static GPUNN_DEVICE Acc load(const ScanProblem& p, std::int64_t first, std::int64_t t) {
    const T v = static_cast<const T*>(p.x)[offset_of(p, first, t)];
    if constexpr (std::is_integral_v<A>)
      return static_cast<A>(v);
    else
      return to_float(v);
  }
  static GPUNN_DEVICE void store(const ScanProblem& p, std::int64_t first, std::int64_t t, Acc acc) {
    if constexpr (std::is_integral_v<A>)
      static_cast<std::int64_t*>(p.y)[offset_of(p, first, t)] = acc;
    else
      static_cast<T*>(p.y)[offset_of(p, first, t)] = from_float<T>(acc);
  }
};

template <class T>
struct ProdScan : SumScan<T, float> {
  static GPUNN_DEVICE float identity() { return 1.0f; }
  static GPUNN_DEVICE float combine(float earlier, float later) { return earlier * later; }
};

/// R -> a R + b
struct Affine {
  float a, b;
};
GPUNN_DEVICE Affine shuffle_up(Affine v, unsigned delta) {
  return {shuffle_up(v.a, delta), shuffle_up(v.b, delta)};
}

/// R[k] = dy[k] + x[k+1] R[k+1], from the row's end, and dx[k] = y[k-1] R[k].
template <class T>
struct CumprodBackward {
  using Problem = CumprodBackwardProblem;
  using Acc = Affine;
  static GPUNN_DEVICE Affine identity() { return {1.0f, 0.0f}; }
  /// A product of factors that overflowed must not make a NaN of the 0 it meets: step by step there is none.
  static GPUNN_DEVICE float times(float a, float b) {
    const float product = a * b;
    return product != product && a == a && b == b ? 0.0f : product;
  }
  static GPUNN_DEVICE Affine combine(Affine earlier, Affine later) {
    return {times(earlier.a, later.a), times(later.a, earlier.b) + later.b};
  }
  static GPUNN_DEVICE Affine load(const Problem& p, std::int64_t first, std::int64_t t) {
    const std::int64_t at = first + (p.length - 1 - t) * p.inner;
    const float a = t > 0 ? to_float(static_cast<const T*>(p.x)[at + p.inner]) : 0.0f;
    return {a, to_float(static_cast<const T*>(p.dy)[at])};
  }
  static GPUNN_DEVICE void store(const Problem& p, std::int64_t first, std::int64_t t, Affine acc) {
    const std::int64_t at = first + (p.length - 1 - t) * p.inner;
    const float before = t < p.length - 1 ? to_float(static_cast<const T*>(p.y)[at - p.inner]) : 1.0f;
    static_cast<T*>(p.dx)[at] = from_float<T>(before * acc.b);
  }
};

/// The scan of the block's values, one per thread: what comes before this thread's, and the total of all.
template <class Op>
GPUNN_DEVICE typename Op::Acc block_scan(typename Op::Acc value, typename Op::Acc& total) {
  using Acc = typename Op::Acc;
  GPUNN_SHARED(totals, Acc[kWarps]);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize,
            warp = static_cast<int>(threadIdx.x) / kWarpSize;
  GPUNN_UNROLL
  for (int delta = 1; delta < kWarpSize; delta *= 2) {
    const Acc earlier = shuffle_up(value, static_cast<unsigned>(delta));
    if (lane >= delta) value = Op::combine(earlier, value);
  }
  __syncthreads();  // totals may still be read by the previous call
  if (lane == kWarpSize - 1) totals[warp] = value;
  const Acc previous = shuffle_up(value, 1);
  __syncthreads();  // every warp's total is there before anyone reads
  Acc before = Op::identity();
  total = Op::identity();
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) before = total;
    total = Op::combine(total, totals[w]);
  }
  return lane == 0 ? before : Op::combine(before, previous);
}

/// How the work is cut: `pieces` per row, of `piece` elements.
struct Cut {
  std::int64_t rows, piece, pieces;
};

/// Grid (rows, pieces). Writes the pieces' totals, or the scan from what comes before each piece.
template <class Op>
GPUNN_KERNEL __launch_bounds__(kBlock)
    scan_fwd_rows_kernel(const __grid_constant__ typename Op::Problem p, const __grid_constant__ Cut cut,
                         bool totals_only, typename Op::Acc* pieces) {
  using Acc = typename Op::Acc;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * cut.piece;
  const std::int64_t end = begin + cut.piece < p.length ? begin + cut.piece : p.length;
  for (std::int64_t row = blockIdx.x; row < cut.rows; row += gridDim.x) {
    const std::int64_t first = row * p.length, slot = row * cut.pieces + blockIdx.y;
    Acc carry = totals_only || cut.pieces == 1 ? Op::identity() : pieces[slot];
    for (std::int64_t tile = begin; tile < end; tile += kTile) {
      const std::int64_t t = tile + thread * kItems;
      Acc v[kItems];
      GPUNN_UNROLL
      for (int j = 0; j < kItems; ++j) {
        v[j] = t + j < end ? Op::load(p, first, t + j) : Op::identity();
        if (j > 0) v[j] = Op::combine(v[j - 1], v[j]);
      }
      Acc total;
      const Acc before = Op::combine(carry, block_scan<Op>(v[kItems - 1], total));
      carry = Op::combine(carry, total);
      if (totals_only) continue;
      GPUNN_UNROLL
      for (int j = 0; j < kItems; ++j)
        if (t + j < end) Op::store(p, first, t + j, Op::combine(before, v[j]));
    }
    if (totals_only && thread == 0) pieces[slot] = carry;
  }
}

/// The same down columns: a thread per column, grid (columns / 256, pieces).
template <class Op>
GPUNN_KERNEL __launch_bounds__(kBlock)
    scan_fwd_columns_kernel(const __grid_constant__ typename Op::Problem p, const __grid_constant__ Cut cut,
                            bool totals_only, typename Op::Acc* pieces) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * cut.piece;
  const std::int64_t end = begin + cut.piece < p.length ? begin + cut.piece : p.length;
  for (std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; column < cut.rows;
       column += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t first = column / p.inner * p.length * p.inner + column % p.inner;
    const std::int64_t slot = column * cut.pieces + blockIdx.y;
    typename Op::Acc carry = totals_only || cut.pieces == 1 ? Op::identity() : pieces[slot];
    for (std::int64_t t = begin; t < end; ++t) {
      carry = Op::combine(carry, Op::load(p, first, t));
      if (!totals_only) Op::store(p, first, t, carry);
    }
    if (totals_only) pieces[slot] = carry;
  }
}

/// Turns the totals of a row's pieces into what comes before each, a thread per row.
template <class Op>
GPUNN_KERNEL __launch_bounds__(kBlock)
    scan_fwd_join_kernel(const __grid_constant__ Cut cut, typename Op::Acc* pieces) {
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; row < cut.rows;
       row += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    typename Op::Acc before = Op::identity();
    for (std::int64_t i = row * cut.pieces; i < (row + 1) * cut.pieces; ++i) {
      const typename Op::Acc total = pieces[i];
      pieces[i] = before;
      before = Op::combine(before, total);
    }
  }
}

// ---- launchers

template <class P>
std::int64_t blocks_of(const P& p) {
  const std::int64_t rows = p.outer * p.inner;
  return p.inner == 1 ? rows : (rows + kBlock - 1) / kBlock;
}

template <class P>
Cut cut_for(const P& p) {
  const std::int64_t most = p.length / (p.inner == 1 ? kMinRowPiece : kMinColumnPiece);
  std::int64_t pieces = kWantedBlocks / (blocks_of(p) > 0 ? blocks_of(p) : 1);
  if (pieces > most) pieces = most;
  if (pieces < 1) pieces = 1;
  Cut cut{p.outer * p.inner, (p.length + pieces - 1) / pieces, 1};
  if (cut.piece > 0) cut.pieces = (p.length + cut.piece - 1) / cut.piece;
  return cut;
}

unsigned capped(std::int64_t blocks) {
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

template <class Op>
void run(const typename Op::Problem& p, const Exec& exec) {
  const Cut cut = cut_for(p);
  auto* pieces = static_cast<typename Op::Acc*>(exec.workspace);
  const Grid grid{dim3(capped(blocks_of(p)), static_cast<unsigned>(cut.pieces)), dim3(kBlock)};
  const auto scan = [&](bool totals_only) {
    if (p.inner == 1)
      launch("scan_fwd_rows_kernel", scan_fwd_rows_kernel<Op>, grid, exec, p, cut, totals_only, pieces);
    else
      launch("scan_fwd_columns_kernel", scan_fwd_columns_kernel<Op>, grid, exec, p, cut, totals_only, pieces);
  };
  if (cut.pieces > 1) {
    scan(true);
    launch("scan_fwd_join_kernel", scan_fwd_join_kernel<Op>,
           {dim3(capped((cut.rows + kBlock - 1) / kBlock)), dim3(kBlock)}, exec, cut, pieces);
  }
  scan(false);
}

template <class P>
std::size_t workspace_for(const P& p, std::size_t bytes_of_acc) {
  const Cut cut = cut_for(p);
  return cut.pieces == 1 ? 0 : bytes_of_acc * static_cast<std::size_t>(cut.rows * cut.pieces);
}

}  // namespace

std::size_t scan_cuda_workspace(const ScanProblem& p) {
  return workspace_for(p, is_floating(p.dtype) ? sizeof(float) : sizeof(long long));
}

void scan_cuda(const ScanProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_integral_v<T>) {
      run<SumScan<T, long long>>(p, exec);
    } else if constexpr (!std::is_same_v<T, double>) {  // refused by accepts()
      if (p.function == ScanFunction::sum)
        run<SumScan<T, float>>(p, exec);
      else
        run<ProdScan<T>>(p, exec);
    }
  });
}

std::size_t cumprod_bwd_cuda_workspace(const CumprodBackwardProblem& p) {
  return workspace_for(p, sizeof(Affine));
}

void cumprod_bwd_cuda(const CumprodBackwardProblem& p, const Exec& exec) {
  visit_floating(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) run<CumprodBackward<T>>(p, exec);
  });
}

}  // namespace gpunn
