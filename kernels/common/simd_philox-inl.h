// Philox in SIMD lanes: each lane is a block of its own, and an interleaving store puts the four numbers of
// every block side by side.
//
// Include it in a source that is compiled per target, after hwy/highway.h.
#if defined(GPUNN_KERNELS_COMMON_SIMD_PHILOX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_COMMON_SIMD_PHILOX_INL_H_
#undef GPUNN_KERNELS_COMMON_SIMD_PHILOX_INL_H_
#else
#define GPUNN_KERNELS_COMMON_SIMD_PHILOX_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Both halves of the 64-bit products of every lane with `factor`.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void MulWide(D d, V v, std::uint32_t factor, V& high, V& low) {
#if HWY_TARGET == HWY_SCALAR
  const std::uint64_t product = std::uint64_t{factor} * hn::GetLane(v);
  high = hn::Set(d, static_cast<std::uint32_t>(product >> 32));
  low = hn::Set(d, static_cast<std::uint32_t>(product));
#else
  const hn::RepartitionToWide<D> wide;
  const V k = hn::Set(d, factor);
  const auto even = hn::MulEven(v, k);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, v))), k);
  high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
#endif
}

/// philox_at() for blocks `first`, first + 1, … of the lanes; writes 4 * Lanes(d) numbers.
template <class D>
HWY_INLINE void PhiloxLanes(D d, std::uint64_t seed, std::uint64_t first, std::uint32_t* out) {
  using V = hn::Vec<D>;
  auto key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  const V start = hn::Set(d, static_cast<std::uint32_t>(first));
  const V high = hn::Set(d, static_cast<std::uint32_t>(first >> 32));
  V c0 = hn::Add(start, hn::Iota(d, 0u)), c2 = hn::Zero(d), c3 = c2;
  V c1 = hn::IfThenElse(hn::Lt(c0, start), hn::Add(high, hn::Set(d, 1u)), high);  // carry
  for (int round = 0; round < 10; ++round) {
    V high0, low0, high1, low1;
    MulWide(d, c0, 0xD2511F53u, high0, low0);
    MulWide(d, c2, 0xCD9E8D57u, high1, low1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, key0));
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, key1));
    c1 = low1;
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, d, out);
}

/// f(i, bits, count) for vectors of at most Lanes(d) elements of [begin, end); begin is a multiple of 4.
template <class F>
HWY_INLINE void ForEachBits(std::uint64_t seed, std::uint64_t offset, std::int64_t begin, std::int64_t end,
                            F f) {
  const hn::ScalableTag<std::uint32_t> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  HWY_ALIGN std::uint32_t bits[4 * HWY_LANES(std::uint32_t)];
  for (std::int64_t group = begin; group < end; group += 4 * lanes) {
    PhiloxLanes(d, seed, offset + static_cast<std::uint64_t>(group) / 4, bits);
    const std::int64_t stop = std::min(end, group + 4 * lanes);
    for (std::int64_t i = group; i < stop; i += lanes)
      f(i, hn::Load(d, bits + (i - group)), std::min(lanes, stop - i));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
