#pragma once
// How a group runs on the CPU: chunks on the pool, runs along the last dimension, other strides gathered
// through a small buffer.
#include <algorithm>
#include <cstddef>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"
#include "gpunn/core/exec.h"
#include "gpunn/kernels/elementwise/functions_impl.h"
#include "gpunn/kernels/elementwise/stream_cpu_impl.h"

namespace gpunn {

/// Applies a function to n elements of contiguous inputs.
using MapRun = void (*)(const void* const* in, void* y, std::size_t n, float s, float t);

namespace elementwise {

// Elements per chunk: some ten microseconds of work, well above the cost of a hand-over.
inline constexpr std::int64_t kGrain = 1 << 15;

template <class T>
const void* gathered(const void* x, std::int64_t at, std::int64_t stride, std::int64_t n, void* buffer) {
  const T* from = static_cast<const T*>(x) + at;
  if (stride == 1) return from;
  T* to = static_cast<T*>(buffer);
  for (std::int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
  return to;
}

template <class Function>
void run_cpu(const MapProblem<Function>& p, const Exec& exec, MapRun run) {
  constexpr int K = kInputs<Function>;
  constexpr bool kFirstIsBool = MapGroup<Function>::kSelects;
  constexpr bool kFloats = MapGroup<Function>::kResult == MapResult::same;
  const auto s = static_cast<float>(p.s), t = static_cast<float>(p.t);
  const auto y_size = static_cast<std::int64_t>(size_of(result_dtype<Function>(DType::f32)));
  bool dense = true;
  const std::int64_t* strides[K];
  for (int k = 0; k < K; ++k) {
    strides[k] = p.strides[k];
    dense = dense && strides[k][p.rank - 1] == 1;
  }
  const std::int64_t elements = numel_of(p);
  parallel_for(*exec.pool, elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    float buffers[K][kStreamTile];
    ResultWriter writer(kFloats ? elements : 0);
    char* out = static_cast<char*>(p.y) + begin * y_size;
    const std::int64_t* walked[K];
    std::copy(strides, strides + K, walked);
    gpunn::detail::walk<K>(
        p.rank, p.shape, walked, begin, end, [&](std::int64_t n, const std::int64_t(&at)[K]) {
          const std::int64_t step = !dense || writer.tiled() ? kStreamTile : n;
          for (std::int64_t i = 0; i < n; i += step) {
            const std::int64_t m = std::min(step, n - i);
            const void* in[K];
            for (int k = 0; k < K; ++k) {
              const std::int64_t stride = strides[k][p.rank - 1], first = at[k] + i * stride;
              const bool is_bool = kFirstIsBool && k == 0;
              in[k] = is_bool ? gathered<bool>(p.in[k], first, stride, m, buffers[k])
                              : gathered<float>(p.in[k], first, stride, m, buffers[k]);
              if (writer.tiled() && stride == 1 && !is_bool)
                prefetch_ahead(static_cast<const float*>(in[k]), m);
            }
            if constexpr (kFloats)
              writer.write(reinterpret_cast<float*>(out), m,
                           [&](float* to) { run(in, to, static_cast<std::size_t>(m), s, t); });
            else
              run(in, out, static_cast<std::size_t>(m), s, t);
            out += m * y_size;
          }
        });
  });
}

}  // namespace elementwise
}  // namespace gpunn
