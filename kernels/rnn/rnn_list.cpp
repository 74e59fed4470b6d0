// The ordered lists of implementations, and what describes their problems.
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_operands_impl.h"

namespace gpunn {
namespace {

using detail::bytes_of;
using Operands = detail::RnnOperands;

template <class P>
const char* f32_only(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}
#if GPUNN_HAS_CUDA
template <class P>
const char* cell_reason(const P& p) {
  return device_dtype_reason(p.dtype);
}
#endif

const Implementation<RnnForwardProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"persistent", DeviceType::cuda, rnn_fwd_persistent_reason, rnn_fwd_persistent_workspace,
     Determinism::bitwise, rnn_fwd_persistent_cuda},
    {"steps", DeviceType::cuda, rnn_fwd_steps_reason, rnn_fwd_steps_workspace, Determinism::bitwise,
     rnn_fwd_steps_cuda},
#endif
    {"cpu", DeviceType::cpu, rnn_fwd_cpu_reason, rnn_fwd_cpu_workspace, Determinism::bitwise, rnn_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rnn_fwd_ref},
};
const Implementation<RnnBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"persistent", DeviceType::cuda, rnn_bwd_persistent_reason, rnn_bwd_persistent_workspace,
     Determinism::bitwise, rnn_bwd_persistent_cuda},
    {"steps", DeviceType::cuda, rnn_bwd_steps_reason, rnn_bwd_steps_workspace, Determinism::bitwise,
     rnn_bwd_steps_cuda},
#endif
    {"cpu", DeviceType::cpu, rnn_bwd_cpu_reason, rnn_bwd_cpu_workspace, Determinism::bitwise, rnn_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rnn_bwd_ref},
};
const Implementation<RnnCellProblem> kCellForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cell_reason, nullptr, Determinism::bitwise, rnn_cell_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, f32_only<RnnCellProblem>, nullptr, Determinism::bitwise, rnn_cell_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rnn_cell_fwd_ref},
};
const Implementation<RnnCellBackwardProblem> kCellBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cell_reason, nullptr, Determinism::bitwise, rnn_cell_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, f32_only<RnnCellBackwardProblem>, nullptr, Determinism::bitwise,
     rnn_cell_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rnn_cell_bwd_ref},
};

/// Every operand once, w_hh included: a chip with room for it reads it once. A non-linearity counts as ten.
template <class P>
Cost sequence_cost(P p, double per_gate) {
  const double gates = static_cast<double>(p.sizes.rows) * static_cast<double>(p.sizes.G() * p.sizes.H);
  return {bytes_of(operands(p)), gates * (2 * static_cast<double>(p.sizes.H) + per_gate)};
}

template <class P>
Cost cell_cost(P p, double per_gate) {
  return {bytes_of(operands(p)),
          static_cast<double>(p.B) * static_cast<double>(gates_of(p.mode) * p.H) * per_gate};
}

void describe(const RnnSizes& s, TuningKey& key) {
  key.add("T", s.T).add("B", s.B).add("H", s.H).add("rows", s.rows);
  key.add("mode", static_cast<int>(s.mode)).add("reverse", s.reverse).add("reset_after", s.reset_after);
}

}  // namespace

const ImplementationList<RnnForwardProblem> kRnnForward{"rnn", "forward", kForwardEntries};
const ImplementationList<RnnBackwardProblem> kRnnBackward{"rnn", "backward", kBackwardEntries};
const ImplementationList<RnnCellProblem> kRnnCellForward{"rnn_cell", "forward", kCellForwardEntries};
const ImplementationList<RnnCellBackwardProblem> kRnnCellBackward{"rnn_cell", "backward",
                                                                  kCellBackwardEntries};

std::vector<Operand> operands(RnnForwardProblem& p) {
  const RnnSizes& s = p.sizes;
  const std::int64_t states = s.B * s.H, rows = s.rows * s.H;
  Operands o(p.dtype);
  o.in("gx", p.gx, rows * s.G());
  o.in("w_hh", p.w_hh, s.G() * s.H * s.H);
  o.in("b_hn", p.b_hn, p.b_hn ? s.H : 0);
  o.in("h0", p.h0, states);
  o.in("c0", p.c0, s.has_cells() ? states : 0);
  o.rows(p.first_row, s.T);
  o.out("y", p.y, rows);
  o.out("hn", p.hn, states);
  o.out("cn", p.cn, s.has_cells() ? states : 0);
  o.out("gates", p.gates, p.gates ? rows * s.G() : 0);
  o.out("cells", p.cells, p.cells ? rows : 0);
  o.out("extra", p.extra, p.extra ? rows : 0);
  return std::move(o).list();
}

std::vector<Operand> operands(RnnBackwardProblem& p) {
  const RnnSizes& s = p.sizes;
  const std::int64_t states = s.B * s.H, rows = s.rows * s.H;
  Operands o(p.dtype);
  o.in("dy", p.dy, p.dy ? rows : 0);
  o.in("dhn", p.dhn, p.dhn ? states : 0);
  o.in("dcn", p.dcn, p.dcn ? states : 0);
  o.in("w_hh", p.w_hh, s.G() * s.H * s.H);
  o.in("h0", p.h0, states);
  o.in("c0", p.c0, s.has_cells() ? states : 0);
  o.in("y", p.y, rows);
  o.in("gates", p.gates, s.G() > 1 ? rows * s.G() : 0);
  o.in("cells", p.cells, s.has_cells() ? rows : 0);
  o.in("extra", p.extra, s.has_extra() ? rows : 0);
  o.rows(p.first_row, s.T);
  o.out("dgx", p.dgx, rows * s.G());
  o.out("dextra", p.dextra, s.has_extra() && s.reset_after ? rows : 0);
  o.out("dh0", p.dh0, states);
  o.out("dc0", p.dc0, s.has_cells() ? states : 0);
  return std::move(o).list();
}

std::vector<Operand> operands(RnnCellProblem& p) {
  const std::int64_t n = p.B * p.H, all = n * gates_of(p.mode);
  const bool lstm = p.mode == RnnMode::lstm;
  Operands o(p.dtype);
  o.in("gx", p.gx, all);
  o.in("gh", p.gh, all);
  o.in("h", p.h, lstm ? 0 : n);
  o.in("c", p.c, lstm ? n : 0);
  o.out("h_next", p.h_next, n);
  o.out("c_next", p.c_next, lstm ? n : 0);
  o.out("gates", p.gates, p.gates ? all : 0);
  return std::move(o).list();
}

std::vector<Operand> operands(RnnCellBackwardProblem& p) {
  const std::int64_t n = p.B * p.H, all = n * gates_of(p.mode);
  const bool lstm = p.mode == RnnMode::lstm;
  Operands o(p.dtype);
  o.in("dh_next", p.dh_next, p.dh_next ? n : 0);
  o.in("dc_next", p.dc_next, p.dc_next ? n : 0);
  o.in("gates", p.gates, all);
  o.in("gh", p.gh, lstm ? 0 : all);
  o.in("h", p.h, lstm ? 0 : n);
  o.in("c", p.c, lstm ? n : 0);
  o.in("c_next", p.c_next, lstm ? n : 0);
  o.out("dgx", p.dgx, all);
  o.out("dgh", p.dgh, lstm ? 0 : all);
  o.out("dh", p.dh, lstm ? 0 : n);
  o.out("dc", p.dc, lstm ? n : 0);
  return std::move(o).list();
}

Cost cost(const RnnForwardProblem& p) { return sequence_cost(p, 12); }
Cost cost(const RnnBackwardProblem& p) { return sequence_cost(p, 8); }
Cost cost(const RnnCellProblem& p) { return cell_cost(p, 12); }
Cost cost(const RnnCellBackwardProblem& p) { return cell_cost(p, 8); }

void describe(const RnnForwardProblem& p, TuningKey& key) {
  describe(p.sizes, key);
  key.add("bias", p.b_hn != nullptr).add("packed", p.host_first_row != nullptr);
  key.add("gates", p.gates != nullptr).add("cells", p.cells != nullptr).add("extra", p.extra != nullptr);
  key.add("tf32", p.tf32).add_alignment({p.gx, p.w_hh, p.h0, p.c0, p.y, p.hn, p.cn, p.gates, p.cells});
}
void describe(const RnnBackwardProblem& p, TuningKey& key) {
  describe(p.sizes, key);
  key.add("packed", p.host_first_row != nullptr);
  key.add("dy", p.dy != nullptr).add("dhn", p.dhn != nullptr).add("dcn", p.dcn != nullptr);
  key.add("tf32", p.tf32).add_alignment({p.dy, p.w_hh, p.y, p.gates, p.cells, p.extra, p.dgx, p.dextra});
}

}  // namespace gpunn
