// Filters in the order in which the products of matrices read them: [K, taps, C/groups] for forward in
// channels-last order, [groups, taps, K/groups, C/groups] for dx, with the taps of a phase together.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/conv2d/conv2d_windows.cuh"

namespace gpunn {
namespace {

using namespace conv2d_device;

constexpr int kThreads = 256;
constexpr int kTile = 32;  // channels and taps of a block

/// How far it is in the result from one filter, one tap, one group to the next.
struct FilterOrder {
  const void* from;  // [K, C/groups, R, S]
  void* to;
  int filters, channels, R, S;  // K of a group; C of a group
  std::int64_t group, filter, tap;
  int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;  // 1, any, any: no phases
};

/// A block turns a tile of channels and taps of one filter.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads) conv2d_fwd_filters_kernel(const FilterOrder o) {
  GPUNN_SHARED(tile, T[kTile][kTile + 2]);  // [channel, tap]
  const int taps = o.R * o.S, tiles_c = (o.channels + kTile - 1) / kTile,
            tiles_t = (taps + kTile - 1) / kTile;
  const int block = static_cast<int>(blockIdx.x), k = block / (tiles_c * tiles_t);
  const int c0 = block / tiles_t % tiles_c * kTile, t0 = block % tiles_t * kTile;
  const int width = taps - t0 < kTile ? taps - t0 : kTile;
  const T* const from = static_cast<const T*>(o.from) + static_cast<std::int64_t>(k) * o.channels * taps;
  for (int e = static_cast<int>(threadIdx.x); e < kTile * width; e += kThreads) {
    const int c = e / width, t = e % width;
    if (c0 + c < o.channels) tile[c][t] = from[static_cast<std::int64_t>(c0 + c) * taps + t0 + t];
  }
  __syncthreads();  // the tile is there
  T* const to = static_cast<T*>(o.to) + k / o.filters * o.group + k % o.filters * o.filter;
  for (int e = static_cast<int>(threadIdx.x); e < kTile * width; e += kThreads) {
    const int c = e % kTile, t = e / kTile;
    const PhaseRow h = phase_row((t0 + t) / o.S, o.R, o.stride_h, o.pad_h, o.dilation_h);
    const PhaseRow w = phase_row((t0 + t) % o.S, o.S, o.stride_w, o.pad_w, o.dilation_w);
    const std::int64_t place =
        static_cast<std::int64_t>(h.before) * o.S + h.taps * w.before + h.index * w.taps + w.index;
    if (c0 + c < o.channels) to[place * o.tap + c0 + c] = tile[c][t];
  }
}

FilterOrder order_of(const Conv2dSizes& s, const void* from, void* to) {
  FilterOrder o{};
  o.from = from, o.to = to;
  o.filters = static_cast<int>(s.K / s.groups), o.channels = static_cast<int>(s.C / s.groups);
  o.R = static_cast<int>(s.R), o.S = static_cast<int>(s.S);
  o.stride_h = o.stride_w = 1;
  return o;
}

const void* arrange(const FilterOrder& o, std::int64_t K, DType dtype, const Exec& exec) {
  const auto tiles = [](int n) { return (n + kTile - 1) / kTile; };
  const dim3 grid(static_cast<unsigned>(K * tiles(o.channels) * tiles(o.R * o.S)));
  for_device_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("conv2d_fwd_filters_kernel", conv2d_fwd_filters_kernel<T>, Grid{grid, dim3(kThreads)}, exec, o);
  });
  return o.to;
}

std::size_t bytes_of_filters(const Conv2dSizes& s, DType dtype) {
  return static_cast<std::size_t>(s.w_elements()) * size_of(dtype);
}

}  // namespace

std::size_t conv2d_cuda_workspace(const Conv2dProblem& p) {
  return rearranges_filters(p) ? bytes_of_filters(p.sizes, p.dtype) : 0;
}

std::size_t conv2d_dx_cuda_workspace(const Conv2dDxProblem& p) {
  return rearranges_filters(p) ? bytes_of_filters(p.sizes, p.dtype) : 0;
}

namespace conv2d_device {

const void* arrange_filters(const Conv2dProblem& p, const Exec& exec) {
  if (!rearranges_filters(p)) return p.w;
  FilterOrder o = order_of(p.sizes, p.w, exec.workspace);
  o.tap = o.channels;
  o.filter = p.sizes.R * p.sizes.S * o.tap;
  o.group = o.filters * o.filter;
  return arrange(o, p.sizes.K, p.dtype, exec);
}

const void* arrange_filters(const Conv2dDxProblem& p, const Exec& exec) {
  if (!rearranges_filters(p)) return p.w;
  const Conv2dSizes& s = p.sizes;
  FilterOrder o = order_of(s, p.w, exec.workspace);
  o.filter = o.channels;
  o.tap = o.filters * o.filter;
  o.group = s.R * s.S * o.tap;
  o.stride_h = static_cast<int>(s.stride_h), o.stride_w = static_cast<int>(s.stride_w);
  o.pad_h = static_cast<int>(s.pad_h), o.pad_w = static_cast<int>(s.pad_w);
  o.dilation_h = static_cast<int>(s.dilation_h), o.dilation_w = static_cast<int>(s.dilation_w);
  return arrange(o, s.K, p.dtype, exec);
}

}  // namespace conv2d_device
}  // namespace gpunn
