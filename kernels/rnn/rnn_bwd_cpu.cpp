// Recurrent sequences backward, in f32 on the CPU. A step is, block of units by block, a product of the
// gates' gradients of the step after it with w_hh, packed the other way, and the units' own rule on the sums
// while they are in L1. dc lives in dc0, gru's direct part of dh in dh0.
#include <algorithm>
#include <array>

#include "gpunn/kernels/rnn/rnn_cpu_impl.h"

namespace gpunn {
namespace {

using detail::for_each_block;
using detail::resets_first;
using detail::rnn_at;
using detail::rnn_floats;
using detail::rnn_kernels;
using detail::RnnBackwardTile;
using detail::RnnBlock;
using detail::RnnPanels;
using detail::RnnProduct;
using detail::RnnRun;

// gru's n has a product of its own: with reset_after its gradient is not the one by gx.
struct Plan {
  RnnPanels gates, candidate;
  std::int64_t floats() const { return gates.floats() + candidate.floats(); }
};

Plan plan_of(const RnnSizes& s) {
  const bool gru = s.mode == RnnMode::gru;
  Plan plan;
  plan.gates = detail::rnn_panels(s.H, 1, (gru ? 2 : s.G()) * s.H);
  if (gru) plan.candidate = detail::rnn_panels(s.H, 1, s.H);
  return plan;
}

struct Backward {
  const RnnBackwardProblem& p;
  CpuPool& pool;
  Plan plan;
  const std::int64_t H = p.sizes.H, G = p.sizes.G();
  const bool gru = p.sizes.mode == RnnMode::gru;

  Backward(const RnnBackwardProblem& problem, const Exec& exec);
  /// f(block) for all blocks of what the gates' gradients of rows [row, row + count) add to h before them.
  template <class F>
  void for_each_dh(std::int64_t row, std::int64_t count, F&& f) const;
  RnnBackwardTile tile(const RnnRun& run, const RnnBlock& block) const;
  void step(const RnnRun& run) const;
  void reset_step(const RnnRun& run) const;
  void initial_state(const RnnRun& run) const;
};

Backward::Backward(const RnnBackwardProblem& problem, const Exec& exec)
    : p(problem), pool(*exec.pool), plan(plan_of(problem.sizes)) {
  const float* const w = rnn_floats(p.w_hh);
  plan.gates.data = static_cast<float*>(exec.workspace);
  detail::pack_rnn_columns(plan.gates, w, pool);
  if (!gru) return;
  plan.candidate.data = plan.gates.data + plan.gates.floats();
  detail::pack_rnn_columns(plan.candidate, w + 2 * H * H, pool);
}

template <class F>
void Backward::for_each_dh(std::int64_t row, std::int64_t count, F&& f) const {
  const std::array products{RnnProduct{rnn_floats(p.dgx) + row * G * H, G * H, &plan.gates},
                            RnnProduct{rnn_at(rnn_floats(p.dextra), row * H), H, &plan.candidate}};
  for_each_block(std::span(products).first(p.dextra ? 2 : 1), count, pool, f);
}

RnnBackwardTile Backward::tile(const RnnRun& run, const RnnBlock& block) const {
  const std::int64_t at_block = block.row * H + block.unit;
  const std::int64_t at_row = run.row * H + at_block, at_state = run.first * H + at_block,
                     at_gates = (run.row + block.row) * G * H + block.unit;
  const std::int64_t at_before = run.row_before * H + at_block;
  const bool begins = run.row_before < 0, ends = run.row_after < 0;
  RnnBackwardTile t{};
  t.rows = block.rows, t.units = block.units, t.H = H;
  t.sums = block.sums, t.sums_ld = block.sums_ld;
  t.dy = rnn_at(rnn_floats(p.dy), at_row);
  if (ends || gru) t.dh = rnn_at(ends ? rnn_floats(p.dhn) : rnn_floats(p.dh0), at_state);
  t.dc = rnn_at(ends ? rnn_floats(p.dcn) : rnn_floats(p.dc0), at_state);
  t.gates = rnn_at(rnn_floats(p.gates), at_gates);
  t.y = rnn_floats(p.y) + at_row;
  t.h_prev = begins ? rnn_floats(p.h0) + at_state : rnn_floats(p.y) + at_before;
  t.c = rnn_at(rnn_floats(p.cells), at_row);
  t.c_prev = begins ? rnn_at(rnn_floats(p.c0), at_state) : rnn_at(rnn_floats(p.cells), at_before);
  t.extra = rnn_at(rnn_floats(p.extra), at_row);
  t.extra_ld = H;
  t.dgx = rnn_floats(p.dgx) + at_gates;
  t.dextra = rnn_at(rnn_floats(p.dextra), at_row);
  t.dh_prev = rnn_floats(p.dh0) + at_state;
  t.dc_prev = rnn_at(rnn_floats(p.dc0), at_state);
  return t;
}

void Backward::step(const RnnRun& run) const {
  const auto kernel = resets_first(p.sizes) ? rnn_kernels().gru_candidate_grad
                                            : rnn_kernels().backward[static_cast<std::size_t>(p.sizes.mode)];
  const auto finish = [&](const RnnBlock& block) { kernel(tile(run, block)); };
  if (run.row_after < 0)
    finish({0, run.count, 0, H, nullptr, 0, 0});
  else
    for_each_dh(run.row_after, run.count, finish);
}

// dr needs the gradient of r h, which needs dn of all units.
void Backward::reset_step(const RnnRun& run) const {
  const RnnProduct product[] = {{rnn_floats(p.dgx) + (run.row * G + 2) * H, G * H, &plan.candidate}};
  for_each_block(product, run.count, pool, [&](const RnnBlock& block) {
    RnnBackwardTile t = tile(run, block);
    t.dh = t.dh_prev;
    rnn_kernels().gru_reset_grad(t);
  });
}

void Backward::initial_state(const RnnRun& run) const {
  const auto finish = gru ? detail::gemm_kernels().add : detail::gemm_kernels().copy;
  for_each_dh(run.row, run.count, [&](const RnnBlock& block) {
    finish(block.sums, block.sums_ld, block.rows, block.units,
           rnn_floats(p.dh0) + (run.first + block.row) * H + block.unit, H);
  });
}

}  // namespace

const char* rnn_bwd_cpu_reason(const RnnBackwardProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}

std::size_t rnn_bwd_cpu_workspace(const RnnBackwardProblem& p) {
  return static_cast<std::size_t>(plan_of(p.sizes).floats()) * sizeof(float);
}

void rnn_bwd_cpu(const RnnBackwardProblem& p, const Exec& exec) {
  const RnnSizes& s = p.sizes;
  const Backward backward(p, exec);
  detail::for_each_group(s, *exec.pool, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = 0; i < s.T; ++i)
      detail::for_each_run(p, s.reverse ? i : s.T - 1 - i, begin, end, [&](const RnnRun& run) {
        backward.step(run);
        if (resets_first(s)) backward.reset_step(run);
        if (run.row_before < 0) backward.initial_state(run);
      });
  });
}

}  // namespace gpunn
