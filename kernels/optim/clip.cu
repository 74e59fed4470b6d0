// Norms of many tensors and rescaling, one launch per table of tensors. A block takes one chunk of
// kNormChunk elements; its threads' sums are joined by a fixed tree, the chunks' by one block, in order.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduce.cuh"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/optim/clip_functors_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;

static_assert(sizeof(NormProblem) + 16 <= 4096 && sizeof(RescaleProblem) + 16 <= 4096,
              "kernel parameters hold 4 KiB on every GPU");

/// A chunk of one of the tensors.
struct Chunk {
  int tensor;
  std::int64_t begin, end;
};

/// Chunk `index`, counted on from tensor to tensor; the same for the whole block.
template <class Problem>
GPUNN_DEVICE Chunk find_chunk(const Problem& p, std::int64_t index) {
  int t = 0;
  while (true) {
    const std::int64_t chunks = (p.slots[t].n + kNormChunk - 1) / kNormChunk;
    if (index < chunks) break;
    index -= chunks;
    ++t;
  }
  const std::int64_t begin = index * kNormChunk, n = p.slots[t].n;
  return {t, begin, begin + kNormChunk < n ? begin + kNormChunk : n};
}

/// All threads of the block get the sum, or the largest.
GPUNN_DEVICE float join_block(NormKind kind, float value) {
  return kind == NormKind::infinity ? block_reduce<MaxOp, kBlock>(value) : block_reduce<SumOp, kBlock>(value);
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) norm_fwd_partials_kernel(const __grid_constant__ NormProblem p) {
  const Chunk chunk = find_chunk(p, blockIdx.x);
  const T* x = static_cast<const T*>(p.slots[chunk.tensor].x) + chunk.begin;
  const float exponent = static_cast<float>(p.exponent);
  float sum = 0.0f;
  for_each_in_row<kBlock>(x, chunk.end - chunk.begin, [&](std::int64_t, float v) {
    sum = optim::join_norms(p.kind, sum, optim::norm_term(p.kind, v, exponent));
  });
  sum = join_block(p.kind, sum);
  if (threadIdx.x == 0) static_cast<float*>(p.partials)[blockIdx.x] = sum;
}

GPUNN_KERNEL __launch_bounds__(kBlock) norm_fwd_join_kernel(const __grid_constant__ NormJoinProblem p) {
  const float* partials = static_cast<const float*>(p.partials);
  float sum = 0.0f;
  for (std::int64_t i = threadIdx.x; i < p.n; i += kBlock) sum = optim::join_norms(p.kind, sum, partials[i]);
  sum = join_block(p.kind, sum);
  if (threadIdx.x != 0) return;  // no barrier follows
  const float norm = optim::norm_root(p.kind, sum, static_cast<float>(p.exponent));
  float* result = static_cast<float*>(p.result);
  result[0] = norm;
  result[1] = optim::clip_factor(norm, static_cast<float>(p.max_norm));
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) rescale_fwd_kernel(const __grid_constant__ RescaleProblem p) {
  const Chunk chunk = find_chunk(p, blockIdx.x);
  T* x = static_cast<T*>(p.slots[chunk.tensor].x) + chunk.begin;
  const float scale = p.clamps ? 1.0f : *static_cast<const float*>(p.scale);
  const float bound = static_cast<float>(p.bound);
  map_row<kBlock>(x, x, chunk.end - chunk.begin,
                  [&](std::int64_t, float v) { return p.clamps ? optim::clamped(v, bound) : v * scale; });
}

template <class Problem>
unsigned blocks_of(const Problem& p) {
  std::int64_t chunks = 0;
  for (int t = 0; t < p.count; ++t) chunks += chunks_of(p.slots[t].n);
  return static_cast<unsigned>(chunks);
}

}  // namespace

void norm_partials_cuda(const NormProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&]<class T>(T) {
    launch("norm_fwd_partials_kernel", norm_fwd_partials_kernel<T>, {dim3(blocks_of(p)), dim3(kBlock)}, exec,
           p);
  });
}

void norm_join_cuda(const NormJoinProblem& p, const Exec& exec) {
  launch("norm_fwd_join_kernel", norm_fwd_join_kernel, {dim3(1), dim3(kBlock)}, exec, p);
}

void rescale_cuda(const RescaleProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&]<class T>(T) {
    launch("rescale_fwd_kernel", rescale_fwd_kernel<T>, {dim3(blocks_of(p)), dim3(kBlock)}, exec, p);
  });
}

}  // namespace gpunn
