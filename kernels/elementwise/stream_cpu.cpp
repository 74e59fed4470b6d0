#include "gpunn/kernels/elementwise/stream_cpu_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/elementwise/stream_cpu.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// After highway.h
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void StreamFloats(const float* from, float* to, std::size_t n) {
  const hn::CappedTag<float, 16> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::Stream(hn::LoadU(d, from + i), d, to + i);
  for (; i < n; ++i) to[i] = from[i];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <atomic>

namespace gpunn::elementwise {

namespace {

HWY_EXPORT(StreamFloats);

std::atomic<std::int64_t> forced{0};

}  // namespace

std::int64_t streamed_elements() noexcept {
  const std::int64_t wanted = forced.load(std::memory_order_relaxed);
  return wanted > 0 ? wanted : kPastCacheElements;
}
void force_streaming(std::int64_t elements) noexcept { forced.store(elements, std::memory_order_relaxed); }

void stream_floats(const float* from, float* to, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(StreamFloats)(from, to, n);
}
void finish_streams() { hwy::FlushStream(); }

}  // namespace gpunn::elementwise
#endif  // HWY_ONCE
