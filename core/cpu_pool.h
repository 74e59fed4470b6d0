#pragma once
// The CPU pool: chunks of work on threads of ours.
//
// Chunk boundaries depend on sizes only, never on the number of threads, and each chunk is run by one thread:
// results are the same for any pool size. Workers park when idle; every hand-over is a mutex or an atomic
// that TSan understands.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "gpunn/core/api.h"

namespace gpunn {

class GPUNN_API CpuPool {
 public:
  /// `threads` >= 1 in all: the caller and threads-1 workers. Workers start with the first parallel run.
  explicit CpuPool(int threads);
  ~CpuPool();
  CpuPool(const CpuPool&) = delete;
  CpuPool& operator=(const CpuPool&) = delete;

  int threads() const noexcept { return threads_; }

  /// Runs f(chunk) once for every chunk in [0, chunks), the caller taking part; returns when all are done.
  /// The first exception (lowest chunk) is rethrown after all have stopped. A call from inside a chunk runs
  /// inline. Several threads may call.
  template <class F>
  void run(std::int64_t chunks, F&& f) {
    if (chunks <= 0) return;
    if (threads_ == 1 || chunks == 1) {
      for (std::int64_t c = 0; c < chunks; ++c) f(c);
      return;
    }
    using Fn = std::remove_reference_t<F>;
    run_chunks(
        chunks, [](void* fn, std::int64_t chunk) { (*static_cast<Fn*>(fn))(chunk); },
        const_cast<void*>(static_cast<const void*>(std::addressof(f))));
  }

 private:
  void run_chunks(std::int64_t chunks, void (*call)(void*, std::int64_t), void* fn);

  int threads_;
  struct State;
  std::unique_ptr<State> state_;
};

/// f(begin, end) over [0, n) in chunks of `grain` (the last may be shorter).
template <class F>
void parallel_for(CpuPool& pool, std::int64_t n, std::int64_t grain, F&& f) {
  if (n <= 0) return;
  if (n <= grain) {
    f(std::int64_t{0}, n);
    return;
  }
  pool.run((n + grain - 1) / grain, [&](std::int64_t c) { f(c * grain, std::min(n, (c + 1) * grain)); });
}

}  // namespace gpunn
