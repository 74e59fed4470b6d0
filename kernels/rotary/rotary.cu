// Rotary positions on a GPU: a thread turns one pair, or four of them with wide accesses where sizes and
// addresses allow it.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/rotary/rotary_impl.h"

namespace gpunn {
namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, threads take several units
constexpr int kWide = 4;                      // pairs of a thread

/// kW pairs (a, b) from `pair` on.
template <class T, int kW>
GPUNN_DEVICE void turn(const RotaryProblem& p, const T* x, T* y, const float* cos, const float* sin,
                       std::int64_t pair) {
  const std::int64_t half = p.R / 2;
  Vec<T, kW> in[2], out[2];
  if (p.interleaved) {
    in[0] = load_vec<kW>(x + 2 * pair);
    in[1] = load_vec<kW>(x + 2 * pair + kW);
  } else {
    in[0] = load_vec<kW>(x + pair);
    in[1] = load_vec<kW>(x + pair + half);
  }
  GPUNN_UNROLL
  for (int j = 0; j < kW; ++j) {
    // Interleaved, pair j is at 2 j and 2 j + 1 of both vectors together.
    T& ya = p.interleaved ? out[2 * j / kW].v[2 * j % kW] : out[0].v[j];
    T& yb = p.interleaved ? out[(2 * j + 1) / kW].v[(2 * j + 1) % kW] : out[1].v[j];
    const float a = to_float(p.interleaved ? in[2 * j / kW].v[2 * j % kW] : in[0].v[j]);
    const float b = to_float(p.interleaved ? in[(2 * j + 1) / kW].v[(2 * j + 1) % kW] : in[1].v[j]);
    const float c = cos ? cos[pair + j] : NAN, s = cos ? (p.back ? -sin[pair + j] : sin[pair + j]) : NAN;
    ya = from_float<T>(a * c - b * s);
    yb = from_float<T>(b * c + a * s);
  }
  if (p.interleaved) {
    store_vec<kW>(y + 2 * pair, out[0]);
    store_vec<kW>(y + 2 * pair + kW, out[1]);
  } else {
    store_vec<kW>(y + pair, out[0]);
    store_vec<kW>(y + pair + half, out[1]);
  }
}

/// Units of a row: its R / 2 pairs and the D - R features that pass, kW at a time.
template <class T, int kW>
GPUNN_KERNEL __launch_bounds__(kBlock) rotary_fwd_kernel(const __grid_constant__ RotaryProblem p) {
  const std::int64_t half = p.R / 2, pairs = half / kW, units = pairs + (p.D - p.R) / kW;
  const std::int64_t all = p.B * p.T * p.H * units;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < all; i += step) {
    const std::int64_t unit = i % units, row = i / units;
    const std::int64_t h = row % p.H, t = row / p.H % p.T, b = row / p.H / p.T;
    const T* x = static_cast<const T*>(p.x) + b * p.x_batch + t * p.x_time + h * p.x_head;
    T* y = static_cast<T*>(p.y) + row * p.D;
    if (unit >= pairs) {
      const std::int64_t d = p.R + (unit - pairs) * kW;
      store_vec<kW>(y + d, load_vec<kW>(x + d));
      continue;
    }
    const std::int64_t at = rotary_position(p, b, t);
    const float* cos = at < 0 ? nullptr : static_cast<const float*>(p.cos) + at * half;
    const float* sin = at < 0 ? nullptr : static_cast<const float*>(p.sin) + at * half;
    turn<T, kW>(p, x, y, cos, sin, unit * kW);
  }
}

/// Do vectors of kWide elements start on their boundaries everywhere?
template <class T>
bool allows_wide(const RotaryProblem& p) {
  const auto aligned = [](const void* q) {
    return reinterpret_cast<std::uintptr_t>(q) % (kWide * sizeof(T)) == 0;
  };
  const auto even = [](std::int64_t n) { return n % kWide == 0; };
  return aligned(p.x) && aligned(p.y) && even(p.R / 2) && even(p.D) && even(p.x_batch) && even(p.x_time) &&
         even(p.x_head);
}

template <class T, int kW>
void start(const RotaryProblem& p, const Exec& exec) {
  const std::int64_t threads = p.B * p.T * p.H * (p.R / 2 + p.D - p.R) / kW;
  const std::int64_t blocks = (threads + kBlock - 1) / kBlock;
  const Grid grid{dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks)), dim3(kBlock)};
  launch("rotary_fwd_kernel", rotary_fwd_kernel<T, kW>, grid, exec, p);
}

}  // namespace

void rotary_cuda(const RotaryProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype,
                   [&]<class T>(T) { allows_wide<T>(p) ? start<T, kWide>(p, exec) : start<T, 1>(p, exec); });
}

}  // namespace gpunn
