// One pass over dy (and y): activation gradient and column sums. A block takes kColumns columns of kBlockRows
// rows; a thread adds every kRowThreads-th row of its column, then those sums are added in order. More than
// one block of rows leaves partial sums, which a second kernel adds in order.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn {
namespace {

constexpr int kColumns = 32;
constexpr int kRowThreads = 8;
constexpr int kThreads = kColumns * kRowThreads;
constexpr std::int64_t kBlockRows = 256;
constexpr std::int64_t kMostBlocks = 65535;

std::int64_t row_blocks(const BiasGradProblem& p) { return (p.rows + kBlockRows - 1) / kBlockRows; }

/// dy times the slope at the preactivation z.
GPUNN_DEVICE float through_pre(float dy, float z, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return z > 0.0f ? dy : 0.0f;
    case Activation::sigmoid:
      return dy * elementwise::logistic_slope(z);
    case Activation::tanh:
      return dy * (4.0f * elementwise::logistic_slope(2.0f * z));
    case Activation::gelu:
      return elementwise::GeluGrad::apply(dy, z, 0.0f, 0.0f);
    case Activation::gelu_tanh:
      return elementwise::GeluTanhGrad::apply(dy, z, 0.0f, 0.0f);
    default:
      return dy;
  }
}

/// dy times the slope where the activation returned y.
GPUNN_DEVICE float through(float dy, float y, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return y > 0.0f ? dy : 0.0f;
    case Activation::sigmoid:
      return dy * (y * (1.0f - y));
    case Activation::tanh:
      return dy * (1.0f - y * y);
    default:
      return dy;
  }
}

/// `partial` [blocks of rows, cols], or null when no sums are wanted.
template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads) bias_grad_rows_kernel(const BiasGradProblem p, float* partial) {
  GPUNN_SHARED(sums, float[kRowThreads][kColumns]);
  const int tc = static_cast<int>(threadIdx.x) % kColumns, tr = static_cast<int>(threadIdx.x) / kColumns;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kColumns + tc;
  const T* const dy = static_cast<const T*>(p.dy);
  const T* const y = static_cast<const T*>(p.from_pre ? p.pre : p.y);
  for (std::int64_t block = blockIdx.y; block * kBlockRows < p.rows; block += gridDim.y) {
    const std::int64_t end = (block + 1) * kBlockRows < p.rows ? (block + 1) * kBlockRows : p.rows;
    float sum = 0.0f;
    if (c < p.cols) {
      for (std::int64_t r = block * kBlockRows + tr; r < end; r += kRowThreads) {
        const std::int64_t i = r * p.cols + c;
        const float saved = p.activation == Activation::none ? 0.0f : to_float(y[i]);
        const float g = p.from_pre ? through_pre(to_float(dy[i]), saved, p.activation)
                                   : through(to_float(dy[i]), saved, p.activation);
        if (p.want_dz) static_cast<T*>(p.dz)[i] = from_float<T>(g);
        sum += g;
      }
    }
    __syncthreads();  // the previous block of rows' sums have been read
    sums[tr][tc] = sum;
    __syncthreads();  // every row thread's sum is there
    if (partial && tr == 0 && c < p.cols) {
      float total = 0.0f;
      for (int r = 0; r < kRowThreads; ++r) total += sums[r][tc];
      partial[block * p.cols + c] = total;
    }
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kThreads)
    bias_grad_sum_kernel(const float* partial, T* db, std::int64_t blocks, std::int64_t cols) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (c >= cols) return;
  float sum = 0.0f;
  for (std::int64_t b = 0; b < blocks; ++b) sum += partial[b * cols + c];
  db[c] = from_float<T>(sum);
}

}  // namespace

std::size_t bias_grad_cuda_workspace(const BiasGradProblem& p) {
  return p.want_db ? static_cast<std::size_t>(row_blocks(p) * p.cols) * sizeof(float) : 0;
}

void bias_grad_cuda(const BiasGradProblem& p, const Exec& exec) {
  auto* const partial = p.want_db ? static_cast<float*>(exec.workspace) : nullptr;
  const std::int64_t blocks = row_blocks(p);
  const auto columns = static_cast<unsigned>((p.cols + kColumns - 1) / kColumns);
  const dim3 grid(columns, static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks));
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch("bias_grad_rows_kernel", bias_grad_rows_kernel<T>, Grid{grid, dim3(kThreads)}, exec, p, partial);
    if (!p.want_db) return;
    const auto sum_blocks = static_cast<unsigned>((p.cols + kThreads - 1) / kThreads);
    launch("bias_grad_sum_kernel", bias_grad_sum_kernel<T>, Grid{dim3(sum_blocks), dim3(kThreads)}, exec,
           partial, static_cast<T*>(p.db), blocks, p.cols);
  });
}

}  // namespace gpunn
