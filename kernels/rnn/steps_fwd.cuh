#pragma once
// A forward step: a block computes all gates of a tile of [batch, units], then applies the non-linearities to
// the sums in shared memory.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/rnn/rnn_product.cuh"
#include "gpunn/kernels/rnn/rnn_units.cuh"
#include "gpunn/kernels/rnn/steps_impl.h"

namespace gpunn {

/// Few rows: eight warps share the sum; many rows: more sums a warp.
template <class T, bool kTensor, int kGates, int kM>
using RnnForwardConfig = rnn_product::Config<T, kTensor, kM, kGates == 3 ? 48 : 32,
                                             kM == 16 && kGates != 3 ? 8 : 4, kM == 16 ? 3 : 2>;

template <class C>
inline constexpr int kRnnForwardStage = C::kSizeA + C::kN * C::kLdK;  // elements

/// One slice of the left rows [kM, k] and of the weights [kGates kUnits, k] to a stage.
template <class C, int kUnits>
GPUNN_DEVICE void rnn_load_forward(typename C::T* stage, const RnnForwardProblem& p, const RnnForwardStep& s,
                                   std::int64_t b0, std::int64_t j0, std::int64_t k0) {
  using T = typename C::T;
  const std::int64_t H = p.sizes.H;
  const T* const left = static_cast<const T*>(s.left);
  const T* const h0 = static_cast<const T*>(p.h0);
  const T* const weights = static_cast<const T*>(p.w_hh) + s.first_gate * H * H;
  rnn_product::load_tile<T, C::kM, C::kSlice, C::kLdK>(
      stage, weights, s.bytes, [&](int r, int k) -> const T* {
        const std::int64_t b = b0 + r;
        if (b >= s.rows.now.batch || k0 + k >= H) return nullptr;
        return (b < s.left_rows ? left : h0) + b * H + k0 + k;
      });
  rnn_product::load_tile<T, C::kN, C::kSlice, C::kLdK>(stage + C::kSizeA, weights, s.bytes,
                                                       [&](int n, int k) -> const T* {
                                                         const std::int64_t j = j0 + n % kUnits;
                                                         if (j >= H || k0 + k >= H) return nullptr;
                                                         return weights + (n / kUnits * H + j) * H + k0 + k;
                                                       });
}

/// `x`: the inputs' sums of the unit's gates, `a`: the product's.
template <class T, int kGates>
GPUNN_DEVICE void rnn_finish_forward(const RnnForwardStep& s, const RnnForwardUnit<T>& unit,
                                     const float (&x)[kGates], const float (&a)[kGates]) {
  const std::int64_t i = unit.state();
  if constexpr (kGates == 4) {
    s.state[i] = unit.lstm(x, a, unit.begins() ? unit.c_first() : s.state[i]);
  } else if constexpr (kGates == 3) {
    unit.gru(x, a);
  } else if constexpr (kGates == 2) {
    s.state[i] = unit.gru_reset(x, a, s.reset);
  } else {
    if (s.phase == RnnPhase::candidate) return unit.gru_candidate(x, a, s.state[i]);
    unit.plain(x, a);
  }
}

template <class C, int kGates>
GPUNN_DEVICE void rnn_forward_block(const RnnForwardProblem& p, const RnnForwardStep& s) {
  using T = typename C::T;
  constexpr int kUnits = C::kN / kGates, kElements = C::kM * kUnits;
  constexpr int kStage = kRnnForwardStage<C>, kOwn = rnn_product::kOwnBytes<C, kStage>;
  constexpr int kAhead = C::kM == 16 ? (kElements + C::kThreads - 1) / C::kThreads : 0;
  GPUNN_DYN_SHARED(memory);  // [kWarps, kOwn]
  const std::int64_t H = p.sizes.H, unit_tiles = (H + kUnits - 1) / kUnits;
  const std::int64_t b0 = blockIdx.x / unit_tiles * C::kM, j0 = blockIdx.x % unit_tiles * kUnits;
  const auto inside = [&](int e) {
    return e < kElements && b0 + e / kUnits < s.rows.now.batch && j0 + e % kUnits < H;
  };
  const auto unit_of = [&](int e) { return RnnForwardUnit<T>(p, s.rows, b0 + e / kUnits, j0 + e % kUnits); };
  const int t = static_cast<int>(threadIdx.x);
  float x[kAhead ? kAhead : 1][kGates];  // with few rows on their way while the product is summed
  GPUNN_UNROLL
  for (int i = 0; i < kAhead; ++i)
    if (inside(t + i * C::kThreads))
      unit_of(t + i * C::kThreads).load_x(x[i], static_cast<int>(s.first_gate));

  T* const own = reinterpret_cast<T*>(memory + rnn_product::warp() * kOwn);
  rnn_product::Sums<C> sum = {};
  rnn_product::sum_slices<C>(
      own, kStage, H, [&](T* stage, std::int64_t k) { rnn_load_forward<C, kUnits>(stage, p, s, b0, j0, k); },
      [&](const T* stage, std::int64_t) {
        rnn_product::multiply<C, false>(stage, stage + C::kSizeA, C::kLdK, sum);
      });
  rnn_product::store_sums<C>(sum, reinterpret_cast<float*>(own));
  __syncthreads();  // every warp's sums are there

  const auto finish = [&](int e, const float(&inputs)[kGates]) {
    float a[kGates];
    GPUNN_UNROLL
    for (int g = 0; g < kGates; ++g)
      a[g] = rnn_product::total<C>(memory, kOwn, e / kUnits, g * kUnits + e % kUnits);
    rnn_finish_forward<T, kGates>(s, unit_of(e), inputs, a);
  };
  if constexpr (kAhead > 0) {
    GPUNN_UNROLL
    for (int i = 0; i < kAhead; ++i)
      if (inside(t + i * C::kThreads)) finish(t + i * C::kThreads, x[i]);
  } else {
    GPUNN_ROLLED
    for (int e = t; e < kElements; e += C::kThreads) {
      if (!inside(e)) continue;
      unit_of(e).load_x(x[0], static_cast<int>(s.first_gate));
      finish(e, x[0]);
    }
  }
}

template <class C, int kGates>
Grid rnn_forward_grid(const RnnForwardProblem& p, const RnnForwardStep& s) {
  constexpr int kUnits = C::kN / kGates;
  const std::int64_t blocks = (s.rows.now.batch + C::kM - 1) / C::kM * ((p.sizes.H + kUnits - 1) / kUnits);
  return {dim3(static_cast<unsigned>(blocks)), dim3(C::kThreads),
          static_cast<std::size_t>(C::kWarps * rnn_product::kOwnBytes<C, kRnnForwardStage<C>>)};
}

/// Calls f with the step's gates and tile rows as integral constants.
template <class F>
void rnn_for_forward_tile(const RnnForwardProblem& p, const RnnForwardStep& s, F f) {
  const auto rows = [&](auto gates) {
    constexpr int kUnits = (gates.value == 3 ? 48 : 32) / gates.value;
    const int M = rnn_tile_rows(s.rows.now.batch, (p.sizes.H + kUnits - 1) / kUnits, s.multiprocessors);
    return M == 64 ? f(gates, std::integral_constant<int, 64>{})
                   : f(gates, std::integral_constant<int, 16>{});
  };
  if (s.phase == RnnPhase::reset) return rows(std::integral_constant<int, 2>{});
  if (s.phase == RnnPhase::candidate) return rows(std::integral_constant<int, 1>{});
  switch (p.sizes.mode) {
    case RnnMode::lstm:
      return rows(std::integral_constant<int, kLstmGates>{});
    case RnnMode::gru:
      return rows(std::integral_constant<int, kGruGates>{});
    default:
      return rows(std::integral_constant<int, 1>{});
  }
}

}  // namespace gpunn
