// Recurrent sequences forward, in f32 on the CPU. w_hh is packed once. A step is then, block of units by
// block, a product of all sequences' h with the block's weights for all its gates, and the units'
// non-linearities on the sums while they are in L1. h goes straight to y, where the next step reads it; c
// lives in cn.
#include <algorithm>

#include "gpunn/kernels/rnn/rnn_cpu_impl.h"

namespace gpunn {
namespace {

using detail::for_each_block;
using detail::resets_first;
using detail::rnn_at;
using detail::rnn_floats;
using detail::rnn_kernels;
using detail::RnnBlock;
using detail::RnnForwardTile;
using detail::RnnPanels;
using detail::RnnProduct;
using detail::RnnRun;

// Few rows of y in all do not pay for packing: H 128 from 5 rows on, 256 from 9, 512 from 17 (a row at H 256:
// 18 us unpacked, 61 packed; 32 rows: 574 and 356).
constexpr std::int64_t kUnitsOfUnpackedRow = 32;

struct Plan {
  RnnPanels gates, candidate;  // the candidate (n) apart when it has to wait for r
  bool packed = false;
  std::int64_t scratch = 0;  // floats of r h and z, each, when they are made apart
  std::int64_t floats() const { return (packed ? gates.floats() + candidate.floats() : 0) + 2 * scratch; }
};

Plan plan_of(const RnnSizes& s) {
  Plan plan;
  plan.gates = detail::rnn_panels(s.H, resets_first(s) ? 2 : s.G(), s.H);
  plan.packed = s.rows > s.H / kUnitsOfUnpackedRow;
  if (!resets_first(s)) return plan;
  plan.candidate = detail::rnn_panels(s.H, 1, s.H);
  plan.scratch = s.B * s.H;
  return plan;
}

struct Forward {
  const RnnForwardProblem& p;
  CpuPool& pool;
  Plan plan;
  float *reset = nullptr, *z = nullptr;  // [B, H] scratch
  const std::int64_t H = p.sizes.H;

  Forward(const RnnForwardProblem& problem, const Exec& exec);
  const float* h_prev(const RnnRun& run) const {
    return run.row_before < 0 ? rnn_floats(p.h0) + run.first * H : rnn_floats(p.y) + run.row_before * H;
  }
  float* reset_rows(const RnnRun& run) const {
    return p.extra ? rnn_floats(p.extra) + run.row * H : reset + run.first * H;
  }
  RnnForwardTile tile(const RnnRun& run, const RnnBlock& block) const;
  void step(const RnnRun& run) const;
  void step_resetting_first(const RnnRun& run) const;
};

Forward::Forward(const RnnForwardProblem& problem, const Exec& exec)
    : p(problem), pool(*exec.pool), plan(plan_of(problem.sizes)) {
  auto* next = static_cast<float*>(exec.workspace);
  const auto weights = [&](RnnPanels& panels, const float* w) {
    panels.unpacked = w;
    if (!plan.packed) return;
    panels.data = next;
    detail::pack_rnn_rows(panels, w, pool);
    next += panels.floats();
  };
  weights(plan.gates, rnn_floats(p.w_hh));
  if (!resets_first(p.sizes)) return;
  weights(plan.candidate, rnn_floats(p.w_hh) + 2 * H * H);
  reset = next;
  z = next + plan.scratch;
}

RnnForwardTile Forward::tile(const RnnRun& run, const RnnBlock& block) const {
  const std::int64_t G = p.sizes.G();
  const std::int64_t at_row = (run.row + block.row) * H + block.unit,
                     at_gates = (run.row + block.row) * G * H + block.unit,
                     at_state = (run.first + block.row) * H + block.unit;
  RnnForwardTile t{};
  t.rows = block.rows, t.units = block.units, t.H = H;
  t.sums = block.sums, t.sums_ld = block.sums_ld, t.sums_gate = block.sums_gate;
  t.gx = rnn_floats(p.gx) + at_gates;
  t.b_hn = rnn_at(rnn_floats(p.b_hn), block.unit);
  t.h_prev = h_prev(run) + block.row * H + block.unit;
  t.y = rnn_floats(p.y) + at_row;
  t.c_prev = t.c = rnn_at(rnn_floats(p.cn), at_state);
  t.gates = rnn_at(rnn_floats(p.gates), at_gates);
  t.cells = rnn_at(rnn_floats(p.cells), at_row);
  t.extra = rnn_at(rnn_floats(p.extra), at_row);
  return t;
}

void Forward::step(const RnnRun& run) const {
  const auto finish = rnn_kernels().forward[static_cast<std::size_t>(p.sizes.mode)];
  const RnnProduct products[] = {{h_prev(run), H, &plan.gates}};
  for_each_block(products, run.count, pool, [&](const RnnBlock& block) { finish(tile(run, block)); });
}

void Forward::step_resetting_first(const RnnRun& run) const {
  float* const reset_h = reset_rows(run);
  const auto with_scratch = [&](const RnnBlock& block) {
    RnnForwardTile t = tile(run, block);
    t.extra = reset_h + block.row * H + block.unit;
    t.z = z + (run.first + block.row) * H + block.unit;
    return t;
  };
  const RnnProduct gates[] = {{h_prev(run), H, &plan.gates}};
  for_each_block(gates, run.count, pool,
                 [&](const RnnBlock& block) { rnn_kernels().gru_reset(with_scratch(block)); });
  const RnnProduct candidate[] = {{reset_h, H, &plan.candidate}};
  for_each_block(candidate, run.count, pool,
                 [&](const RnnBlock& block) { rnn_kernels().gru_candidate(with_scratch(block)); });
}

}  // namespace

const char* rnn_fwd_cpu_reason(const RnnForwardProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}

std::size_t rnn_fwd_cpu_workspace(const RnnForwardProblem& p) {
  return static_cast<std::size_t>(plan_of(p.sizes).floats()) * sizeof(float);
}

void rnn_fwd_cpu(const RnnForwardProblem& p, const Exec& exec) {
  const RnnSizes& s = p.sizes;
  const Forward forward(p, exec);
  detail::for_each_group(s, *exec.pool, [&](std::int64_t begin, std::int64_t end) {
    if (s.has_cells())
      std::copy(rnn_floats(p.c0) + begin * s.H, rnn_floats(p.c0) + end * s.H, rnn_floats(p.cn) + begin * s.H);
    for (std::int64_t i = 0; i < s.T; ++i)
      detail::for_each_run(p, s.reverse ? s.T - 1 - i : i, begin, end, [&](const RnnRun& run) {
        resets_first(s) ? forward.step_resetting_first(run) : forward.step(run);
        if (run.row_after < 0)
          std::copy_n(rnn_floats(p.y) + run.row * s.H, run.count * s.H, rnn_floats(p.hn) + run.first * s.H);
      });
  });
}

}  // namespace gpunn
