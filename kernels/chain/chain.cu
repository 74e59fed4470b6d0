// Chains on the GPU. A thread owns four consecutive results and walks the program with a uniform switch per
// step: forward keeps their values in registers; backward keeps the value after every step in shared memory,
// which only the thread itself reads. Rejected: an array of values indexed by the step, which lives in local
// memory; computing the values again for every step, whose work grows with the square of the steps.
#include "gpunn/kernels/chain/chain_functors_impl.h"
#include "gpunn/kernels/chain/chain_impl.h"
#include "gpunn/kernels/elementwise/strided_groups.cuh"

namespace gpunn {

namespace {

constexpr int kWidth = 4;
constexpr int kBackwardBlock = 128;  // 2 KiB of shared memory per step
constexpr int kBackwardBlocks = 6;   // per multiprocessor: 80 registers, without which f32 spills

struct DeviceStep {
  ChainFunction function;
  std::int8_t operand;
  float s, t;
};
struct DeviceProgram {
  int steps, recomputed;
  unsigned in_words;  // bit 0: x, bit 1 + k: operand k can be read in words
  DeviceStep step[kChainSteps];
};
using Values = float[kWidth];

/// Elements i to i + count - 1 of input k.
template <class T>
GPUNN_DEVICE void load_input(const ChainGeometry& g, unsigned in_words, int k, const void* data,
                             std::int64_t i, int count, std::int64_t n, Values& out) {
  const T* const p = static_cast<const T*>(data);
  if ((in_words >> k & 1u) != 0 && count == kWidth) {
    load_group<kWidth>(p + offset_of(g.rank, g.shape, g.strides[k], i, n), g.strides[k][g.rank - 1], kWidth,
                       out);
    return;
  }
  GPUNN_UNROLL
  for (int j = 0; j < kWidth; ++j)
    out[j] = j < count ? to_float(p[offset_of(g.rank, g.shape, g.strides[k], i + j, n)]) : 0.0f;
}

/// b of a step for the thread's elements.
template <class T, class Problem>
GPUNN_DEVICE void load_second(const Problem& p, const DeviceProgram& program, const DeviceStep& step,
                              std::int64_t i, int count, std::int64_t n, Values& b) {
  if (step.operand >= 0) {
    load_input<T>(p.geometry, program.in_words, 1 + step.operand, p.operand[step.operand], i, count, n, b);
    return;
  }
  GPUNN_UNROLL
  for (int j = 0; j < kWidth; ++j) b[j] = step.s;
}

GPUNN_DEVICE void apply_step(const DeviceStep& step, Values& v, const Values& b) {
  chains::visit(step.function, [&](auto functor) {
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) v[j] = decltype(functor)::value(v[j], b[j], step.s, step.t);
  });
}

/// Writes a group; `in_words` tells that whole groups start at a word.
template <class T>
GPUNN_DEVICE void store_result(void* data, bool in_words, std::int64_t i, int count, const Values& v) {
  T* const p = static_cast<T*>(data) + i;
  if (in_words && count == kWidth) {
    store_group<kWidth>(p, kWidth, v);
    return;
  }
  GPUNN_UNROLL
  for (int j = 0; j < kWidth; ++j)
    if (j < count) p[j] = from_float<T>(v[j]);
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kElementwiseBlock)
    chain_fwd_kernel(const __grid_constant__ ChainProblem p, const __grid_constant__ DeviceProgram program,
                     bool words, std::int64_t n) {
  for (std::int64_t g = first_group(); g * kWidth < n; g += group_step()) {
    const std::int64_t i = g * kWidth;
    const int count = count_of(n - i, kWidth);
    Values v, b;
    load_input<T>(p.geometry, program.in_words, 0, p.x, i, count, n, v);
    for (int k = 0; k < program.steps; ++k) {
      load_second<T>(p, program, program.step[k], i, count, n, b);
      apply_step(program.step[k], v, b);
    }
    store_result<T>(p.y, words, i, count, v);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBackwardBlock, kBackwardBlocks)
    chain_bwd_kernel(const __grid_constant__ ChainBackwardProblem p,
                     const __grid_constant__ DeviceProgram program, bool words, std::int64_t n) {
  GPUNN_DYN_SHARED(memory);
  using Group = Vec<float, kWidth>;
  Group* const kept = reinterpret_cast<Group*>(memory) + threadIdx.x;  // [recomputed, kBackwardBlock]
  const auto step_size = static_cast<std::int64_t>(gridDim.x) * kBackwardBlock;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kBackwardBlock + threadIdx.x;
       at * kWidth < n; at += step_size) {
    const std::int64_t i = at * kWidth;
    const int count = count_of(n - i, kWidth);
    Values v, b, g;
    load_input<T>(p.geometry, program.in_words, 0, p.x, i, count, n, v);
    for (int k = 0; k < program.recomputed; ++k) {
      kept[k * kBackwardBlock] = {v[0], v[1], v[2], v[3]};
      load_second<T>(p, program, program.step[k], i, count, n, b);
      apply_step(program.step[k], v, b);
    }
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j) g[j] = j < count ? to_float(static_cast<const T*>(p.dy)[i + j]) : 0.0f;
    for (int k = program.steps - 1; k >= 0; --k) {
      const DeviceStep& step = program.step[k];
      // Behind the values that were computed none is needed; v is then the last one.
      const Group before = k < program.recomputed ? kept[k * kBackwardBlock] : Group{v[0], v[1], v[2], v[3]};
      load_second<T>(p, program, step, i, count, n, b);
      void* const db = step.operand < 0 ? nullptr : p.d_operand[step.operand];
      if (db != nullptr) {
        chains::visit_binary(step.function, [&](auto functor) {
          Values d;
          GPUNN_UNROLL
          for (int j = 0; j < kWidth; ++j)
            d[j] = decltype(functor)::operand_grad(g[j], before.v[j], b[j], v[j]);
          store_result<T>(db, words, i, count, d);
        });
      }
      chains::visit(step.function, [&](auto functor) {
        GPUNN_UNROLL
        for (int j = 0; j < kWidth; ++j)
          g[j] = decltype(functor)::grad(g[j], before.v[j], b[j], v[j], step.s, step.t);
      });
      GPUNN_UNROLL
      for (int j = 0; j < kWidth; ++j) v[j] = before.v[j];
    }
    if (p.dx != nullptr) store_result<T>(p.dx, words, i, count, g);
  }
}

// ---- launchers

int recomputed_steps(const ChainProblem&) { return 0; }

template <class Problem>
DeviceProgram program_of(const Problem& p) {
  const ChainGeometry& g = p.geometry;
  DeviceProgram program{p.program.steps, recomputed_steps(p), 0, {}};
  for (int k = 0; k < p.program.steps; ++k) {
    const ChainStep& step = p.program.step[k];
    program.step[k] = {step.function, step.operand, static_cast<float>(step.s), static_cast<float>(step.t)};
  }
  if (!rows_divide(g.rank, g.shape, kWidth)) return program;
  for (int k = 0; k <= p.program.operands; ++k)
    if (in_words(g.rank, g.strides[k], k == 0 ? p.x : p.operand[k - 1], kWidth)) program.in_words |= 1u << k;
  return program;
}

bool results_in_words(const ChainProblem& p) { return aligned(p.y); }
bool results_in_words(const ChainBackwardProblem& p) {
  bool all = aligned(p.dx);  // null is
  for (int k = 0; k < p.program.operands; ++k) all = all && aligned(p.d_operand[k]);
  return all;
}

template <class T>
void run(const ChainProblem& p, const Exec& exec) {
  const std::int64_t n = numel_of(p.geometry);
  launch("chain_fwd_kernel", chain_fwd_kernel<T>, elementwise_grid(n, kWidth), exec, p, program_of(p),
         results_in_words(p), n);
}
template <class T>
void run(const ChainBackwardProblem& p, const Exec& exec) {
  const std::int64_t n = numel_of(p.geometry);
  const std::int64_t blocks = ((n + kWidth - 1) / kWidth + kBackwardBlock - 1) / kBackwardBlock;
  const DeviceProgram program = program_of(p);
  const Grid grid{dim3(static_cast<unsigned>(blocks < kElementwiseBlocks ? blocks : kElementwiseBlocks)),
                  dim3(kBackwardBlock),
                  static_cast<std::size_t>(program.recomputed) * kBackwardBlock * sizeof(Vec<float, kWidth>)};
  launch("chain_bwd_kernel", chain_bwd_kernel<T>, grid, exec, p, program, results_in_words(p), n);
}

template <class P>
void run_any(const P& p, const Exec& exec) {
  if (p.dtype == DType::f32) return run<float>(p, exec);
  if (p.dtype == DType::f16) return run<Half>(p, exec);
  run<BFloat16>(p, exec);
}

}  // namespace

void chain_fwd_cuda(const ChainProblem& p, const Exec& exec) { run_any(p, exec); }
void chain_bwd_cuda(const ChainBackwardProblem& p, const Exec& exec) { run_any(p, exec); }

}  // namespace gpunn
