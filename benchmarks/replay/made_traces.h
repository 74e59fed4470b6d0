#pragma once
// Programs that make traces. Nothing here is recorded: patterns by rule, training steps from the sizes of
// layers.
#include <cstdint>

#include "benchmarks/replay/trace.h"

namespace gpunn::replay {

/// Equal numbers everywhere (splitmix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() noexcept;
  std::uint64_t below(std::uint64_t limit) noexcept { return next() % limit; }
  /// Uniform in [0, 1).
  double fraction() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// From `low` to `high`, even on a logarithmic scale.
  std::size_t size_between(double low, double high) noexcept;

 private:
  std::uint64_t state_;
};

Trace make_lifo();
Trace make_fifo();
Trace make_classes();
Trace make_producer_consumer();
Trace make_eight_threads();
Trace make_growth();
Trace make_torture();

/// GPT-2 124M: batch 8, 1,024 tokens, f32, Adam; six steps.
Trace make_transformer();
/// A smaller transformer over batches of varying length, 64 to 1,024 tokens; 50 steps.
Trace make_varying_lengths();
/// ResNet-50: batch 32 of 224 x 224, f32, SGD with momentum; six steps.
Trace make_resnet();

}  // namespace gpunn::replay
