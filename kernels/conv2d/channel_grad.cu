// One pass over dy (and y): the gradient before the ReLU and the channels' sums. In channels-last order that
// is the gradient of a product's bias, whose kernels serve. In the other order each warp takes runs of one
// plane (whole small planes, so that 7 x 7 does not leave most of a block idle), a block the runs of one
// piece of a channel, and a second kernel adds the pieces.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "gpunn/kernels/conv2d/piece_sum.cuh"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr std::int64_t kRun = 2048;          // elements of a plane that a warp takes at a time
constexpr std::int64_t kPieceRuns = kWarps;  // at least, so that every warp has one

/// Rows of channels: one pixel is in both orders.
bool is_matrix(const ChannelGradProblem& p) { return p.channels_last || p.pixels == 1; }

BiasGradProblem as_matrix(const ChannelGradProblem& p) {
  BiasGradProblem m{};
  m.dtype = p.dtype, m.dy = p.dy, m.y = p.y, m.dz = p.dz, m.db = p.db;
  m.rows = p.N * p.pixels, m.cols = p.K;
  m.activation = p.relu ? Activation::relu : Activation::none;
  m.want_dz = p.relu, m.want_db = p.want_db;
  return m;
}

/// Runs of a channel: those of a plane, times images.
GPUNN_HD std::int64_t channel_runs(const ChannelGradProblem& p) {
  return p.N * ((p.pixels + kRun - 1) / kRun);
}

std::int64_t channel_pieces(const ChannelGradProblem& p) {
  return piece_count((channel_runs(p) + kPieceRuns - 1) / kPieceRuns, p.K);
}

bool moves_by_vectors(const ChannelGradProblem& p) {
  const auto together = reinterpret_cast<std::uintptr_t>(p.dy) |
                        (p.relu ? reinterpret_cast<std::uintptr_t>(p.y) : 0) |
                        (p.relu ? reinterpret_cast<std::uintptr_t>(p.dz) : 0);
  return together % 16 == 0 && p.pixels % (16 / static_cast<std::int64_t>(size_of(p.dtype))) == 0;
}

/// Elements i .. i + kWidth - 1: writes dz and returns the sum of what it is, unrounded.
template <class T, int kWidth>
GPUNN_DEVICE float through(const ChannelGradProblem& p, std::int64_t i) {
  Vec<T, kWidth> g = load_vec<kWidth>(static_cast<const T*>(p.dy) + i);
  float sum = 0.0f;
  if (!p.relu) {
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) sum += to_float(g.v[j]);
    return sum;
  }
  const Vec<T, kWidth> y = load_vec<kWidth>(static_cast<const T*>(p.y) + i);
  GPUNN_UNROLL
  for (int j = 0; j < kWidth; ++j) {
    const float v = to_float(y.v[j]) > 0.0f ? to_float(g.v[j]) : 0.0f;
    g.v[j] = from_float<T>(v);
    sum += v;
  }
  store_vec<kWidth>(static_cast<T*>(p.dz) + i, g);
  return sum;
}

template <class T, int kWidth>
GPUNN_DEVICE float through_run(const ChannelGradProblem& p, std::int64_t first, std::int64_t end) {
  float sum = 0.0f;
  for (std::int64_t i = first + threadIdx.x % kWarpSize * kWidth; i < end; i += kWarpSize * kWidth)
    sum += through<T, kWidth>(p, i);
  return sum;
}

/// Block (channel, piece); `partial` [pieces, K], or null when no sums are wanted.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    channel_grad_planes_kernel(const ChannelGradProblem p, std::int64_t pieces, bool vectors,
                               float* partial) {
  const std::int64_t piece = blockIdx.x / p.K, k = blockIdx.x - piece * p.K;
  const std::int64_t in_plane = (p.pixels + kRun - 1) / kRun;
  const PieceRange runs = piece_range(channel_runs(p), pieces, piece);
  float sum = 0.0f;
  for (std::int64_t run = runs.first + threadIdx.x / kWarpSize; run < runs.end; run += kWarps) {
    const std::int64_t n = run / in_plane, at = (run - n * in_plane) * kRun;
    const std::int64_t plane = (n * p.K + k) * p.pixels;
    const std::int64_t end = at + kRun < p.pixels ? at + kRun : p.pixels;
    sum += vectors ? through_run<T, kVecWidth<T>>(p, plane + at, plane + end)
                   : through_run<T, 1>(p, plane + at, plane + end);
  }
  if (!partial) return;
  sum = block_reduce<SumOp, kThreads>(sum);
  if (threadIdx.x == 0) partial[piece * p.K + k] = sum;
}

}  // namespace

std::size_t channel_grad_cuda_workspace(const ChannelGradProblem& p) {
  if (is_matrix(p)) return bias_grad_cuda_workspace(as_matrix(p));
  return p.want_db ? static_cast<std::size_t>(channel_pieces(p) * p.K) * sizeof(float) : 0;
}

void channel_grad_cuda(const ChannelGradProblem& p, const Exec& exec) {
  if (is_matrix(p)) return bias_grad_cuda(as_matrix(p), exec);
  auto* const partial = p.want_db ? static_cast<float*>(exec.workspace) : nullptr;
  const std::int64_t pieces = channel_pieces(p);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("channel_grad_planes_kernel", channel_grad_planes_kernel<T>,
           Grid{dim3(static_cast<unsigned>(pieces * p.K)), dim3(kThreads)}, exec, p, pieces,
           moves_by_vectors(p), partial);
    if (p.want_db) sum_pieces(partial, static_cast<T*>(p.db), pieces, p.K, exec);
  });
}

}  // namespace gpunn
