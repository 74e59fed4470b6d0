// Products of few tiles and a long k on the GPU: the kernels of the other files leave the sums of each piece
// of k apart, and this one adds the pieces of an element in ascending order and finishes it. Bits depend on
// sizes alone.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/matmul/matmul_device.cuh"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = 256;

/// `partial` [pieces, batch, M, N]
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    matmul_fwd_pieces_kernel(const MatmulProblem p, const float* partial, std::int64_t pieces) {
  const std::int64_t elements = p.batch * p.M * p.N;
  const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (e >= elements) return;
  float sum = 0.0f;
  for (std::int64_t i = 0; i < pieces; ++i) sum += partial[i * elements + e];
  const std::int64_t row = e / p.N;
  finish<T>(p, row / p.M, row % p.M, e % p.N, sum);
}

}  // namespace

std::size_t matmul_split_workspace(const MatmulProblem& p) {
  const std::int64_t pieces = split_k(p).count;
  return pieces > 1 ? static_cast<std::size_t>(pieces * p.batch * p.M * p.N) * sizeof(float) : 0;
}

void matmul_sum_pieces_cuda(const MatmulProblem& p, const float* partial, const Exec& exec) {
  const auto blocks = static_cast<unsigned>((p.batch * p.M * p.N + kThreads - 1) / kThreads);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("matmul_fwd_pieces_kernel", matmul_fwd_pieces_kernel<T>, Grid{dim3(blocks), dim3(kThreads)}, exec,
           p, partial, split_k(p).count);
  });
}

}  // namespace gpunn
