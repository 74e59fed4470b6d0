// Forward over all steps in one launch. Each block keeps the rows of w_hh of its units; h goes from step to
// step through y, c stays in shared memory. The inputs' sums of the next step are on their way while the
// blocks wait for each other.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/persistent.cuh"

namespace gpunn {
namespace {

template <class C, int kGates>
class Block {
  using T = typename C::T;

 public:
  GPUNN_DEVICE Block(const RnnForwardProblem& p, const RnnPersistentPlan& plan, unsigned char* memory)
      : p_(p),
        plan_(plan),
        memory_(memory, p.sizes.H),
        j0_(std::int64_t{blockIdx.x} * kPersistentUnits),
        row_(static_cast<int>(threadIdx.x) / kPersistentUnits),
        j_(j0_ + static_cast<int>(threadIdx.x) % kPersistentUnits) {}

  GPUNN_DEVICE void keep_weights() {
    const std::int64_t H = p_.sizes.H;
    const T* const w = static_cast<const T*>(p_.w_hh);
    memory_.keep_rows(w, plan_.weight_bytes, [&](int n, int k) -> const T* {
      const std::int64_t j = j0_ + n % kPersistentUnits;
      return j < H && k < H ? w + (n / kPersistentUnits * H + j) * H + k : nullptr;
    });
  }

  /// The inputs' sums of this thread's element of a tile.
  GPUNN_DEVICE void load_x(const RnnRows& rows, std::int64_t tile) {
    const std::int64_t b = tile * kPersistentRows + row_;
    if (b < rows.now.batch && j_ < p_.sizes.H) RnnForwardUnit<T>(p_, rows, b, j_).load_x(x_);
  }

  /// The tiles of one step; x of the first one has been loaded.
  GPUNN_DEVICE void step(const RnnRows& rows) {
    int slot = 0;
    for (std::int64_t tile = blockIdx.y; tile * kPersistentRows < rows.now.batch; tile += gridDim.y) {
      if (slot > 0) {
        __syncthreads();  // the last tile's sums have been read
        load_x(rows, tile);
      }
      product(rows, tile * kPersistentRows);
      finish(rows, tile * kPersistentRows + row_, memory_.state(slot++));
    }
  }

 private:
  GPUNN_DEVICE void product(const RnnRows& rows, std::int64_t b0) {
    const std::int64_t H = p_.sizes.H;
    const T* const h0 = static_cast<const T*>(p_.h0);
    const T* const before = static_cast<const T*>(p_.y) + rows.before.row * H;
    rnn_persistent_product(memory_, H, h0, plan_.bytes, [&](int r, std::int64_t k) -> const T* {
      const std::int64_t b = b0 + r;
      if (b >= rows.now.batch || k >= H) return nullptr;
      return (b < rows.before.batch ? before : h0) + b * H + k;
    });
  }

  GPUNN_DEVICE void finish(const RnnRows& rows, std::int64_t b, float* c) {
    if (b >= rows.now.batch || j_ >= p_.sizes.H) return;
    float a[kGates];
    GPUNN_UNROLL
    for (int g = 0; g < kGates; ++g)
      a[g] = rnn_product::total<C>(memory_.warps, memory_.kOwn, row_,
                                   g * kPersistentUnits + static_cast<int>(threadIdx.x) % kPersistentUnits);
    const RnnForwardUnit<T> unit(p_, rows, b, j_);
    if constexpr (kGates == kLstmGates) {
      *c = unit.lstm(x_, a, unit.begins() ? unit.c_first() : *c);
    } else if constexpr (kGates == kGruGates) {
      unit.gru(x_, a);
    } else {
      unit.plain(x_, a);
    }
  }

  const RnnForwardProblem& p_;
  const RnnPersistentPlan& plan_;
  RnnPersistentMemory<C> memory_;
  std::int64_t j0_;
  int row_;         // of this thread in a tile
  std::int64_t j_;  // its unit
  float x_[kGates];
};

template <class C, int kGates>
GPUNN_KERNEL __launch_bounds__(C::kThreads, 1)  // shared memory allows few blocks, so registers are free
    rnn_fwd_persistent_kernel(const __grid_constant__ RnnForwardProblem p,
                              const __grid_constant__ RnnPersistentPlan plan) {
  GPUNN_DYN_SHARED(memory);
  GridBarrier barrier(plan.counter);
  Block<C, kGates> block(p, plan, memory);
  block.keep_weights();
  RnnRows rows = rnn_rows(p, p.first_row, 0);
  block.load_x(rows, blockIdx.y);
  for (std::int64_t s = 0;; ++s) {
    block.step(rows);
    if (s + 1 == p.sizes.T) break;
    barrier.arrive();
    rows = rnn_rows(p, p.first_row, s + 1);
    block.load_x(rows, blockIdx.y);
    barrier.wait();  // every block's h of this step is in y
  }
}

template <class C, int kGates>
bool run(const RnnForwardProblem& p, const RnnPersistentPlan& plan, const Exec& exec) {
  return rnn_launch_persistent<C>("rnn_fwd_persistent_kernel", rnn_fwd_persistent_kernel<C, kGates>, p,
                                  p.sizes.H, plan, exec);
}

template <class T, bool kTensor, int kGates>
bool run_stages(const RnnForwardProblem& p, const RnnPersistentPlan& plan, const Exec& exec) {
  constexpr int kN = kGates * kPersistentUnits;
  return run<RnnPersistentConfig<T, kTensor, kN, kForwardStages>, kGates>(p, plan, exec) ||
         run<RnnPersistentConfig<T, kTensor, kN, kFewStages>, kGates>(p, plan, exec);
}

template <class T, bool kTensor>
bool run_mode(const RnnForwardProblem& p, const RnnPersistentPlan& plan, const Exec& exec) {
  switch (p.sizes.mode) {
    case RnnMode::lstm:
      return run_stages<T, kTensor, kLstmGates>(p, plan, exec);
    case RnnMode::gru:
      return run_stages<T, kTensor, kGruGates>(p, plan, exec);
    default:
      return run_stages<T, kTensor, 1>(p, plan, exec);
  }
}

}  // namespace

void rnn_fwd_persistent_cuda(const RnnForwardProblem& p, const Exec& exec) {
  const RnnPersistentPlan plan{static_cast<unsigned*>(exec.workspace),
                               rnn_piece_bytes({p.y, p.h0}, p.sizes.H, p.dtype),
                               rnn_piece_bytes({p.w_hh}, p.sizes.H, p.dtype)};
  bool done = false;
  if (p.dtype == DType::f32 && !p.tf32)
    done = run_mode<float, false>(p, plan, exec);
  else
    for_device_dtype(p.dtype, [&](auto zero) { done = run_mode<decltype(zero), true>(p, plan, exec); });
  if (!done) rnn_fwd_steps_cuda(p, exec);  // a smaller GPU
}

}  // namespace gpunn
