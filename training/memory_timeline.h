#pragma once
// What a device held during training, step by step.
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/memory_tag.h"

namespace gpunn {

struct MemorySample {
  std::int64_t step = 0;                           // after it
  std::array<std::size_t, kMemoryTags> largest{};  // by tag: the most since the sample before
  std::size_t live_bytes = 0;                      // of all tags at that moment, or the most of several
  std::size_t reserved_bytes = 0;                  // likewise
};

/// Samples of one device, at most kMaxSamples: when they are that many, neighbours are merged, and from then
/// on each sample stands for twice as many calls. No peak is lost by that. For one thread, and one timeline a
/// device at a time: the most of each tag is asked and forgotten.
class GPUNN_API MemoryTimeline {
 public:
  static constexpr std::size_t kMaxSamples = 400;

  /// Takes a sample. About 0.1 us; allocates while the number of samples grows only.
  void sample(Device device, std::int64_t step);
  /// What was held since the last sample belongs to no step (evaluation, say): the next one starts here.
  void skip(Device device);
  /// The last one may stand for fewer calls than the others.
  const std::vector<MemorySample>& samples() const noexcept { return samples_; }
  /// Of the device's allocator since its peaks were reset, at the last sample.
  std::size_t peak_live_bytes() const noexcept { return peak_live_; }
  std::size_t peak_reserved_bytes() const noexcept { return peak_reserved_; }

 private:
  std::vector<MemorySample> samples_;
  std::int64_t calls_each_ = 1;  // that a sample stands for
  std::int64_t calls_in_last_ = 0;
  std::size_t peak_live_ = 0, peak_reserved_ = 0;
};

}  // namespace gpunn
