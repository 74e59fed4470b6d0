// A loop of multiply-adds that touches no memory: what the multiply-add units give at the clock of the
// moment.
#include "benchmarks/fma_peak.h"

#include <chrono>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "benchmarks/fma_peak.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

double fma_gflops() {
  // Twelve chains hide the latency of two units and fit the registers of every target.
  constexpr int kChains = 12, kSteps = 1 << 20;
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> sum[kChains];
  const auto factor = hn::Set(d, 0.5f), term = hn::Set(d, 1.0f);
  HWY_UNROLL(12)
  for (int i = 0; i < kChains; ++i) sum[i] = hn::Set(d, static_cast<float>(i));
  const auto start = std::chrono::steady_clock::now();
  for (int step = 0; step < kSteps; ++step) {
    HWY_UNROLL(12)
    for (int i = 0; i < kChains; ++i) sum[i] = hn::MulAdd(sum[i], factor, term);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  auto all = sum[0];
  for (int i = 1; i < kChains; ++i) all = hn::Add(all, sum[i]);
  // Every chain tends to 2: the comparison keeps the loop alive and never changes the answer.
  const bool plausible = hn::GetLane(all) > 1.0f;
  return plausible ? 2.0 * kChains * kSteps * static_cast<double>(hn::Lanes(d)) / took.count() / 1e9 : 0;
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn::bench {

HWY_EXPORT(fma_gflops);

double fma_peak_gflops() { return HWY_DYNAMIC_DISPATCH(fma_gflops)(); }

}  // namespace gpunn::bench
#endif
