#include "gpunn/training/memory_timeline.h"

#include <algorithm>

#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

namespace {

void merge(MemorySample& into, const MemorySample& later) {
  into.step = later.step;
  for (std::size_t i = 0; i < into.largest.size(); ++i)
    into.largest[i] = std::max(into.largest[i], later.largest[i]);
  into.live_bytes = std::max(into.live_bytes, later.live_bytes);
  into.reserved_bytes = std::max(into.reserved_bytes, later.reserved_bytes);
}

}  // namespace

void MemoryTimeline::skip(Device device) {
  const MemoryStats stats = device.context().memory().stats();
  peak_live_ = stats.peak_live_bytes;
  peak_reserved_ = stats.peak_reserved_bytes;
  device.context().usage().take_recent_peaks();
}

void MemoryTimeline::sample(Device device, std::int64_t step) {
  const MemoryStats stats = device.context().memory().stats();
  peak_live_ = stats.peak_live_bytes;
  peak_reserved_ = stats.peak_reserved_bytes;
  const MemorySample now{.step = step,
                         .largest = device.context().usage().take_recent_peaks(),
                         .live_bytes = stats.live_bytes,
                         .reserved_bytes = stats.reserved_bytes};
  if (!samples_.empty() && calls_in_last_ < calls_each_) {
    merge(samples_.back(), now);
    ++calls_in_last_;
    return;
  }
  if (samples_.size() == kMaxSamples) {
    for (std::size_t i = 0; i < kMaxSamples / 2; ++i) {
      samples_[i] = samples_[2 * i];
      merge(samples_[i], samples_[2 * i + 1]);
    }
    samples_.resize(kMaxSamples / 2);
    calls_each_ *= 2;
  }
  samples_.push_back(now);
  calls_in_last_ = 1;
}

}  // namespace gpunn
