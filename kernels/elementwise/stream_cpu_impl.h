#pragma once
// How element-wise passes over large tensors go about memory (common/past_cache_impl.h): in tiles, each of
// which asks for what a later one reads, and around the caches where the result is large enough.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/common/past_cache_impl.h"

namespace gpunn::elementwise {

/// Smaller results are never streamed.
inline constexpr std::int64_t kLeastStreamed = std::int64_t{1} << 16;
/// Elements of f32 from which a result is streamed: kPastCacheElements, unless a test wants another figure.
std::int64_t streamed_elements() noexcept;
/// For tests: `elements` instead, or the usual figure again for 0.
void force_streaming(std::int64_t elements) noexcept;
inline bool streamed(std::int64_t elements) {
  return elements >= kLeastStreamed && elements >= streamed_elements();
}
/// Elements from which a pass goes tile by tile: what it reads and writes no longer fits a core's own caches.
inline constexpr std::int64_t kLeastTiled = std::int64_t{1} << 18;
/// Elements of a tile, which are computed into a buffer in L1 where they are then copied around the caches.
/// 16 lines: with 512 elements gelu of 16 MiB takes 2.8 ms instead of 2.4, with 1,024 it takes 3.4.
inline constexpr std::int64_t kStreamTile = 256;

/// `to` is aligned to 64 bytes. Before the result is handed over, the same thread calls finish_streams().
void stream_floats(const float* from, float* to, std::size_t n);
void finish_streams();

/// How a result is written by one thread, part by part.
class ResultWriter {
 public:
  explicit ResultWriter(std::int64_t elements)
      : streams_(streamed(elements)), tiled_(streams_ || elements >= kLeastTiled) {}
  ~ResultWriter() {
    if (streams_) finish_streams();
  }
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;
  /// At most kStreamTile elements are to be written at once, and their operands asked for ahead.
  bool tiled() const { return tiled_; }

  /// f(out) computes n elements of the result, which belong at y.
  template <class F>
  void write(float* y, std::int64_t n, F f) {
    if (!streams_ || reinterpret_cast<std::uintptr_t>(y) % 64 != 0) return f(y);
    f(tile_);
    stream_floats(tile_, y, static_cast<std::size_t>(n));
  }

 private:
  alignas(64) float tile_[kStreamTile];
  bool streams_, tiled_;
};

}  // namespace gpunn::elementwise
