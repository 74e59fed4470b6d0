#pragma once
// A backward step: a block computes a tile of [batch, units] of the gradient of the step's h, all gates of
// the next step times w_hh, then goes back through the step's non-linearities.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/rnn/rnn_product.cuh"
#include "gpunn/kernels/rnn/rnn_units.cuh"
#include "gpunn/kernels/rnn/steps_impl.h"

namespace gpunn {

template <class T, bool kTensor, int kM>
using RnnBackwardConfig =
    rnn_product::Config<T, kTensor, kM, kM == 16 ? 16 : 32, kM == 16 ? 8 : 4, kM == 16 ? 3 : 2>;

template <class C>
inline constexpr int kRnnBackwardStage = C::kSizeA + C::kSlice * C::kLdN;  // elements

/// One slice of the left rows [kM, k] and of the weights [k, kN] to a stage.
template <class C>
GPUNN_DEVICE void rnn_load_backward(typename C::T* stage, const RnnBackwardProblem& p,
                                    const RnnBackwardStep& s, std::int64_t b0, std::int64_t j0,
                                    std::int64_t k0) {
  using T = typename C::T;
  const std::int64_t H = p.sizes.H, GH = p.sizes.G() * H;
  const T* const left = static_cast<const T*>(s.left);
  const T* const extra = static_cast<const T*>(s.left_extra);
  const T* const weights = static_cast<const T*>(s.weights);
  rnn_product::load_tile<T, C::kM, C::kSlice, C::kLdK>(
      stage, weights, s.bytes, [&](int r, int k) -> const T* {
        const std::int64_t b = b0 + r, at = k0 + k;
        if (b >= s.left_rows || at >= s.K) return nullptr;
        return at < s.split ? left + b * GH + at : extra + b * H + at - s.split;
      });
  rnn_product::load_tile<T, C::kSlice, C::kN, C::kLdN>(
      stage + C::kSizeA, weights, s.bytes, [&](int k, int n) -> const T* {
        return k0 + k < s.K && j0 + n < H ? weights + (k0 + k) * H + j0 + n : nullptr;
      });
}

template <class C>
GPUNN_DEVICE void rnn_backward_block(const RnnBackwardProblem& p, const RnnBackwardStep& s) {
  using T = typename C::T;
  constexpr int kStage = kRnnBackwardStage<C>, kOwn = rnn_product::kOwnBytes<C, kStage>;
  GPUNN_DYN_SHARED(memory);  // [kWarps, kOwn]
  const std::int64_t H = p.sizes.H, unit_tiles = (H + C::kN - 1) / C::kN;
  const std::int64_t b0 = blockIdx.x / unit_tiles * C::kM, j0 = blockIdx.x % unit_tiles * C::kN;

  const std::int64_t now = s.rows.now.batch, next = s.phase == RnnPhase::whole ? s.rows.next.batch : 0;
  const std::int64_t batch = now > next ? now : next;
  const auto inside = [&](int e) { return b0 + e / C::kN < batch && j0 + e % C::kN < H; };
  const auto unit_of = [&](int e) { return RnnBackwardUnit<T>(p, s.rows, b0 + e / C::kN, j0 + e % C::kN); };
  const int t = static_cast<int>(threadIdx.x);
  constexpr bool kAhead = C::kM * C::kN <= C::kThreads;  // one element a thread: read it beside the product
  RnnSaved saved{};
  if (kAhead && s.phase == RnnPhase::whole && inside(t)) saved = unit_of(t).load();

  T* const own = reinterpret_cast<T*>(memory + rnn_product::warp() * kOwn);
  rnn_product::Sums<C> sum = {};
  rnn_product::sum_slices<C>(
      own, kStage, b0 < s.left_rows ? s.K : 0,
      [&](T* stage, std::int64_t k) { rnn_load_backward<C>(stage, p, s, b0, j0, k); },
      [&](const T* stage, std::int64_t) {
        rnn_product::multiply<C, true>(stage, stage + C::kSizeA, C::kLdN, sum);
      });
  rnn_product::store_sums<C>(sum, reinterpret_cast<float*>(own));
  __syncthreads();  // every warp's sums are there

  GPUNN_ROLLED
  for (int e = t; e < C::kM * C::kN; e += C::kThreads) {
    if (!inside(e)) continue;
    const float product = rnn_product::total<C>(memory, kOwn, e / C::kN, e % C::kN);
    const RnnBackwardUnit<T> unit = unit_of(e);
    float* const carry = s.carry ? s.carry + unit.state() : nullptr;
    if (s.phase == RnnPhase::reset) {
      unit.gru_reset(product, carry);
    } else {
      if constexpr (!kAhead) saved = unit.load();
      unit.step(product, saved, carry);
    }
  }
}

/// Sequences that have this step, or at least the one before it in backward.
inline std::int64_t rnn_backward_batch(const RnnBackwardStep& s) {
  return s.rows.now.batch > s.rows.next.batch ? s.rows.now.batch : s.rows.next.batch;
}

template <class C>
Grid rnn_backward_grid(const RnnBackwardProblem& p, const RnnBackwardStep& s) {
  const std::int64_t batch = rnn_backward_batch(s);
  const std::int64_t blocks = (batch + C::kM - 1) / C::kM * ((p.sizes.H + C::kN - 1) / C::kN);
  return {dim3(static_cast<unsigned>(blocks)), dim3(C::kThreads),
          static_cast<std::size_t>(C::kWarps * rnn_product::kOwnBytes<C, kRnnBackwardStage<C>>)};
}

/// Calls f with the tile's rows as an integral constant.
template <class F>
void rnn_for_backward_tile(const RnnBackwardProblem& p, const RnnBackwardStep& s, F f) {
  if (rnn_tile_rows(rnn_backward_batch(s), (p.sizes.H + 31) / 32, s.multiprocessors) == 64)
    return f(std::integral_constant<int, 64>{});
  f(std::integral_constant<int, 16>{});
}

}  // namespace gpunn
