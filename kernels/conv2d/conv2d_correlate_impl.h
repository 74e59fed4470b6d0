#pragma once
// What conv2d and conv2d_dx have in common on the CPU: every result is a sum over channels of a source and
// taps whose distance is the same for all results of a phase.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/kernels/conv2d/conv2d_planes_impl.h"

namespace gpunn {
class CpuPool;
}

namespace gpunn::detail {

/// Results (first + i * step, ...) for i < rows and columns likewise.
struct ConvPhase {
  std::int64_t first_h = 0, first_w = 0;
  std::int64_t rows = 0, columns = 0;
  std::vector<std::int64_t> r, s;  // its taps are all pairs of these, row by row
  const float* weights = nullptr;  // [all channels of the result, channels of a group of the source, taps]
  std::int64_t taps() const { return static_cast<std::int64_t>(r.size() * s.size()); }
};

struct Correlation {
  std::int64_t N = 0, groups = 1;
  std::int64_t sources = 0, results = 0;  // channels of a group
  std::int64_t source_h = 0, source_w = 0, result_h = 0, result_w = 0;
  bool channels_last = false;
  ConvAxis h, w;
  std::int64_t step_h = 1, step_w = 1;  // of the results of a phase
  std::vector<ConvPhase> phases;
  const float* x = nullptr;     // the source
  const float* bias = nullptr;  // [all channels of the result] or null
  float* y = nullptr;           // the result
  bool relu = false;
};

/// Where the taps of a phase are in the planes of `channels` channels: [channels, taps].
std::vector<std::int64_t> tap_offsets(const ConvPlanes& planes, const ConvPhase& phase,
                                      std::int64_t channels);

std::size_t correlate_workspace(const Correlation& c);
/// An element is its bias plus the products in the order of channels and, in a channel, taps: one fused
/// multiply-add each.
void correlate(const Correlation& c, void* workspace, CpuPool& pool);

/// The same, with the same bits, for one channel of the source in a group and few of the result.
bool is_depthwise(const Correlation& c);
std::size_t depthwise_workspace(const Correlation& c);
void depthwise(const Correlation& c, void* workspace, CpuPool& pool);

}  // namespace gpunn::detail
