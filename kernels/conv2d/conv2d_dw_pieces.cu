// The sums over pieces of the pixels, added up to dw. Eight threads share an element, each adding every
// eighth piece, and their sums are added in order: bits depend on sizes alone.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/conv2d/conv2d_dw_device.cuh"

namespace gpunn {
namespace {

using namespace conv2d_device;

constexpr int kElements = 32, kShares = 8, kThreads = kElements * kShares;

template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    conv2d_dw_pieces_kernel(const __grid_constant__ PixelProduct p, std::int64_t pieces) {
  GPUNN_SHARED(sums, float[kShares][kElements]);
  const std::int64_t elements = static_cast<std::int64_t>(p.groups) * p.filters * p.columns;
  const int lane = static_cast<int>(threadIdx.x) % kElements,
            share = static_cast<int>(threadIdx.x) / kElements;
  const std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kElements + lane;
  float sum = 0.0f;
  if (e < elements)
    for (std::int64_t i = share; i < pieces; i += kShares) sum += p.partial[i * elements + e];
  sums[share][lane] = sum;
  __syncthreads();  // every share is there
  if (share > 0 || e >= elements) return;
  GPUNN_UNROLL
  for (int i = 1; i < kShares; ++i) sum += sums[i][lane];
  store_dw<T>(p, e / p.columns, static_cast<int>(e % p.columns), sum);
}

}  // namespace

std::size_t conv2d_dw_cuda_workspace(const Conv2dDwProblem& p) {
  const std::int64_t pieces = pieces_of(p.sizes).count;
  return pieces > 1 ? static_cast<std::size_t>(pieces * p.sizes.w_elements()) * sizeof(float) : 0;
}

namespace conv2d_device {

void sum_pieces(const Conv2dDwProblem& p, const PixelProduct& product, const Exec& exec) {
  if (!product.partial) return;
  const auto blocks = static_cast<unsigned>((p.sizes.w_elements() + kElements - 1) / kElements);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("conv2d_dw_pieces_kernel", conv2d_dw_pieces_kernel<T>, Grid{dim3(blocks), dim3(kThreads)}, exec,
           product, pieces_of(p.sizes).count);
  });
}

}  // namespace conv2d_device
}  // namespace gpunn
