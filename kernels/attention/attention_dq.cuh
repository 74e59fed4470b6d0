#pragma once
// Gradients of the queries: a block keeps a tile of queries and of dy and walks over the keys that some of
// them see.
#include "gpunn/kernels/attention/attention_bwd.cuh"

namespace gpunn::attention_tile {

template <class C_, bool kGeneral_>
struct QueryGradients {
  using C = C_;
  using T = typename C::T;
  static constexpr bool kGeneral = kGeneral_;
  static constexpr size_t kBytes = static_cast<size_t>(2 * C::kRowTile + 4 * C::kColTile) * sizeof(T) +
                                   static_cast<size_t>(2 * C::kRows + C::kOwn * C::kWarps) * sizeof(float);
};

template <class G>
GPUNN_DEVICE void query_gradient_sums(const AttentionBackwardProblem& p, const AttentionBackwardLaunch& l,
                                      const Queries<false>& queries, int kv_head, unsigned char* memory,
                                      Sums<typename G::C, G::C::kDim>& dq) {
  using C = typename G::C;
  using T = typename G::T;
  using L = Lane<C, false>;
  const TileKeys range = tile_keys(p.rule, queries, 0, C::kRows);
  if (range.begin >= range.end) return;
  const AttentionSizes& s = p.sizes;
  const int D = static_cast<int>(s.D), Dv = static_cast<int>(s.Dv), b = queries.b, h = queries.head;
  const int rows = static_cast<int>(queries.n.queries), keys = static_cast<int>(queries.n.keys);
  T* const q_tile = reinterpret_cast<T*>(memory);                          // [kRows, kLd]
  T* const dy_tile = q_tile + C::kRowTile;                                 // [kRows, kLd]
  T* const stages = dy_tile + C::kRowTile;                                 // 2 x keys, values [kCols, kLd]
  float* const base = reinterpret_cast<float*>(stages + 4 * C::kColTile);  // [kRows], and deltas [kRows]
  float* const own = base + 2 * C::kRows + warp() * C::kOwn;
  const T* const my_q = q_tile + warp() * C::kWarpRows * C::kLd;
  const T* const my_dy = dy_tile + warp() * C::kWarpRows * C::kLd;
  const RowsOf<const T> k(static_cast<const T*>(p.k), p.k_layout, p.rule.k_first, b, kv_head);
  const RowsOf<const T> v(static_cast<const T*>(p.v), p.v_layout, p.rule.k_first, b, kv_head);
  const auto load = [&](T* stage, int key0) {
    copy_rows_of<C, C::kCols>(stage, k, key0, keys, D, l.wide_k);
    copy_rows_of<C, C::kCols>(stage + C::kColTile, v, key0, keys, Dv, l.wide_v);
    ptx::cp_async_commit();
  };
  int key0 = range.begin / C::kCols * C::kCols;
  copy_rows_of<C, C::kRows>(q_tile,
                            RowsOf<const T>(static_cast<const T*>(p.q), p.q_layout, p.rule.q_first, b, h),
                            queries.first, rows, D, l.wide_q);
  copy_rows_of<C, C::kRows>(dy_tile,
                            RowsOf<const T>(static_cast<const T*>(p.dy), p.dy_layout, p.rule.q_first, b, h),
                            queries.first, rows, Dv, l.wide_dy);
  load(stages, key0);

  for (int r = static_cast<int>(threadIdx.x); r < C::kRows; r += C::kThreads) {
    const std::int64_t at = (std::int64_t{b} * s.Hq + h) * s.Tq + queries.first + r;
    const bool there = queries.has(r);
    base[r] = weight_base(there ? static_cast<const float*>(p.lse)[at] : 0.0f, there);
    base[C::kRows + r] = there ? l.deltas[at] : 0.0f;
  }
  GPUNN_SHARED(ranges, TileKeys[C::kWarps]);  // not in registers, which are short
  if (lane() == 0) ranges[warp()] = tile_keys(p.rule, queries, warp() * C::kWarpRows, C::kWarpRows);
  for (T *now = stages, *next = stages + 2 * C::kColTile; key0 < range.end; key0 += C::kCols) {
    ptx::cp_async_wait_all();
    __syncthreads();  // this stage (and the rows) have arrived, and all have read the other one
    if (key0 + C::kCols < range.end) load(next, key0 + C::kCols);
    const T* const tile = now;
    now = next;
    next = const_cast<T*>(tile);
    const TileKeys& mine = ranges[warp()];
    if (key0 >= mine.end || key0 + C::kCols <= mine.begin) continue;  // nothing for this warp's rows
    Sums<C, C::kCols> weights, ds;
    multiply_along<C>(my_q, tile, weights);
    const bool partial = key0 < mine.all_begin || key0 + C::kCols > mine.all_end;
    weights_again<C, false, G::kGeneral>(p, queries, key0, partial, weights,
                                         [&](int n) { return base[L::row(n)]; });
    multiply_along<C>(my_dy, tile + C::kColTile, ds);
    score_gradients<C, false, G::kGeneral, false>(p, queries, key0, weights, ds,
                                                  [&](int n) { return base[C::kRows + L::row(n)]; });
    multiply_across<C, C::kDim>(ds, tile, own, dq);
  }
}

/// A block's work: a tile of a head's queries, the last tile first (a causal one has the most keys).
template <class G>
GPUNN_DEVICE void query_gradient_block(const AttentionBackwardProblem& p, const AttentionBackwardLaunch& l) {
  using C = typename G::C;
  using T = typename G::T;
  GPUNN_DYN_SHARED(memory);
  const AttentionSizes& s = p.sizes;
  const std::int64_t tile = l.tiles - 1 - blockIdx.x % l.tiles;
  const std::int64_t h = blockIdx.x / l.tiles % s.Hq, b = blockIdx.x / l.tiles / s.Hq;
  const Queries<false> queries{
      attention_lengths(p.rule, s, b),   static_cast<int>(b),   static_cast<int>(h), 1,
      static_cast<int>(tile * C::kRows), static_cast<int>(s.Tq)};
  Sums<C, C::kDim> dq;
  clear(dq);
  query_gradient_sums<G>(p, l, queries, static_cast<int>(h / (s.Hq / s.Hkv)), memory, dq);
  const std::int64_t n = queries.n.queries, all = p.rule.q_first ? n : s.Tq;
  if (queries.first >= all) return;  // with first rows: the next sequence's
  store_gradient<C, C::kDim>(RowsOf<T>(static_cast<T*>(p.dq), p.dq_layout, p.rule.q_first, b, h), dq,
                             static_cast<float>(p.scale), queries.first, n, all, 0, static_cast<int>(s.D),
                             l.pairs_dq);
}

template <class G>
Grid query_gradient_grid(const AttentionBackwardProblem& p, AttentionBackwardLaunch& l) {
  l.tiles = (p.sizes.Tq + G::C::kRows - 1) / G::C::kRows;
  return {dim3(static_cast<unsigned>(l.tiles * p.sizes.Hq * p.sizes.B)), dim3(G::C::kThreads), G::kBytes};
}

}  // namespace gpunn::attention_tile
