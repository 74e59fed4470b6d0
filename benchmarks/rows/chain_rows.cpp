#include "benchmarks/op_bench.h"
#include "gpunn/kernels/chain/chain_impl.h"

namespace gpunn::bench {
namespace {

using F = ChainFunction;

/// x and whole operands of [rows, cols], or one row for all.
void describe(ChainGeometry& g, std::int64_t rows, std::int64_t cols, bool first_is_row, bool second_is_row) {
  g.rank = 2;
  g.shape[0] = rows;
  g.shape[1] = cols;
  for (auto& strides : g.strides) strides[0] = cols, strides[1] = 1;
  if (first_is_row) g.strides[1][0] = 0;
  if (second_is_row) g.strides[2][0] = 0;
}

void add_step(ChainProgram& program, F f, bool with_tensor = false) {
  ChainStep& step = program.step[program.steps++];
  step.function = f;
  if (with_tensor) step.operand = static_cast<std::int8_t>(program.operands++);
}

template <class P>
P affine() {
  P p{};
  p.dtype = DType::f32;
  describe(p.geometry, 4096, 1024, true, true);
  add_step(p.program, F::mul, true);
  add_step(p.program, F::add, true);
  add_step(p.program, F::relu);
  return p;
}

template <class P>
P residual() {
  P p{};
  p.dtype = DType::f32;
  describe(p.geometry, 2048, 1024, true, false);
  add_step(p.program, F::add, true);
  add_step(p.program, F::gelu);
  add_step(p.program, F::add, true);
  return p;
}

}  // namespace

void add_chain_rows(Bench& bench) {
  bench.row(kChainForward, "4096x1024 x*s+b relu", affine<ChainProblem>());
  bench.row(kChainBackward, "4096x1024 x*s+b relu", affine<ChainBackwardProblem>());
  bench.row(kChainForward, "2048x1024 x+b gelu +r", residual<ChainProblem>());
  // As a call asks for it: the gradient of r is dy, and that of b is made of x's.
  bench.row(kChainBackward, "2048x1024 x+b gelu +r", residual<ChainBackwardProblem>(), 2, RunsOn::everything,
            {"db0", "db1"});
}

}  // namespace gpunn::bench
