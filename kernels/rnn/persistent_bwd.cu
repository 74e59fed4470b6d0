// Backward over all steps in one launch. Each block keeps its units' columns of w_hh, transposed; the gates'
// gradients go from step to step through dgx (and dextra), what meets no product stays in shared memory.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/persistent.cuh"

namespace gpunn {
namespace {

template <class C>
class Block {
  using T = typename C::T;

 public:
  GPUNN_DEVICE Block(const RnnBackwardProblem& p, const RnnPersistentPlan& plan, unsigned char* memory)
      : p_(p),
        plan_(plan),
        K_(p.sizes.G() * p.sizes.H),
        memory_(memory, K_),
        j0_(std::int64_t{blockIdx.x} * kPersistentUnits),
        row_(static_cast<int>(threadIdx.x) / kPersistentUnits),
        j_(j0_ + static_cast<int>(threadIdx.x) % kPersistentUnits),
        saved_{} {}

  GPUNN_DEVICE void keep_weights() {
    const std::int64_t H = p_.sizes.H;
    const T* const w = static_cast<const T*>(p_.w_hh);
    memory_.keep_columns(
        [&](int n, int k) -> const T* { return k < K_ && j0_ + n < H ? w + k * H + j0_ + n : nullptr; });
  }

  /// What this thread's element of a tile needs besides the product.
  GPUNN_DEVICE void load(const RnnRows& rows, std::int64_t tile) {
    const std::int64_t b = tile * kPersistentRows + row_;
    if (b < rows.now.batch && j_ < p_.sizes.H) saved_ = RnnBackwardUnit<T>(p_, rows, b, j_).load();
  }

  /// The tiles of one step; load() of the first one has been called.
  GPUNN_DEVICE void step(const RnnRows& rows) {
    const std::int64_t now = rows.now.batch, next = rows.next.batch, batch = now > next ? now : next;
    int slot = 0;
    for (std::int64_t tile = blockIdx.y; tile * kPersistentRows < batch; tile += gridDim.y) {
      if (slot > 0) {
        __syncthreads();  // the last tile's sums have been read
        load(rows, tile);
      }
      const std::int64_t b0 = tile * kPersistentRows, b = b0 + row_;
      product(rows, b0);
      float* const carry = memory_.state(slot++);
      if (b >= batch || j_ >= p_.sizes.H) continue;
      const float sum = rnn_product::total<C>(memory_.warps, memory_.kOwn, row_,
                                              static_cast<int>(threadIdx.x) % kPersistentUnits);
      RnnBackwardUnit<T>(p_, rows, b, j_).step(sum, saved_, carry);
    }
  }

 private:
  GPUNN_DEVICE void product(const RnnRows& rows, std::int64_t b0) {
    const std::int64_t H = p_.sizes.H, split = p_.dextra ? 2 * H : K_;
    const T* const grads = static_cast<const T*>(p_.dgx) + rows.next.row * K_;
    const T* const extra = static_cast<const T*>(p_.dextra) + (p_.dextra ? rows.next.row * H : 0);
    rnn_persistent_product(memory_, b0 < rows.next.batch ? K_ : 0, grads, plan_.bytes,
                           [&](int r, std::int64_t k) -> const T* {
                             const std::int64_t b = b0 + r;
                             if (b >= rows.next.batch || k >= K_) return nullptr;
                             return k < split ? grads + b * K_ + k : extra + b * H + k - split;
                           });
  }

  const RnnBackwardProblem& p_;
  const RnnPersistentPlan& plan_;
  std::int64_t K_;  // of the product: all gates
  RnnPersistentMemory<C> memory_;
  std::int64_t j0_;
  int row_;         // of this thread in a tile
  std::int64_t j_;  // its unit
  RnnSaved saved_;
};

template <class C>
GPUNN_KERNEL __launch_bounds__(C::kThreads, 1)  // shared memory allows few blocks, so registers are free
    rnn_bwd_persistent_kernel(const __grid_constant__ RnnBackwardProblem p,
                              const __grid_constant__ RnnPersistentPlan plan) {
  GPUNN_DYN_SHARED(memory);
  GridBarrier barrier(plan.counter);
  Block<C> block(p, plan, memory);
  block.keep_weights();
  RnnRows rows = rnn_rows(p, p.first_row, p.sizes.T - 1);
  block.load(rows, blockIdx.y);
  // Down to one before the first step: it has only gradients of initial states.
  for (std::int64_t s = p.sizes.T - 1;; --s) {
    block.step(rows);
    if (s < 0) break;
    barrier.arrive();
    rows = rnn_rows(p, p.first_row, s - 1);
    block.load(rows, blockIdx.y);
    barrier.wait();  // every block's gradients of this step are in dgx and dextra
  }
}

template <class C>
bool run(const RnnBackwardProblem& p, const RnnPersistentPlan& plan, const Exec& exec) {
  return rnn_launch_persistent<C>("rnn_bwd_persistent_kernel", rnn_bwd_persistent_kernel<C>, p,
                                  p.sizes.G() * p.sizes.H, plan, exec);
}

template <class T, bool kTensor>
bool run_stages(const RnnBackwardProblem& p, const RnnPersistentPlan& plan, const Exec& exec) {
  return run<RnnPersistentConfig<T, kTensor, kPersistentUnits, kBackwardStages>>(p, plan, exec) ||
         run<RnnPersistentConfig<T, kTensor, kPersistentUnits, kFewStages>>(p, plan, exec);
}

}  // namespace

void rnn_bwd_persistent_cuda(const RnnBackwardProblem& p, const Exec& exec) {
  const RnnPersistentPlan plan{static_cast<unsigned*>(exec.workspace),
                               rnn_piece_bytes({p.dgx, p.dextra}, p.sizes.H, p.dtype), 0};
  bool done = false;
  if (p.dtype == DType::f32 && !p.tf32)
    done = run_stages<float, false>(p, plan, exec);
  else
    for_device_dtype(p.dtype, [&](auto zero) { done = run_stages<decltype(zero), true>(p, plan, exec); });
  if (!done) rnn_bwd_steps_cuda(p, exec);  // a smaller GPU
}

}  // namespace gpunn
