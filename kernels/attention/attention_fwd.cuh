#pragma once
// Forward: a block keeps a tile of queries and walks over the tiles of keys that some of them see, two stages
// of shared memory in turn. Weights are relative to the greatest score so far and never leave registers.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/attention/attention_device_impl.h"
#include "gpunn/kernels/attention/attention_dims.cuh"
#include "gpunn/kernels/attention/attention_scores.cuh"

namespace gpunn::attention_tile {

/// kPacked: decode, where a tile has the queries of all heads of a group and a part of the keys.
template <class C_, bool kGeneral_, bool kPacked_>
struct Forward {
  using C = C_;
  using T = typename C::T;
  static constexpr bool kGeneral = kGeneral_, kPacked = kPacked_;
  // 32 registers for the queries leave room for the rest; beyond, they are read from shared memory each time.
  static constexpr bool kKeepQueries = C::kHalf && C::kFragments * C::kDim <= 128;
  static constexpr size_t kBytes = static_cast<size_t>(C::kRowTile + 4 * C::kColTile) * sizeof(T) +
                                   static_cast<size_t>(C::kOwn) * C::kWarps * sizeof(float);

  struct State {
    float top[C::kFragments][2];    // greatest score of a row so far
    float total[C::kFragments][2];  // this lane's part of the sum of its weights
    Sums<C, C::kDim> y;
  };
};

/// Rows of keys and values from key0 on.
template <class F>
struct KeySource {
  using T = typename F::T;
  const AttentionProblem& p;
  const T* k;  // the head's; with pages the pool's
  const T* v;
  int b, keys;

  GPUNN_DEVICE KeySource(const AttentionProblem& problem, int b_, int head, std::int64_t keys_)
      : p(problem),
        k(static_cast<const T*>(p.k)),
        v(static_cast<const T*>(p.v)),
        b(b_),
        keys(static_cast<int>(keys_)) {
    const bool paged = F::kGeneral && p.rule.pages;
    k += paged ? head * p.k_layout.head : attention_row(p.k_layout, p.rule.k_first, b, head, 0);
    v += paged ? head * p.v_layout.head : attention_row(p.v_layout, p.rule.k_first, b, head, 0);
  }
  /// Row of the pool, or of the sequence.
  GPUNN_DEVICE std::int64_t row(int key) const {
    if (!F::kGeneral || !p.rule.pages) return key;
    const auto size = static_cast<unsigned>(p.rule.page_size), j = static_cast<unsigned>(key);
    const std::int64_t page = p.rule.pages[b * p.rule.table_width + j / size];
    return attention_within(page, p.rule.pool - 1) * p.rule.page_size + j % size;
  }
  /// Starts copying a tile of keys and one of values behind it.
  GPUNN_DEVICE void load(T* stage, int key0, const AttentionForwardLaunch& l) const {
    using C = typename F::C;
    copy_tile<C, C::kCols>(stage, k, static_cast<int>(p.sizes.D), l.wide_k, [&](int r) {
      return key0 + r < keys ? k + row(key0 + r) * p.k_layout.time : nullptr;
    });
    copy_tile<C, C::kCols>(stage + C::kColTile, v, static_cast<int>(p.sizes.Dv), l.wide_v, [&](int r) {
      return key0 + r < keys ? v + row(key0 + r) * p.v_layout.time : nullptr;
    });
  }
};

/// Scores (times `factor`: in units of ln 2) become weights relative to the greatest so far; what was summed
/// with earlier ones shrinks, where some row of the warp has a new greatest (seldom, after the first tiles).
template <class F>
GPUNN_DEVICE void weigh(Sums<typename F::C, F::C::kCols>& s, float factor, typename F::State& state) {
  using C = typename F::C;
  float shrink[C::kFragments][2];
  bool moved = false;
  GPUNN_UNROLL
  for (int n = 0; n < C::kFragments * 2; ++n) {
    const int i = n / 2, h = n % 2;
    float top = state.top[i][h];
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 8; ++j) top = fmaxf(top, fmaxf(s[i][j][h * 2], s[i][j][h * 2 + 1]));
    top = fmaxf(top, shuffle_xor(top, 1));
    top = fmaxf(top, shuffle_xor(top, 2));
    const float base = top == -INFINITY ? 0.0f : top * factor;  // nothing seen yet: all weights are 0
    shrink[i][h] = power_of_two<typename F::T>(fmaf(state.top[i][h], factor, -base));
    moved = moved || !(shrink[i][h] == 1.0f);
    state.top[i][h] = top;
    float total = 0.0f;
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 8; ++j) {
      GPUNN_UNROLL
      for (int c = 0; c < 2; ++c) {
        float& e = s[i][j][h * 2 + c];
        e = power_of_two<typename F::T>(fmaf(e, factor, -base));
        total += e;
      }
    }
    state.total[i][h] = fmaf(state.total[i][h], shrink[i][h], total);
  }
  if (!__any_sync(kFullWarp, moved)) return;
  GPUNN_UNROLL
  for (int n = 0; n < C::kFragments * 2; ++n) {
    GPUNN_UNROLL
    for (int j = 0; j < C::kDim / 8; ++j) {
      state.y[n / 2][j][n % 2 * 2] *= shrink[n / 2][n % 2];
      state.y[n / 2][j][n % 2 * 2 + 1] *= shrink[n / 2][n % 2];
    }
  }
}

/// Walks over the keys [begin, end) of `range`.
template <class F>
GPUNN_DEVICE void forward_keys(const AttentionProblem& p, const AttentionForwardLaunch& l,
                               const Queries<F::kPacked>& queries, const TileKeys& range,
                               unsigned char* memory, typename F::State& state) {
  using C = typename F::C;
  using T = typename F::T;
  T* const q_tile = reinterpret_cast<T*>(memory);  // [kRows, kLd]
  T* const stages = q_tile + C::kRowTile;          // 2 x keys, values [kCols, kLd]
  float* const own = reinterpret_cast<float*>(stages + 4 * C::kColTile) + warp() * C::kOwn;
  const T* const my_rows = q_tile + warp() * C::kWarpRows * C::kLd;
  const int kv_head = static_cast<int>(queries.head / (p.sizes.Hq / p.sizes.Hkv));
  const KeySource<F> source(p, queries.b, kv_head, queries.n.keys);
  const float scale = static_cast<float>(p.scale) * kLog2e, factor = F::kGeneral ? 1.0f : scale;
  const int end = range.end;
  int key0 = range.begin / C::kCols * C::kCols;

  const T* const q = static_cast<const T*>(p.q);
  copy_tile<C, C::kRows>(q_tile, q, static_cast<int>(p.sizes.D), l.wide_q, [&](int r) {
    return queries.has(r) ? q + attention_row(p.q_layout, p.rule.q_first, queries.b, queries.head_of(r),
                                              queries.query(r))
                          : nullptr;
  });
  source.load(stages, key0, l);
  ptx::cp_async_commit();
  [[maybe_unused]] RowFragments<C> kept;
  if constexpr (F::kKeepQueries) {
    ptx::cp_async_wait_all();
    __syncthreads();  // the queries have arrived from every thread
    load_all_rows<C>(kept, my_rows);
  }
  GPUNN_SHARED(ranges, TileKeys[C::kWarps]);  // not in registers, which are short
  if (lane() == 0) ranges[warp()] = tile_keys(p.rule, queries, warp() * C::kWarpRows, C::kWarpRows);
  for (T *now = stages, *next = stages + 2 * C::kColTile; key0 < end; key0 += C::kCols) {
    ptx::cp_async_wait_all();
    __syncthreads();  // this stage has arrived from every thread, and all have read the other one
    if (key0 + C::kCols < end) source.load(next, key0 + C::kCols, l);
    ptx::cp_async_commit();
    const T* const tile = now;
    now = next;
    next = const_cast<T*>(tile);
    const TileKeys& mine = ranges[warp()];
    if (key0 >= mine.end || key0 + C::kCols <= mine.begin) continue;  // nothing for this warp's rows
    Sums<C, C::kCols> s;
    if constexpr (F::kKeepQueries) {
      multiply_along<C>(kept, tile, s);
    } else {
      multiply_along<C>(my_rows, tile, s);
    }
    if constexpr (F::kGeneral) {
      score<C, false>(p, queries, key0, s);
    } else if (key0 < mine.all_begin || key0 + C::kCols > mine.all_end) {
      hide<C, false>(p.rule, queries, key0, s);
    }
    weigh<F>(s, factor, state);
    if constexpr (F::kGeneral) {
      if (p.dropout.on)
        for_each_kept<C, false>(p.dropout, p.sizes, queries, key0,
                                [&](int i, int j, int r, bool kept_weight) {
                                  if (!kept_weight) s[i][j][r] = 0.0f;
                                });
    }
    multiply_across<C, C::kDim>(s, tile + C::kColTile, own, state.y);
  }
}

/// The rows of y and of lse that the tile covers.
template <class F>
GPUNN_DEVICE void forward_store(const AttentionProblem& p, const AttentionForwardLaunch& l,
                                const Queries<F::kPacked>& queries, const typename F::State& state) {
  using C = typename F::C;
  using T = typename F::T;
  const float factor = F::kGeneral ? 1.0f : static_cast<float>(p.scale) * kLog2e;
  const int width = static_cast<int>(p.sizes.Dv);
  GPUNN_UNROLL
  for (int n = 0; n < C::kFragments * 2; ++n) {
    const int r = warp() * C::kWarpRows + n * 8 + lane() / 4;
    if (!queries.has_row(r)) continue;
    const bool there = queries.has(r);
    const std::int64_t h = queries.head_of(r), i = queries.query(r);
    const float total = state.total[n / 2][n % 2], top = state.top[n / 2][n % 2] * factor;
    const bool none = !there || total == 0.0f;
    if (p.lse && lane() % 4 == 0)
      static_cast<float*>(p.lse)[(queries.b * p.sizes.Hq + h) * p.sizes.Tq + i] =
          none ? -INFINITY : top * kLn2 + logf(total);
    if (!there && p.rule.q_first) continue;  // the row is another sequence's
    const float share = none ? 0.0f : (p.dropout.on ? p.dropout.scale : 1.0f) / total;
    T* const y = static_cast<T*>(p.y) + attention_row(p.y_layout, p.rule.q_first, queries.b, h, i);
    GPUNN_UNROLL
    for (int j = 0; j < C::kDim / 8; ++j) {
      const float a = state.y[n / 2][j][n % 2 * 2], b = state.y[n / 2][j][n % 2 * 2 + 1];
      store_pair(y, j * 8 + lane() % 4 * 2, width, l.pairs_y, none ? 0.0f : a * share,
                 none ? 0.0f : b * share);
    }
  }
}

/// What a chunk of the keys leaves for the combining kernel.
template <class F>
GPUNN_DEVICE void forward_store_part(const AttentionProblem& p, const AttentionForwardLaunch& l,
                                     const Queries<F::kPacked>& queries, std::int64_t chunk,
                                     const typename F::State& state) {
  using C = typename F::C;
  const int width = static_cast<int>(p.sizes.Dv);
  const float dropout = p.dropout.on ? p.dropout.scale : 1.0f;
  GPUNN_UNROLL
  for (int n = 0; n < C::kFragments * 2; ++n) {
    const int r = warp() * C::kWarpRows + n * 8 + lane() / 4;
    if (!queries.has_row(r)) continue;
    const std::int64_t h = queries.head_of(r), rows = p.sizes.B * p.sizes.Hq * p.sizes.Tq;
    const std::int64_t row = chunk * rows + (queries.b * p.sizes.Hq + h) * p.sizes.Tq + queries.query(r);
    const float total = state.total[n / 2][n % 2];
    if (lane() % 4 == 0) {
      l.sums[row * 2] = total == 0.0f || !queries.has(r) ? -INFINITY : state.top[n / 2][n % 2];
      l.sums[row * 2 + 1] = total;
    }
    GPUNN_UNROLL
    for (int j = 0; j < C::kDim / 8; ++j)
      store_pair(l.values + row * p.sizes.Dv, j * 8 + lane() % 4 * 2, width, width % 2 == 0,
                 state.y[n / 2][j][n % 2 * 2] * dropout, state.y[n / 2][j][n % 2 * 2 + 1] * dropout);
  }
}

/// A block's work: a tile of a head's queries, the last tile first (a causal one has the most keys); packed:
/// a chunk of a key head's keys, chunks innermost.
template <class F>
GPUNN_DEVICE void forward_block(const AttentionProblem& p, const AttentionForwardLaunch& l) {
  using C = typename F::C;
  GPUNN_DYN_SHARED(memory);
  const AttentionSizes& s = p.sizes;
  std::int64_t index = blockIdx.x, chunk = 0;
  if constexpr (F::kPacked) {
    chunk = index % l.chunks;
    index /= l.chunks;
  }
  const std::int64_t tile = l.row_tiles - 1 - index % l.row_tiles, heads = F::kPacked ? s.Hkv : s.Hq;
  const std::int64_t head = index / l.row_tiles % heads, b = index / l.row_tiles / heads;
  const std::int64_t group = F::kPacked ? s.Hq / s.Hkv : 1;
  const Queries<F::kPacked> queries{attention_lengths(p.rule, s, b),   static_cast<int>(b),
                                    static_cast<int>(head * group),    static_cast<int>(group),
                                    static_cast<int>(tile * C::kRows), static_cast<int>(s.Tq)};
  TileKeys range = tile_keys(p.rule, queries, 0, C::kRows);
  if constexpr (F::kPacked) {
    const int begin = static_cast<int>(chunk * l.chunk), end = begin + static_cast<int>(l.chunk);
    if (range.begin < begin) range.begin = begin;
    if (range.end > end) range.end = end;
  }
  typename F::State state;
  clear(state.y);
  GPUNN_UNROLL
  for (int i = 0; i < C::kFragments * 2; ++i) {
    state.top[i / 2][i % 2] = -INFINITY;
    state.total[i / 2][i % 2] = 0.0f;
  }
  if (range.begin < range.end) forward_keys<F>(p, l, queries, range, memory, state);
  GPUNN_UNROLL
  for (int i = 0; i < C::kFragments * 2; ++i) {
    float& total = state.total[i / 2][i % 2];
    total += shuffle_xor(total, 1);
    total += shuffle_xor(total, 2);
  }
  if (F::kPacked && l.chunks > 1) return forward_store_part<F>(p, l, queries, chunk, state);
  forward_store<F>(p, l, queries, state);
}

/// A block for every tile of every head; sets l.row_tiles.
template <class F>
Grid forward_grid(const AttentionProblem& p, AttentionForwardLaunch& l) {
  l.row_tiles = (p.sizes.Tq + F::C::kRows - 1) / F::C::kRows;
  return {dim3(static_cast<unsigned>(l.row_tiles * p.sizes.Hq * p.sizes.B)), dim3(F::C::kThreads), F::kBytes};
}

}  // namespace gpunn::attention_tile
