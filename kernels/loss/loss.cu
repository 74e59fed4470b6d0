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

/// What both directions read. Pointers as in loss_impl.h; weights are null where there are none.
template <class T>
struct Elements {
  const T* x;
  const T* y;
  const T* weight;
  const T* pos_weight;
  LossKind kind;
  float parameter;

  template <class P>
  explicit Elements(const P& p)
      : x(static_cast<const T*>(p.x)),
        y(static_cast<const T*>(p.y)),
        weight(static_cast<const T*>(p.has_weight ? p.weight : nullptr)),
        pos_weight(static_cast<const T*>(p.has_pos_weight ? p.pos_weight : nullptr)),
        kind(p.kind),
        parameter(static_cast<float>(p.parameter)) {}
  GPUNN_DEVICE LossElement<float> at(std::int64_t i, float v) const {
    return {v, to_float(y[i]), parameter, pos_weight ? to_float(pos_weight[i]) : 1.0f};
  }
  GPUNN_DEVICE float weight_at(std::int64_t i) const { return weight ? to_float(weight[i]) : 1.0f; }
};

/// loss [n], or the sum of each chunk in `sums` when `loss` is null.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    loss_fwd_kernel(Elements<T> in, float* loss, float* sums, std::int64_t n) {
  const Chunk chunk = block_chunk(n);
  float sum = 0.0f;
  for_each_in_row<kThreads>(in.x + chunk.begin, chunk.size, [&](std::int64_t offset, float v) {
    const std::int64_t i = chunk.begin + offset;
    const float value = in.weight_at(i) * loss_value(in.kind, in.at(i, v));
    if (loss) loss[i] = value;
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
GPUNN_KERNEL __launch_bounds__(kThreads) loss_bwd_kernel(Elements<T> in, const float* dloss, T* dx, T* dy,
                                                         std::int64_t n, bool by_element, float divisor) {
  const Chunk chunk = block_chunk(n);
  for_each_in_row<kThreads>(in.x + chunk.begin, chunk.size, [&](std::int64_t offset, float v) {
    const std::int64_t i = chunk.begin + offset;
    const LossElement<float> e = in.at(i, v);
    const float g = in.weight_at(i) * (by_element ? dloss[i] : *dloss / divisor);
    if (dx) dx[i] = from_float<T>(loss_slope_x(in.kind, e) * g);
    if (dy) dy[i] = from_float<T>(loss_slope_y(in.kind, e) * g);
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
    launch("loss_fwd_kernel", loss_fwd_kernel<T>, grid, exec, Elements<T>(p), by_element ? loss : nullptr,
           sums, p.n);
  });
  if (by_element) return;
  launch("loss_fwd_reduce_kernel", loss_fwd_reduce_kernel, {dim3(1), dim3(kThreads)}, exec, sums, loss,
         chunks_of(p.n), p.reduction == Reduction::mean ? static_cast<float>(p.n) : 1.0f);
}

void loss_bwd_cuda(const LossBackwardProblem& p, const Exec& exec) {
  const Grid grid{dim3(static_cast<unsigned>(chunks_of(p.n))), dim3(kThreads)};
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("loss_bwd_kernel", loss_bwd_kernel<T>, grid, exec, Elements<T>(p),
           static_cast<const float*>(p.dloss), static_cast<T*>(p.dx), static_cast<T*>(p.dy), p.n,
           p.reduction == Reduction::none, p.reduction == Reduction::mean ? static_cast<float>(p.n) : 1.0f);
  });
}

}  // namespace gpunn
