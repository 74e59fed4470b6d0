#pragma once
// Gradients of the keys and values: a block keeps a tile of both and walks over the queries that see some of
// them, head by head of its group. Scores are computed with keys as rows, so that weights and their gradients
// are in registers what the next products want on their left.
#include "gpunn/kernels/attention/attention_bwd.cuh"

namespace gpunn::attention_tile {

/// kOut: columns of dk and dv that a block sums up; the longest rows are shared by two blocks, whose
/// registers would not do for all.
template <class C_, bool kGeneral_, int kOut_>
struct KeyGradients {
  using C = C_;
  using T = typename C::T;
  static constexpr bool kGeneral = kGeneral_;
  static constexpr int kOut = kOut_, kParts = C::kDim / kOut;
  static constexpr size_t kBytes = static_cast<size_t>(2 * C::kRowTile + 4 * C::kColTile) * sizeof(T) +
                                   static_cast<size_t>(4 * C::kCols + C::kOwn * C::kWarps) * sizeof(float);
  struct State {
    Sums<C, kOut> dk, dv;
  };
};

/// One tile of queries after the other, through all heads of the group.
struct QueryWalk {
  QueryRange range;
  int tile, head, end_head, query0;

  GPUNN_DEVICE QueryWalk(QueryRange r, int tile_, int head_, int heads)
      : range(r), tile(tile_), head(head_), end_head(head_ + heads), query0(r.begin / tile_ * tile_) {
    if (r.begin >= r.end) head = end_head;
  }
  GPUNN_DEVICE bool more() const { return head < end_head; }
  GPUNN_DEVICE void next() {
    query0 += tile;
    if (query0 < range.end) return;
    query0 = range.begin / tile * tile;
    ++head;
  }
};

/// A stage of queries: q and behind it dy [kCols, kLd], lse and behind it delta [kCols].
template <class G>
struct QueryStage {
  typename G::T* q;
  float* lse;

  GPUNN_DEVICE typename G::T* dy() const { return q + G::C::kColTile; }
  GPUNN_DEVICE float* delta() const { return lse + G::C::kCols; }
  GPUNN_DEVICE void load(const AttentionBackwardProblem& p, const AttentionBackwardLaunch& l, int rows, int b,
                         const QueryWalk& at) const {
    using C = typename G::C;
    using T = typename G::T;
    copy_rows_of<C, C::kCols>(
        q, RowsOf<const T>(static_cast<const T*>(p.q), p.q_layout, p.rule.q_first, b, at.head), at.query0,
        rows, static_cast<int>(p.sizes.D), l.wide_q);
    copy_rows_of<C, C::kCols>(
        dy(), RowsOf<const T>(static_cast<const T*>(p.dy), p.dy_layout, p.rule.q_first, b, at.head),
        at.query0, rows, static_cast<int>(p.sizes.Dv), l.wide_dy);
    const int t = static_cast<int>(threadIdx.x);
    const std::int64_t first = (std::int64_t{b} * p.sizes.Hq + at.head) * p.sizes.Tq;
    if (t < C::kCols) {
      const bool there = at.query0 + t < rows;
      const std::int64_t row = there ? first + at.query0 + t : first;
      ptx::cp_async_4(lse + t, static_cast<const float*>(p.lse) + row, there);
      ptx::cp_async_4(delta() + t, l.deltas + row, there);
    }
    ptx::cp_async_commit();
  }
};

template <class G>
GPUNN_DEVICE void key_gradient_sums(const AttentionBackwardProblem& p, const AttentionBackwardLaunch& l,
                                    const AttentionLengths& n, int b, int kv_head, int key0, int column0,
                                    unsigned char* memory, typename G::State& state) {
  using C = typename G::C;
  using T = typename G::T;
  using L = Lane<C, true>;
  const int group = static_cast<int>(p.sizes.Hq / p.sizes.Hkv), D = static_cast<int>(p.sizes.D);
  const int rows = static_cast<int>(n.queries), keys = static_cast<int>(n.keys);
  QueryWalk at(seeing_queries(p.rule, n, key0, key0 + C::kRows), C::kCols, kv_head * group, group);
  if (!at.more()) return;
  T* const k_tile = reinterpret_cast<T*>(memory);  // [kRows, kLd]
  T* const v_tile = k_tile + C::kRowTile;          // [kRows, kLd]
  T* const tiles = v_tile + C::kRowTile;
  float* const numbers = reinterpret_cast<float*>(tiles + 4 * C::kColTile);
  float* const own = numbers + 4 * C::kCols + warp() * C::kOwn;
  QueryStage<G> now{tiles, numbers};
  QueryStage<G> next{tiles + 2 * C::kColTile, numbers + 2 * C::kCols};
  const T* const my_k = k_tile + warp() * C::kWarpRows * C::kLd;
  const T* const my_v = v_tile + warp() * C::kWarpRows * C::kLd;
  copy_rows_of<C, C::kRows>(
      k_tile, RowsOf<const T>(static_cast<const T*>(p.k), p.k_layout, p.rule.k_first, b, kv_head), key0, keys,
      D, l.wide_k);
  copy_rows_of<C, C::kRows>(
      v_tile, RowsOf<const T>(static_cast<const T*>(p.v), p.v_layout, p.rule.k_first, b, kv_head), key0, keys,
      static_cast<int>(p.sizes.Dv), l.wide_v);
  now.load(p, l, rows, b, at);
  const int my_key = key0 + warp() * C::kWarpRows;
  GPUNN_SHARED(ranges, QueryRange[C::kWarps]);  // not in registers, which are short
  if (lane() == 0) ranges[warp()] = seeing_queries(p.rule, n, my_key, my_key + C::kWarpRows);
  while (at.more()) {
    ptx::cp_async_wait_all();
    __syncthreads();  // this stage has arrived from every thread, and all have read the other one
    const Queries<false> queries{n, b, at.head, 1, at.query0, static_cast<int>(p.sizes.Tq)};
    at.next();
    if (at.more()) next.load(p, l, rows, b, at);
    const QueryStage<G> stage = now;
    now = next;
    next = stage;
    const QueryRange& mine = ranges[warp()];
    if (queries.first >= mine.end || queries.first + C::kCols <= mine.begin) continue;  // not seen by any
    Sums<C, C::kCols> weights, ds;
    multiply_along<C>(my_k, stage.q, weights);
    const TileKeys seen = tile_keys(p.rule, queries, 0, C::kCols);
    const bool partial = my_key < seen.all_begin || my_key + C::kWarpRows > seen.all_end;
    weights_again<C, true, G::kGeneral>(p, queries, key0, partial, weights, [&](int q) {
      const int column = L::col(q);
      return weight_base(stage.lse[column], queries.has(column));
    });
    multiply_along<C>(my_v, stage.dy(), ds);
    score_gradients<C, true, G::kGeneral, true>(p, queries, key0, weights, ds,
                                                [&](int q) { return stage.delta()[L::col(q)]; });
    multiply_across<C, G::kOut>(weights, stage.dy() + column0, own, state.dv);
    multiply_across<C, G::kOut>(ds, stage.q + column0, own, state.dk);
  }
}

/// A block's work: a tile of a key head's keys (and a part of the columns), the first tile first: a causal
/// one is seen by the most queries.
template <class G>
GPUNN_DEVICE void key_gradient_block(const AttentionBackwardProblem& p, const AttentionBackwardLaunch& l) {
  using C = typename G::C;
  using T = typename G::T;
  GPUNN_DYN_SHARED(memory);
  const AttentionSizes& s = p.sizes;
  const int column0 = static_cast<int>(blockIdx.x % G::kParts) * G::kOut;
  const std::int64_t index = blockIdx.x / G::kParts;
  const int key0 = static_cast<int>(index % l.tiles * C::kRows);
  const std::int64_t h = index / l.tiles % s.Hkv, b = index / l.tiles / s.Hkv;
  const AttentionLengths n = attention_lengths(p.rule, s, b);
  typename G::State state;
  clear(state.dk);
  clear(state.dv);
  key_gradient_sums<G>(p, l, n, static_cast<int>(b), static_cast<int>(h), key0, column0, memory, state);
  const std::int64_t all = p.rule.k_first ? n.keys : s.Tk;
  if (key0 >= all) return;  // with first rows: the next sequence's
  store_gradient<C, G::kOut>(RowsOf<T>(static_cast<T*>(p.dk), p.dk_layout, p.rule.k_first, b, h), state.dk,
                             static_cast<float>(p.scale), key0, n.keys, all, column0, static_cast<int>(s.D),
                             l.pairs_dk);
  store_gradient<C, G::kOut>(RowsOf<T>(static_cast<T*>(p.dv), p.dv_layout, p.rule.k_first, b, h), state.dv,
                             1.0f, key0, n.keys, all, column0, static_cast<int>(s.Dv), l.pairs_dv);
}

template <class G>
Grid key_gradient_grid(const AttentionBackwardProblem& p, AttentionBackwardLaunch& l) {
  l.tiles = (p.sizes.Tk + G::C::kRows - 1) / G::C::kRows;
  return {dim3(static_cast<unsigned>(l.tiles * p.sizes.Hkv * p.sizes.B * G::kParts)), dim3(G::C::kThreads),
          G::kBytes};
}

}  // namespace gpunn::attention_tile
