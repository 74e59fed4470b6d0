// Element-wise losses. Chunks of kLossChunk elements, a block each; a reduction adds the chunks' sums in a
// second kernel of one block, so that the order of additions depends on the number of elements only.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/loss/loss_functors_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = 256;

/// A block's chunk. The grid covers all of them.
struct Chunk {
  std::int64_t begin, size;
};
GPUNN_DEVICE Chunk block_chunk(std::int64_t n) {
  const std::int64_t begin = blockIdx.x * kLossChunk, left = n - begin;
  return {begin, left < kLossChunk ? left : kLossChunk};
}

/// loss [n], or the sum of each chunk in `sums` when `loss` is null.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    loss_fwd_kernel(const T* x, const T* y, float* loss, float* sums, std::int64_t n, LossKind kind) {
  const Chunk chunk = block_chunk(n);
  float sum = 0.0f;
  for_each_in_row<kThreads>(x + chunk.begin, chunk.size, [&](std::int64_t i, float v) {
    const float value = loss_value(kind, v, to_float(y[chunk.begin + i]));
    if (loss) loss[chunk.begin + i] = value;
    sum += value;
  });
  if (!loss) {  // the same for the whole grid
    sum = block_reduce<SumOp, kThreads>(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  }
}

/// loss[0] = sum of `sums` / divisor. One block.
GPUNN_KERNEL __launch_bounds__(kThreads)
    loss_fwd_reduce_kernel(const float* sums, float* loss, std::int64_t count, float divisor) {
  float sum = 0.0f;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = block_reduce<SumOp, kThreads>(sum);
  if (threadIdx.x == 0) *loss = sum / divisor;
}

/// dx and dy where they are not null. dloss [n], or [1] divided by `divisor`.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    loss_bwd_kernel(const T* x, const T* y, const float* dloss, T* dx, T* dy, std::int64_t n, LossKind kind,
                    bool by_element, float divisor) {
  const Chunk chunk = block_chunk(n);
  for_each_in_row<kThreads>(x + chunk.begin, chunk.size, [&](std::int64_t offset, float v) {
    const std::int64_t i = chunk.begin + offset;
    const float t = to_float(y[i]), g = by_element ? dloss[i] : *dloss / divisor;
    if (dx) dx[i] = from_float<T>(loss_slope_x(kind, v, t) * g);
    if (dy) dy[i] = from_float<T>(loss_slope_y(kind, v, t) * g);
  });
}

std::int64_t chunks_of(std::int64_t n) { return (n + kLossChunk - 1) / kLossChunk; }

}  // namespace

void loss_fwd_cuda(const LossProblem& p, const Exec& exec) {
  const bool by_element = p.reduction == Reduction::none;
  auto* loss = static_cast<float*>(p.loss);
  auto* sums = static_cast<float*>(exec.workspace);
  const Grid grid{dim3(static_cast<unsigned>(chunks_of(p.n))), dim3(kThreads)};
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("loss_fwd_kernel", loss_fwd_kernel<T>, grid, exec, static_cast<const T*>(p.x),
           static_cast<const T*>(p.y), by_element ? loss : nullptr, sums, p.n, p.kind);
  });
  if (by_element) return;
  launch("loss_fwd_reduce_kernel", loss_fwd_reduce_kernel, {dim3(1), dim3(kThreads)}, exec, sums, loss,
         chunks_of(p.n), p.reduction == Reduction::mean ? static_cast<float>(p.n) : 1.0f);
}

void loss_bwd_cuda(const LossBackwardProblem& p, const Exec& exec) {
  const Grid grid{dim3(static_cast<unsigned>(chunks_of(p.n))), dim3(kThreads)};
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("loss_bwd_kernel", loss_bwd_kernel<T>, grid, exec, static_cast<const T*>(p.x),
           static_cast<const T*>(p.y), static_cast<const float*>(p.dloss), static_cast<T*>(p.dx),
           static_cast<T*>(p.dy), p.n, p.kind, p.reduction == Reduction::none,
           p.reduction == Reduction::mean ? static_cast<float>(p.n) : 1.0f);
  });
}

}  // namespace gpunn
