// The broken op on a GPU: one block per group, which goes through shared memory.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "tests/selftest/mirror_impl.h"

namespace gpunn::selftest {
namespace {

template <class T>
GPUNN_KERNEL __launch_bounds__(kGroup)
    mirror_kernel(const T* x, T* y, T* input, std::int64_t n, Sabotage sabotage) {
  GPUNN_SHARED(tile, float[kGroup]);
  const int t = static_cast<int>(threadIdx.x);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kGroup, i = begin + t;
  tile[t] = to_float(x[i]);
  if (sabotage != Sabotage::barrier && sabotage != Sabotage::order) __syncthreads();  // tile is complete
  float value = 2.0f * tile[kGroup - 1 - t];
  if (sabotage == Sabotage::order) {
    // The upper half of the block writes both halves, from what lower threads have written if they ran
    // before.
    if (t >= kGroup / 2) y[begin + kGroup - 1 - t] = from_float<T>(2.0f * tile[t]);
    if (t < kGroup / 2) return;
  }
  if (sabotage == Sabotage::nan && i == n / 2) value = NAN;
  if (sabotage == Sabotage::tail && i >= n - n / 100) value *= 1.01f;
  if (sabotage == Sabotage::coarse) value = to_float(from_float<BFloat16>(value));
  if (sabotage == Sabotage::zero) value = 0.0f;
  if (sabotage != Sabotage::unwritten) y[i] = from_float<T>(value);
  if (sabotage == Sabotage::bounds && i == n - 1) y[n] = from_float<T>(1.0f);
  if (sabotage == Sabotage::underrun && i == 0) y[-1] = from_float<T>(1.0f);
  if (sabotage == Sabotage::input && i == 5) input[i] = from_float<T>(1.0f);
}

}  // namespace

void mirror_cuda(const MirrorProblem& p, const Exec& exec, Sabotage sabotage) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto* x = static_cast<const T*>(p.x);
    launch("mirror_kernel", mirror_kernel<T>, {dim3(static_cast<unsigned>(p.n / kGroup)), dim3(kGroup)}, exec,
           x, static_cast<T*>(p.y), const_cast<T*>(x), p.n, sabotage);
  });
}

}  // namespace gpunn::selftest
