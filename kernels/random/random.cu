// Dropout and Bernoulli draws on a GPU: a thread owns a Philox block, the four neighbouring elements that it
// gives, and moves them in one access where the addresses allow it.
#include "gpunn/core/launch.cuh"
#include "gpunn/core/philox.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/random/random_impl.h"

namespace gpunn {
namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, threads take several groups
constexpr int kWidth = 4;                     // numbers of a Philox block

/// y = f(x, bits) for every element. `words`: both pointers allow vectors. x may be null: f gets 0.
template <class T, class F>
GPUNN_DEVICE void map_draws(const T* x, T* y, std::int64_t n, std::uint64_t seed, std::uint64_t offset,
                            bool words, F f) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock;
  for (std::int64_t g = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; g * kWidth < n;
       g += step) {
    const std::int64_t i = g * kWidth;
    const Philox4 random = philox_at(seed, offset + static_cast<std::uint64_t>(g));
    if (words && n - i >= kWidth) {
      Vec<T, kWidth> v{};
      if (x) v = load_vec<kWidth>(x + i);
      GPUNN_UNROLL
      for (int j = 0; j < kWidth; ++j) v.v[j] = from_float<T>(f(to_float(v.v[j]), random.v[j]));
      store_vec<kWidth>(y + i, v);
    } else {
      GPUNN_UNROLL
      for (int j = 0; j < kWidth; ++j)
        if (i + j < n) y[i + j] = from_float<T>(f(x ? to_float(x[i + j]) : 0.0f, random.v[j]));
    }
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    dropout_fwd_kernel(const __grid_constant__ DropoutProblem p, bool words) {
  const float scale = static_cast<float>(p.scale);
  map_draws(static_cast<const T*>(p.x), static_cast<T*>(p.y), p.n, p.seed, p.offset, words,
            [&](float x, std::uint32_t bits) { return x * (bits <= p.greatest_kept ? scale : 0.0f); });
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    bernoulli_fwd_kernel(const __grid_constant__ BernoulliProblem p, bool words) {
  map_draws(p.one_for_all ? nullptr : static_cast<const T*>(p.p), static_cast<T*>(p.y), p.n, p.seed, p.offset,
            words, [&](float own, std::uint32_t bits) {
              return philox_uniform(bits) < (p.one_for_all ? p.probability : own) ? 1.0f : 0.0f;
            });
}

// ---- launchers

Grid grid_for(std::int64_t n) {
  const std::int64_t blocks = (n + kBlock * kWidth - 1) / (kBlock * kWidth);
  return {dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks)), dim3(kBlock)};
}

bool in_words(const void* x, const void* y) {
  return reinterpret_cast<std::uintptr_t>(x) % 16 == 0 && reinterpret_cast<std::uintptr_t>(y) % 16 == 0;
}

}  // namespace

void dropout_cuda(const DropoutProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&]<class T>(T) {
    launch("dropout_fwd_kernel", dropout_fwd_kernel<T>, grid_for(p.n), exec, p, in_words(p.x, p.y));
  });
}

void bernoulli_cuda(const BernoulliProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&]<class T>(T) {
    launch("bernoulli_fwd_kernel", bernoulli_fwd_kernel<T>, grid_for(p.n), exec, p, in_words(p.p, p.y));
  });
}

}  // namespace gpunn
