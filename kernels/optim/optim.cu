// SGD over many tensors in one launch: the table of tensors is a kernel parameter, and block b works on its
// share of the tensor that owns chunk b. Chunks have a fixed size, so a small tensor takes one block and a
// large one many.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/optim/sgd_functor_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kChunk = 8192;  // elements per block: 32 per thread

static_assert(sizeof(SgdProblem) + 16 <= 4096, "kernel parameters hold 4 KiB on every GPU");

std::int64_t chunks_of(std::int64_t n) { return (n + kChunk - 1) / kChunk; }

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) sgd_fwd_kernel(const __grid_constant__ SgdProblem p) {
  const optim::SgdSettings<float> s = optim::settings_of<float>(p);
  // Find the tensor of this chunk: at most 110 additions, the same for the whole block.
  std::int64_t chunk = blockIdx.x;
  int t = 0;
  while (true) {
    const std::int64_t chunks = (p.slots[t].n + kChunk - 1) / kChunk;
    if (chunk < chunks) break;
    chunk -= chunks;
    ++t;
  }
  T* param = static_cast<T*>(p.slots[t].param);
  const T* grad = static_cast<const T*>(p.slots[t].grad);
  T* momentum = static_cast<T*>(p.slots[t].momentum);
  const std::int64_t begin = chunk * kChunk;
  const std::int64_t end = begin + kChunk < p.slots[t].n ? begin + kChunk : p.slots[t].n;
  const bool reads = s.has_momentum && !s.first_step;
  const int thread = static_cast<int>(threadIdx.x);

  constexpr int kWidth = kVecWidth<T>;
  const bool aligned = elements_to_alignment(param) == 0 && elements_to_alignment(grad) == 0 &&
                       (!s.has_momentum || elements_to_alignment(momentum) == 0);
  const std::int64_t vectors = aligned ? (end - begin) / kWidth : 0;
  for (std::int64_t v = thread; v < vectors; v += kBlock) {
    const std::int64_t i = begin + v * kWidth;
    Vec<T, kWidth> value = load_vec<kWidth>(param + i), buffer{};
    const Vec<T, kWidth> gradient = load_vec<kWidth>(grad + i);
    if (reads) buffer = load_vec<kWidth>(momentum + i);
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      float w = to_float(value.v[j]), m = to_float(buffer.v[j]);
      optim::sgd_element(s, w, to_float(gradient.v[j]), m);
      value.v[j] = from_float<T>(w);
      buffer.v[j] = from_float<T>(m);
    }
    store_vec(param + i, value);
    if (s.has_momentum) store_vec(momentum + i, buffer);
  }
  for (std::int64_t i = begin + vectors * kWidth + thread; i < end; i += kBlock) {
    float w = to_float(param[i]), m = reads ? to_float(momentum[i]) : 0.0f;
    optim::sgd_element(s, w, to_float(grad[i]), m);
    param[i] = from_float<T>(w);
    if (s.has_momentum) momentum[i] = from_float<T>(m);
  }
}

}  // namespace

void sgd_cuda(const SgdProblem& p, const Exec& exec) {
  std::int64_t chunks = 0;
  for (int t = 0; t < p.count; ++t) chunks += chunks_of(p.slots[t].n);
  for_device_dtype(p.dtype, [&]<class T>(T) {
    launch("sgd_fwd_kernel", sgd_fwd_kernel<T>, {dim3(static_cast<unsigned>(chunks)), dim3(kBlock)}, exec, p);
  });
}

}  // namespace gpunn
