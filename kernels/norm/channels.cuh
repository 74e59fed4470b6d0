#pragma once
// The geometry of kernels over channels. In [N, C, pixels] ("planes") a warp takes pieces of a channel's
// planes; in [N, pixels, C] ("columns") a thread keeps its columns and walks down rows. Either way a thread
// moves kWidth neighbours at a time: 16 bytes where sizes and addresses allow it, else 1 element.
#include <cstdint>
#include <type_traits>

#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn::channels {

inline constexpr int kThreads = 256;
inline constexpr int kWarps = kThreads / kWarpSize;
inline constexpr std::int64_t kPiece = 4096;  // elements of a plane that a warp takes at once

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// [N, C, pixels]: each channel has N * pieces units of work, shared out over the warps of `parts` blocks.
struct Planes {
  std::int64_t N, C, pixels, pieces;
  int parts;

  explicit Planes(const ChannelSizes& s)
      : N(s.N), C(s.C), pixels(s.pixels), pieces(divide_up(pixels, kPiece)) {
    // Enough blocks for a large GPU, but no more than there is work for.
    constexpr std::int64_t kBlocks = 2048, kMostParts = 512;
    const std::int64_t useful = divide_up(N * pieces, kWarps), wanted = divide_up(kBlocks, C);
    const std::int64_t parts_64 = useful < wanted ? useful : wanted;
    parts = static_cast<int>(parts_64 < kMostParts ? parts_64 : kMostParts);
  }
  Grid sums_grid() const { return {dim3(static_cast<unsigned>(C * parts)), dim3(kThreads)}; }
  Grid map_grid() const {
    constexpr std::int64_t kMostBlocks = std::int64_t{1} << 30;
    const std::int64_t blocks = divide_up(N * C * pieces, kWarps);
    return {dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), dim3(kThreads)};
  }

  GPUNN_DEVICE std::int64_t channel_of_block() const { return blockIdx.x % C; }
  GPUNN_DEVICE std::int64_t part_of_block() const { return blockIdx.x / C; }

  /// f(n, at, length) for the pieces of this warp in channel c: `at` is the first element's place.
  template <class F>
  GPUNN_DEVICE void for_each_piece(std::int64_t c, F f) const {
    for (std::int64_t unit = part_of_block() * kWarps + threadIdx.x / kWarpSize; unit < N * pieces;
         unit += std::int64_t{parts} * kWarps) {
      const std::int64_t n = unit / pieces, begin = unit % pieces * kPiece;
      const std::int64_t left = pixels - begin;
      f(n, (n * C + c) * pixels + begin, left < kPiece ? left : kPiece);
    }
  }
  /// f(c, at, length) for this warp's pieces of all channels.
  template <class F>
  GPUNN_DEVICE void for_each_piece_of_all(F f) const {
    for (std::int64_t unit = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarpSize;
         unit < N * C * pieces; unit += std::int64_t{gridDim.x} * kWarps) {
      const std::int64_t plane = unit / pieces, begin = unit % pieces * kPiece;
      const std::int64_t left = pixels - begin;
      f(plane % C, plane * pixels + begin, left < kPiece ? left : kPiece);
    }
  }
};

/// f(i) for the elements i, i + 1, ... i + kWidth - 1 of this lane within `length`.
template <int kWidth, class F>
GPUNN_DEVICE void for_each_of_lane(std::int64_t length, F f) {
  for (std::int64_t i = static_cast<std::int64_t>(threadIdx.x % kWarpSize) * kWidth; i < length;
       i += kWarpSize * kWidth)
    f(i);
}

/// [rows, C]: a block is 2^log_across threads across (a vector of columns each) and the others down; grid.x
/// goes over tiles of columns, grid.y over parts of the rows.
struct Columns {
  std::int64_t rows, C, vectors, step;
  int log_across, parts;

  /// `most_parts` bounds what is left to be joined afterwards.
  Columns(const ChannelSizes& s, int width, std::int64_t most_parts)
      : rows(s.per_channel()), C(s.C), vectors(divide_up(s.C, width)), log_across(0) {
    while (log_across < 5 && (std::int64_t{1} << log_across) < vectors) ++log_across;
    const std::int64_t down = kThreads >> log_across;
    constexpr std::int64_t kRowsOfThread = 8, kBlocks = 2048;
    const std::int64_t useful = divide_up(rows, down * kRowsOfThread), wanted = divide_up(kBlocks, tiles());
    std::int64_t parts_64 = useful < wanted ? useful : wanted;
    parts_64 = parts_64 < most_parts ? parts_64 : most_parts;
    step = divide_up(rows, parts_64);
    parts = static_cast<int>(divide_up(rows, step));
  }
  std::int64_t tiles() const { return divide_up(vectors, std::int64_t{1} << log_across); }
  Grid grid() const {
    return {dim3(static_cast<unsigned>(tiles()), static_cast<unsigned>(parts)), dim3(kThreads)};
  }

  GPUNN_DEVICE int across() const { return 1 << log_across; }
  GPUNN_DEVICE int down() const { return kThreads >> log_across; }
  GPUNN_DEVICE int row_lane() const { return static_cast<int>(threadIdx.x) >> log_across; }
  GPUNN_DEVICE int column_lane() const { return static_cast<int>(threadIdx.x) & (across() - 1); }
  /// This thread's vector of columns; there are only `vectors`.
  GPUNN_DEVICE std::int64_t vector_index() const {
    return (static_cast<std::int64_t>(blockIdx.x) << log_across) + column_lane();
  }
  GPUNN_DEVICE bool inside() const { return vector_index() < vectors; }
  /// f(row) for this thread's rows.
  template <class F>
  GPUNN_DEVICE void for_each_row(F f) const {
    const std::int64_t begin = blockIdx.y * step, end = begin + step < rows ? begin + step : rows;
    for (std::int64_t row = begin + row_lane(); row < end; row += down()) f(row);
  }
};

/// Joins what the threads of a column have, and hands the results to those in the first row. `kept` is
/// shared: [kThreads, kWidth].
template <class Op, int kWidth, class V>
GPUNN_DEVICE void join_down(const Columns& g, V* kept, V (&own)[kWidth]) {
  V* const mine = kept + static_cast<int>(threadIdx.x) * kWidth;
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) mine[k] = own[k];
  for (int distance = g.down() / 2; distance > 0; distance /= 2) {
    __syncthreads();  // the other half's values are there
    if (g.row_lane() < distance) {
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k)
        mine[k] = Op::combine(mine[k], mine[(distance << g.log_across) * kWidth + k]);
    }
  }
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) own[k] = mine[k];
}

/// kWidth elements as floats.
template <int kWidth, class T>
GPUNN_DEVICE void load_floats(const T* p, float (&v)[kWidth]) {
  const Vec<T, kWidth> in = load_vec<kWidth>(p);
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) v[k] = to_float(in.v[k]);
}
template <int kWidth, class T>
GPUNN_DEVICE void store_floats(T* p, const float (&v)[kWidth]) {
  Vec<T, kWidth> out;
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) out.v[k] = from_float<T>(v[k]);
  store_vec<kWidth>(p, out);
}

/// Element i of a vector of weights, in f32 or in T.
template <class T>
GPUNN_DEVICE float load_weight(const void* p, bool wide, std::int64_t i) {
  return wide ? static_cast<const float*>(p)[i] : to_float(static_cast<const T*>(p)[i]);
}
template <class T>
GPUNN_DEVICE void store_weight(void* p, bool wide, std::int64_t i, float v) {
  if (wide)
    static_cast<float*>(p)[i] = v;
  else
    static_cast<T*>(p)[i] = from_float<T>(v);
}

/// Whether rows of `length` elements from `pointers` (null ones aside) can be moved 16 bytes at a time.
template <class... P>
bool in_vectors(std::int64_t length, std::size_t element, const P*... pointers) {
  const auto together = static_cast<std::uintptr_t>(length) * element;
  return ((reinterpret_cast<std::uintptr_t>(pointers) | ...) | together) % 16 == 0;
}

/// f(std::integral_constant) of the elements that a thread moves at a time.
template <class T, class F>
void for_width(bool vectors, F f) {
  if (vectors)
    f(std::integral_constant<int, kVecWidth<T>>{});
  else
    f(std::integral_constant<int, 1>{});
}

}  // namespace gpunn::channels
