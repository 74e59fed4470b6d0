#include "tests/core/launch_kernels.h"

#include "gpunn/core/launch.cuh"

namespace gpunn::testing {
namespace {

GPUNN_KERNEL test_add_kernel(const float* a, const float* b, float* c, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) c[i] = a[i] + b[i];
}

GPUNN_KERNEL test_shared_sum_kernel(const float* a, float* sum, int n) {
  GPUNN_DYN_SHARED(memory);  // [n] floats
  float* const values = reinterpret_cast<float*>(memory);
  const int t = static_cast<int>(threadIdx.x);
  values[t] = a[t];
  __syncthreads();  // every value is there before thread 0 reads them
  if (t != 0) return;
  float total = 0;
  for (int i = 0; i < n; ++i) total += values[i];
  *sum = total;
}

}  // namespace

void launch_add(const float* a, const float* b, float* c, int n, const Exec& exec) {
  constexpr unsigned kBlock = 32;
  const auto blocks = (static_cast<unsigned>(n) + kBlock - 1) / kBlock;
  launch("test_add_kernel", test_add_kernel, {.grid = {blocks, 1, 1}, .block = {kBlock, 1, 1}}, exec, a, b, c,
         n);
}

void launch_too_large(const Exec& exec) {
  launch("test_add_kernel", test_add_kernel, {.grid = {1, 1, 1}, .block = {4096, 1, 1}}, exec, nullptr,
         nullptr, nullptr, 0);
}

void launch_shared_sum(const float* a, float* sum, int n, const Exec& exec) {
  launch("test_shared_sum_kernel", test_shared_sum_kernel,
         {.grid = {1, 1, 1},
          .block = {static_cast<unsigned>(n), 1, 1},
          .shared_bytes = static_cast<size_t>(n) * sizeof(float)},
         exec, a, sum, n);
}

}  // namespace gpunn::testing
