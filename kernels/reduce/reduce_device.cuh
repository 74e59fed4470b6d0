#pragma once
// The machinery of reduction kernels, for any operation. Two ways to read: along rows (a warp or a block per
// output, threads side by side along the reduced dimensions) and down columns (a thread per output and row
// group, warps side by side along a contiguous kept dimension). Long reductions with few outputs are split
// over blocks; the pieces' results go through the workspace and a second kernel joins them. Every tree
// depends on sizes (and on the alignment of x), so the bits do not depend on the GPU.
//
// An operation Op is made per output from the problem and the output's first element, and offers
//   Value, Acc                    what an element is read as, and what it is gathered in
//   Acc identity(), combine(a, b) static; combine is exactly commutative
//   Acc take(acc, value, position)
//   store<T>(p, o, length, acc)   static: writes a finished output of a tensor of T
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn::reduction {

inline constexpr int kBlock = 256;
inline constexpr int kWarps = kBlock / kWarpSize;
inline constexpr std::int64_t kWarpRow = 512;  // rows up to this long are reduced by a warp, eight to a block
inline constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, blocks take several outputs
inline constexpr std::int64_t kWantedBlocks = 512;   // enough to fill any GPU of today; splitting stops there
inline constexpr std::int64_t kMinRowPiece = 1 << 12, kMinColumnPiece = 64;
inline constexpr std::int64_t kMaxPiece = 1 << 16;  // longer sums in one block would lose accuracy

template <class Value, class T>
GPUNN_DEVICE Value widen(T x) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<Value>(x);
  else
    return static_cast<Value>(to_float(x));
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

/// A thread's share of flat elements [begin, end) of a row: every `step`-th from `begin + first`.
template <class T, class Op>
GPUNN_DEVICE typename Op::Acc take_row(const Op& op, const T* row, const ReduceDims& d, std::int64_t begin,
                                       std::int64_t end, int first, int step) {
  typename Op::Acc acc = Op::identity();
  for (std::int64_t r = begin + first; r < end; r += step)
    acc = op.take(acc, widen<typename Op::Value>(row[offset_of(d, r)]), r);
  return acc;
}

/// The operation for the output whose elements start at `row`.
template <class T, class Op>
GPUNN_DEVICE Op operation(const ReduceProblem& p, const T* row) {
  return Op(p, widen<typename Op::Value>(row[0]));
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
      const T* row = x + offset_of(p.kept, o);
      const Acc acc =
          warp_reduce<Op>(take_row(operation<T, Op>(p, row), row, p.reduced, begin, end, lane, kWarpSize));
      if (lane == 0) Op::template store<T>(p, o, cut.length, acc);
    }
    return;  // the whole block takes this way
  }
  for (std::int64_t o = blockIdx.x; o < cut.outputs; o += gridDim.x) {
    const T* row = x + offset_of(p.kept, o);
    const Op op = operation<T, Op>(p, row);
    Acc acc = Op::identity();
    if constexpr (std::is_same_v<typename Op::Value, float>) {
      if (in_words)
        for_each_in_row<kBlock>(row + begin, end - begin,
                                [&](std::int64_t i, float v) { acc = op.take(acc, v, begin + i); });
      else
        acc = take_row(op, row, p.reduced, begin, end, thread, kBlock);
    } else {
      acc = take_row(op, row, p.reduced, begin, end, thread, kBlock);
    }
    acc = block_reduce<Op, kBlock>(acc);
    if (thread != 0) continue;
    if (cut.pieces == 1)
      Op::template store<T>(p, o, cut.length, acc);
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
    if (o < cut.outputs) {
      const T* column = static_cast<const T*>(p.x) + offset_of(p.kept, o);
      acc = take_row(operation<T, Op>(p, column), column, p.reduced, begin, end, group, kWarps);
    }
    groups[group][lane] = acc;
    __syncthreads();  // all groups are there before the first one adds them up
    if (group == 0 && o < cut.outputs) {
      for (int g = 1; g < kWarps; ++g) acc = Op::combine(acc, groups[g][lane]);
      if (cut.pieces == 1)
        Op::template store<T>(p, o, cut.length, acc);
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
    if (lane == 0) Op::template store<T>(p, o, cut.length, acc);
  }
}

// ---- launchers

inline bool down_columns(const ReduceProblem& p) {
  const int last = p.kept.rank - 1;
  return p.kept.strides[last] == 1 && p.kept.shape[last] >= kWarpSize / 2 &&
         p.reduced.strides[p.reduced.rank - 1] != 1;
}

inline bool by_warp(const Cut& cut) { return cut.length <= kWarpRow; }

inline Cut cut_for(const ReduceProblem& p) {
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

inline unsigned capped(std::int64_t blocks) {
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

template <class Op>
std::size_t workspace_bytes(const ReduceProblem& p) {
  const Cut cut = cut_for(p);
  return cut.pieces == 1 ? 0 : sizeof(typename Op::Acc) * static_cast<std::size_t>(cut.outputs * cut.pieces);
}

}  // namespace gpunn::reduction
