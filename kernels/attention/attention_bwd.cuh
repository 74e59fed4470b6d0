#pragma once
// Backward in two kernels, each of which computes the weights again from lse: one keeps a tile of queries and
// walks over keys (dq), the other keeps a tile of keys and walks over the queries of all heads of its group
// (dk, dv). That is seven products instead of the five of one kernel that adds dq up with atomics, and every
// sum has its order.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/attention/attention_device_impl.h"
#include "gpunn/kernels/attention/attention_dims.cuh"
#include "gpunn/kernels/attention/attention_scores.cuh"

namespace gpunn::attention_tile {

/// 2^(score - base) is a weight; +inf makes all of a row's 0. Rows without a key have lse -inf, rows behind
/// the end of a sequence may have anything.
GPUNN_DEVICE float weight_base(float lse, bool there) {
  return there && lse > -INFINITY ? lse * kLog2e : INFINITY;
}

/// Scores to weights. `base(q)`: of query q of the lane.
template <class C, bool kKeysInRows, bool kGeneral, class P, class Base>
GPUNN_DEVICE void weights_again(const P& p, const Queries<false>& queries, int key0, bool partial,
                                Sums<C, C::kCols>& s, Base base) {
  using L = Lane<C, kKeysInRows>;
  if constexpr (kGeneral) {
    score<C, kKeysInRows>(p, queries, key0, s);
  } else if (partial) {
    hide<C, kKeysInRows>(p.rule, queries, key0, s);
  }
  const float factor = kGeneral ? 1.0f : static_cast<float>(p.scale) * kLog2e;
  GPUNN_UNROLL
  for (int q = 0; q < L::kQueries; ++q) {
    const float least = base(q);
    GPUNN_UNROLL
    for (int k = 0; k < L::kKeys; ++k) {
      float& e = L::at(s, q, k);
      e = power_of_two<typename C::T>(fmaf(e, factor, -least));
    }
  }
}

/// dp (gradients of what met v) to gradients of scores: p (d dp - delta), d from dropout. With `also_weights`
/// p becomes d p.
template <class C, bool kKeysInRows, bool kGeneral, bool kAlsoWeights, class Delta>
GPUNN_DEVICE void score_gradients(const AttentionBackwardProblem& p, const Queries<false>& queries, int key0,
                                  Sums<C, C::kCols>& weights, Sums<C, C::kCols>& dp, Delta delta) {
  using L = Lane<C, kKeysInRows>;
  const auto with = [&](int i, int j, int r, float d) {
    const int q = kKeysInRows ? j * 2 + r % 2 : i * 2 + r / 2;
    float& w = weights[i][j][r];
    float& g = dp[i][j][r];
    g = w * (d * g - delta(q));
    if (kAlsoWeights) w *= d;
  };
  static_cast<void>(sizeof(L));
  if (kGeneral && p.dropout.on) {
    for_each_kept<C, kKeysInRows>(p.dropout, p.sizes, queries, key0, [&](int i, int j, int r, bool kept) {
      with(i, j, r, kept ? p.dropout.scale : 0.0f);
    });
    return;
  }
  GPUNN_UNROLL
  for (int i = 0; i < C::kFragments; ++i) {
    GPUNN_UNROLL
    for (int j = 0; j < C::kCols / 8; ++j) {
      GPUNN_UNROLL
      for (int r = 0; r < 4; ++r) with(i, j, r, 1.0f);
    }
  }
}

/// Rows of one operand of sequence b, head h: row t at data + t time.
template <class T>
struct RowsOf {
  T* data;
  std::int64_t time;
  GPUNN_DEVICE RowsOf(T* from, const AttentionLayout& l, const std::int64_t* first, std::int64_t b,
                      std::int64_t h)
      : data(from + attention_row(l, first, b, h, 0)), time(l.time) {}
  GPUNN_DEVICE T* operator()(std::int64_t t) const { return data + t * time; }
};

/// Rows first.. of an operand to a tile; those from `rows` on are zero.
template <class C, int kN, class T>
GPUNN_DEVICE void copy_rows_of(T* to, const RowsOf<const T>& from, int first, int rows, int width,
                               bool wide) {
  copy_tile<C, kN>(to, from.data, width, wide,
                   [&](int r) { return first + r < rows ? from(first + r) : nullptr; });
}

/// Stores a warp's sums [kWarpRows, kOut from column0 on] times `factor`; rows from `rows` on become zero up
/// to `all`.
template <class C, int kOut, class T>
GPUNN_DEVICE void store_gradient(const RowsOf<T>& to, const Sums<C, kOut>& sum, float factor, int first,
                                 std::int64_t rows, std::int64_t all, int column0, int width, bool pairs) {
  GPUNN_UNROLL
  for (int n = 0; n < C::kFragments * 2; ++n) {
    const int row = first + warp() * C::kWarpRows + n * 8 + lane() / 4;
    if (row >= all) continue;
    const bool there = row < rows;
    GPUNN_UNROLL
    for (int j = 0; j < kOut / 8; ++j)
      store_pair(to(row), column0 + j * 8 + lane() % 4 * 2, width, pairs,
                 there ? sum[n / 2][j][n % 2 * 2] * factor : 0.0f,
                 there ? sum[n / 2][j][n % 2 * 2 + 1] * factor : 0.0f);
  }
}

}  // namespace gpunn::attention_tile
