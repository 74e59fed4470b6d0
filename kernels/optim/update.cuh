#pragma once
// The update of one chunk of one tensor by a block: what the kernels of optim.cu and optim_master.cu share.
// The table of tensors is a kernel parameter; block b works on chunk b, counted on from tensor to tensor, so
// that a small tensor takes one block and a large one many.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/optim/update_functors_impl.h"

namespace gpunn::optim {

inline constexpr int kBlock = 256;
inline constexpr std::int64_t kChunk = 8192;  // elements per block: 32 per thread

static_assert(sizeof(UpdateProblem) + 16 <= 4096, "kernel parameters hold 4 KiB on every GPU");

inline unsigned blocks_of(const UpdateProblem& p) {
  std::int64_t chunks = 0;
  for (int t = 0; t < p.count; ++t) chunks += (p.slots[t].n + kChunk - 1) / kChunk;
  return static_cast<unsigned>(chunks);
}

/// The buffers of one tensor. T: parameter and gradient; S: master and states.
template <class T, class S>
struct Buffers {
  T* param;
  const T* grad;
  S* states[kMaxStates];
  S* master;

  GPUNN_DEVICE bool aligned() const {
    bool all = elements_to_alignment(param) == 0 && elements_to_alignment(grad) == 0;
    GPUNN_UNROLL
    for (int j = 0; j < kMaxStates; ++j) all = all && (!states[j] || elements_to_alignment(states[j]) == 0);
    return all && (!master || elements_to_alignment(master) == 0);
  }
};

/// States that a rule has at most: the others cost no registers.
template <UpdateRule kRule>
inline constexpr int kStatesOf = kRule == UpdateRule::adam || kRule == UpdateRule::rmsprop     ? 3
                                 : kRule == UpdateRule::adadelta || kRule == UpdateRule::nadam ? 2
                                                                                               : 1;

/// kWidth neighbours from element i on, in one access per buffer.
template <UpdateRule kRule, bool kMaster, int kWidth, class T, class S>
GPUNN_DEVICE void update_vector(const Constants<float>& c, const Buffers<T, S>& b, std::int64_t i) {
  using Words = std::conditional_t<kMaster, S, T>;
  Words* weights = nullptr;
  if constexpr (kMaster)
    weights = b.master;
  else
    weights = b.param;
  Vec<Words, kWidth> w = load_vec<kWidth>(weights + i);
  const Vec<T, kWidth> g = load_vec<kWidth>(b.grad + i);
  Vec<S, kWidth> states[kMaxStates] = {};
  GPUNN_UNROLL
  for (int j = 0; j < kStatesOf<kRule>; ++j)
    if (b.states[j] && !c.first_step) states[j] = load_vec<kWidth>(b.states[j] + i);
  Vec<T, kWidth> rounded;
  GPUNN_UNROLL
  for (int k = 0; k < kWidth; ++k) {
    float value = to_float(w.v[k]);
    float s[kMaxStates] = {to_float(states[0].v[k]), to_float(states[1].v[k]), to_float(states[2].v[k])};
    update_element<kRule>(c, value, to_float(g.v[k]), s);
    w.v[k] = from_float<Words>(value);
    rounded.v[k] = from_float<T>(value);
    GPUNN_UNROLL
    for (int j = 0; j < kStatesOf<kRule>; ++j) states[j].v[k] = from_float<S>(s[j]);
  }
  store_vec(weights + i, w);
  if constexpr (kMaster) store_vec(b.param + i, rounded);
  GPUNN_UNROLL
  for (int j = 0; j < kStatesOf<kRule>; ++j)
    if (b.states[j]) store_vec(b.states[j] + i, states[j]);
}

/// The whole block.
template <UpdateRule kRule, bool kMaster, class T, class S>
GPUNN_DEVICE void update_chunk(const UpdateProblem& p) {
  const Constants<float> c = constants_of<float>(p.settings, p.values);
  std::int64_t chunk = blockIdx.x;
  int t = 0;  // at most 70 additions, the same for the whole block
  while (true) {
    const std::int64_t chunks = (p.slots[t].n + kChunk - 1) / kChunk;
    if (chunk < chunks) break;
    chunk -= chunks;
    ++t;
  }
  const UpdateSlot& slot = p.slots[t];
  const Buffers<T, S> b{
      static_cast<T*>(slot.param),
      static_cast<const T*>(slot.grad),
      {static_cast<S*>(slot.states[0]), static_cast<S*>(slot.states[1]), static_cast<S*>(slot.states[2])},
      static_cast<S*>(slot.master)};
  const std::int64_t begin = chunk * kChunk;
  const std::int64_t end = begin + kChunk < slot.n ? begin + kChunk : slot.n;
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int kWidth = kVecWidth<S>;
  const std::int64_t vectors = b.aligned() ? (end - begin) / kWidth : 0;
  for (std::int64_t v = thread; v < vectors; v += kBlock)
    update_vector<kRule, kMaster, kWidth>(c, b, begin + v * kWidth);
  for (std::int64_t i = begin + vectors * kWidth + thread; i < end; i += kBlock)
    update_vector<kRule, kMaster, 1>(c, b, i);
}

}  // namespace gpunn::optim
