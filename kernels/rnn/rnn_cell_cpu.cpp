// Cells in f32 on the CPU: the units' rules of the sequences, on sums that a product has made.
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/rnn/rnn_cpu_impl.h"

namespace gpunn {

using detail::rnn_at;
using detail::rnn_floats;

void rnn_cell_fwd_cpu(const RnnCellProblem& p, const Exec& exec) {
  const std::int64_t H = p.H, width = gates_of(p.mode) * H;
  const auto kernel = detail::rnn_kernels().forward[static_cast<std::size_t>(p.mode)];
  parallel_for(*exec.pool, p.B, rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
    detail::RnnForwardTile t{};
    t.rows = end - begin, t.units = t.H = H;
    t.sums = rnn_floats(p.gh) + begin * width, t.sums_ld = width, t.sums_gate = H;
    t.gx = rnn_floats(p.gx) + begin * width;
    t.h_prev = rnn_at(rnn_floats(p.h), begin * H);
    t.c_prev = rnn_at(rnn_floats(p.c), begin * H);
    t.y = rnn_floats(p.h_next) + begin * H;
    t.c = rnn_at(rnn_floats(p.c_next), begin * H);
    t.gates = rnn_at(rnn_floats(p.gates), begin * width);
    kernel(t);
  });
}

void rnn_cell_bwd_cpu(const RnnCellBackwardProblem& p, const Exec& exec) {
  const std::int64_t H = p.H, width = gates_of(p.mode) * H;
  const auto kernel = detail::rnn_kernels().backward[static_cast<std::size_t>(p.mode)];
  parallel_for(*exec.pool, p.B, rows_per_chunk(width), [&](std::int64_t begin, std::int64_t end) {
    detail::RnnBackwardTile t{};
    t.rows = end - begin, t.units = t.H = H;
    t.dy = rnn_at(rnn_floats(p.dh_next), begin * H);
    t.dc = rnn_at(rnn_floats(p.dc_next), begin * H);
    t.gates = rnn_floats(p.gates) + begin * width;
    t.h_prev = rnn_at(rnn_floats(p.h), begin * H);
    t.c = rnn_at(rnn_floats(p.c_next), begin * H);
    t.c_prev = rnn_at(rnn_floats(p.c), begin * H);
    t.extra = rnn_at(rnn_floats(p.gh), begin * width + 2 * H);
    t.extra_ld = width;
    t.dgx = rnn_floats(p.dgx) + begin * width;
    t.dgh = rnn_at(rnn_floats(p.dgh), begin * width);
    t.dextra = rnn_at(rnn_floats(p.dgh), begin * width + 2 * H);
    t.dh_prev = rnn_at(rnn_floats(p.dh), begin * H);
    t.dc_prev = rnn_at(rnn_floats(p.dc), begin * H);
    kernel(t);
  });
}

}  // namespace gpunn
