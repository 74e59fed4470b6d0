#pragma once
// From products of queries and keys to scores: scale, masks, biases, and which weights dropout keeps. Queries
// are the rows of a warp's sums (forward, dq) or their columns (dk, dv).
#include "gpunn/core/philox.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/attention/attention_tile.cuh"

namespace gpunn::attention_tile {

/// The queries of a tile: consecutive ones of a head, or, packed, of all heads that read a key head, Tq of
/// each.
template <bool kPacked>
struct Queries {
  AttentionLengths n;
  int b, head, group;  // packed: the first of `group` heads
  int first, Tq;

  GPUNN_DEVICE int query(int r) const { return kPacked ? (first + r) % Tq : first + r; }
  GPUNN_DEVICE int head_of(int r) const { return kPacked ? head + (first + r) / Tq : head; }
  /// Whether the row is one of the output, and whether its query is there.
  GPUNN_DEVICE bool has_row(int r) const { return first + r < (kPacked ? group * Tq : Tq); }
  GPUNN_DEVICE bool has(int r) const { return has_row(r) && query(r) < n.queries; }
};

/// Keys that some of the tile's rows [from, from + rows) see, and those that all of them see.
struct TileKeys {
  int begin, end, all_begin, all_end;
};
template <bool kPacked>
GPUNN_DEVICE TileKeys tile_keys(const AttentionRule& rule, const Queries<kPacked>& q, int from, int rows) {
  const std::int64_t first = kPacked ? 0 : q.first + from;
  std::int64_t last = kPacked ? q.Tq - 1 : q.first + from + rows - 1;
  if (last > q.n.queries - 1) last = q.n.queries - 1;
  if (last < first) return {0, 0, 0, 0};
  const KeyRange a = attention_keys(rule, q.n, first), b = attention_keys(rule, q.n, last);
  return {static_cast<int>(a.begin), static_cast<int>(b.end < q.n.keys ? b.end : q.n.keys),
          static_cast<int>(b.begin), static_cast<int>(a.end)};
}

/// Queries [begin, end) of which some see some of the keys [first, end).
struct QueryRange {
  int begin, end;
};
GPUNN_DEVICE QueryRange seeing_queries(const AttentionRule& rule, const AttentionLengths& n,
                                       std::int64_t first, std::int64_t end) {
  if (end > n.keys) end = n.keys;
  const std::int64_t shift = attention_position(rule, n, 0);
  std::int64_t from = 0, to = n.queries;
  if (rule.causal || rule.window > 0) {
    const std::int64_t ahead = rule.causal ? 0 : rule.window - 1;  // keys that a query sees behind itself
    if (from < first - ahead - shift) from = first - ahead - shift;
  }
  if (rule.window > 0 && to > end - 1 + rule.window - shift) to = end - 1 + rule.window - shift;
  if (first >= end || to < from) to = from = 0;
  return {static_cast<int>(from), static_cast<int>(to)};
}

/// A lane's part of a tile of scores by queries and keys.
template <class C, bool kKeysInRows>
struct Lane {
  static constexpr int kRows = C::kFragments * 2, kCols = C::kCols / 4;
  static constexpr int kQueries = kKeysInRows ? kCols : kRows, kKeys = kKeysInRows ? kRows : kCols;

  static GPUNN_DEVICE int row(int n) { return warp() * C::kWarpRows + n * 8 + lane() / 4; }
  static GPUNN_DEVICE int col(int n) { return n / 2 * 8 + lane() % 4 * 2 + n % 2; }
  static GPUNN_DEVICE int query(int n) { return kKeysInRows ? col(n) : row(n); }
  static GPUNN_DEVICE int key(int n) { return kKeysInRows ? row(n) : col(n); }
  static GPUNN_DEVICE float& at(Sums<C, C::kCols>& s, int q, int k) {
    const int row = kKeysInRows ? k : q, col = kKeysInRows ? q : k;
    return s[row / 2][col / 2][row % 2 * 2 + col % 2];
  }
};

/// -inf where the rule hides a key; nothing else.
template <class C, bool kKeysInRows, bool kPacked>
GPUNN_DEVICE void hide(const AttentionRule& rule, const Queries<kPacked>& queries, int key0,
                       Sums<C, C::kCols>& s) {
  using L = Lane<C, kKeysInRows>;
  GPUNN_UNROLL
  for (int q = 0; q < L::kQueries; ++q) {
    const KeyRange range = attention_keys(rule, queries.n, queries.query(L::query(q)));
    const int begin = static_cast<int>(range.begin), end = static_cast<int>(range.end);
    GPUNN_UNROLL
    for (int k = 0; k < L::kKeys; ++k) {
      const int key = key0 + L::key(k);
      if (key < begin || key >= end) L::at(s, q, k) = -INFINITY;
    }
  }
}

/// Products to scores in units of ln 2, with every option: scale, ALiBi, masks, -inf where hidden.
template <class C, bool kKeysInRows, class P, bool kPacked>
GPUNN_DEVICE void score(const P& p, const Queries<kPacked>& queries, int key0, Sums<C, C::kCols>& s) {
  using T = typename C::T;
  using L = Lane<C, kKeysInRows>;
  const float scale = static_cast<float>(p.scale) * kLog2e;
  const AttentionMaskKind kind = p.mask.kind;
  GPUNN_UNROLL
  for (int q = 0; q < L::kQueries; ++q) {
    const int r = L::query(q), i = queries.query(r), h = queries.head_of(r);
    const bool there = queries.has(r);
    const KeyRange range = attention_keys(p.rule, queries.n, i);
    const int begin = there ? static_cast<int>(range.begin) : 0;
    const int end = there ? static_cast<int>(range.end) : 0;
    const float slope = p.rule.alibi && there ? p.rule.alibi[h] * kLog2e : 0.0f;
    const int position = static_cast<int>(attention_position(p.rule, queries.n, i));
    const std::int64_t mask_row =
        queries.b * p.mask.batch + h * p.mask.head + i * p.mask.query + key0 * p.mask.key;
    GPUNN_UNROLL
    for (int k = 0; k < L::kKeys; ++k) {
      const int offset = L::key(k), key = key0 + offset, away = position - key;
      float& e = L::at(s, q, k);
      bool seen = key >= begin && key < end;
      float x = e * scale - slope * static_cast<float>(away < 0 ? -away : away);
      if (seen && kind != AttentionMaskKind::none) {
        const std::int64_t at = mask_row + offset * p.mask.key;
        if (kind == AttentionMaskKind::boolean) {
          seen = static_cast<const unsigned char*>(p.mask.data)[at] != 0;
        } else {
          x += to_float(static_cast<const T*>(p.mask.data)[at]) * kLog2e;
        }
      }
      e = seen ? x : -INFINITY;
    }
  }
}

GPUNN_DEVICE std::uint32_t pick(const std::uint32_t (&v)[4], int i) {
  const std::uint32_t low = i & 1 ? v[1] : v[0], high = i & 1 ? v[3] : v[2];
  return i & 2 ? high : low;
}

/// Calls f(i, j, r, kept) for every element of a lane's sums. A block of four random numbers belongs to four
/// keys of a query; the lanes that hold these keys draw one block each and exchange numbers.
template <class C, bool kKeysInRows, bool kPacked, class F>
GPUNN_DEVICE void for_each_kept(const AttentionDropout& dropout, const AttentionSizes& sizes,
                                const Queries<kPacked>& queries, int key0, F f) {
  const auto draw = [&](int r, int key) {
    const std::uint64_t number =
        attention_number(sizes, queries.b, queries.head_of(r), queries.query(r), key0 + key);
    return philox_at(dropout.seed, dropout.offset + number / 4);
  };
  const int l = lane(), quad = l % 4, group = l / 4;
  GPUNN_UNROLL
  for (int i = 0; i < C::kFragments; ++i) {
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 8; ++j) {
      const int row = warp() * C::kWarpRows + i * 16, col = j * 8;
      std::uint32_t bits[4];  // of the fragment's elements
      if constexpr (kKeysInRows) {
        // Rows group and group + 8, columns 2 quad and the next: a block each, one for each of four lanes.
        const int mine = group % 4;
        const Philox4 block = draw(col + quad * 2 + mine % 2, row + mine / 2 * 8 + group / 4 * 4);
        std::uint32_t got[4];
        GPUNN_UNROLL
        for (int x = 0; x < 4; ++x) got[x] = __shfl_xor_sync(kFullWarp, pick(block.v, mine ^ x), x * 4);
        GPUNN_UNROLL
        for (int r = 0; r < 4; ++r) bits[r] = pick(got, mine ^ r);
      } else {
        // Two lanes hold four keys of two rows: the even one draws for the upper row, the odd for the lower.
        const int odd = quad % 2;
        const Philox4 block = draw(row + group + odd * 8, col + quad / 2 * 4);
        GPUNN_UNROLL
        for (int c = 0; c < 2; ++c) {
          const std::uint32_t got = __shfl_xor_sync(kFullWarp, odd ? block.v[c] : block.v[2 + c], 1);
          bits[c] = odd ? got : block.v[c];
          bits[2 + c] = odd ? block.v[2 + c] : got;
        }
      }
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r) f(i, j, r, bits[r] <= dropout.greatest_kept);
    }
  }
}

}  // namespace gpunn::attention_tile
