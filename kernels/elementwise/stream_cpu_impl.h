#pragma once
// Results that no cache keeps until they are used are written around the caches: the lines need not be read
// before they are overwritten, a third of the traffic of a sum. Values do not depend on it.
#include <cstddef>
#include <cstdint>

namespace gpunn::elementwise {

/// Smaller results are never streamed.
inline constexpr std::int64_t kLeastStreamed = std::int64_t{1} << 16;
/// Elements of f32 from which a result is streamed: half of the last cache, at least 8 MiB.
std::int64_t streamed_elements() noexcept;
/// For tests: `elements` instead, or the machine's own figure again for 0.
void force_streaming(std::int64_t elements) noexcept;
inline bool streamed(std::int64_t elements) {
  return elements >= kLeastStreamed && elements >= streamed_elements();
}
/// Elements that are computed into a buffer in L1 and then copied around the caches.
inline constexpr std::int64_t kStreamTile = 1024;

/// `to` is aligned to 64 bytes. Before the result is handed over, the same thread calls finish_streams().
void stream_floats(const float* from, float* to, std::size_t n);
void finish_streams();

/// How a result is written by one thread, part by part.
class ResultWriter {
 public:
  explicit ResultWriter(std::int64_t elements) : streams_(streamed(elements)) {}
  ~ResultWriter() {
    if (streams_) finish_streams();
  }
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;
  bool streams() const { return streams_; }

  /// f(out) computes n elements of the result, which belong at y; n <= kStreamTile where streams().
  template <class F>
  void write(float* y, std::int64_t n, F f) {
    if (!streams_ || reinterpret_cast<std::uintptr_t>(y) % 64 != 0) return f(y);
    f(tile_);
    stream_floats(tile_, y, static_cast<std::size_t>(n));
  }

 private:
  alignas(64) float tile_[kStreamTile];
  bool streams_;
};

}  // namespace gpunn::elementwise
