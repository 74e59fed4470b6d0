// The vendors' entries for whole layers, and what describes their problems.
#include <string_view>

#include "gpunn/kernels/rnn/rnn_layer_impl.h"
#include "gpunn/kernels/rnn/rnn_operands_impl.h"

namespace gpunn {
namespace {

using Operands = detail::RnnOperands;

const char* reference_reason(const RnnLayerForwardProblem& p) { return p.gates ? "shows no gates" : nullptr; }

// cuDNN does not promise equal bits from run to run: its products are a BLAS's whose choices depend on what
// else is under way.
const Implementation<RnnLayerForwardProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cudnn", DeviceType::cuda, rnn_layer_fwd_cudnn_reason, rnn_layer_fwd_cudnn_workspace,
     Determinism::varies, rnn_layer_fwd_cudnn},
#endif
#if GPUNN_HAS_ONEDNN_HEADERS
    {"onednn", DeviceType::cpu, rnn_layer_fwd_onednn_reason, rnn_layer_fwd_onednn_workspace,
     Determinism::bitwise, rnn_layer_fwd_onednn},
#endif
    {"ref", DeviceType::cpu, reference_reason, nullptr, Determinism::bitwise, rnn_layer_fwd_ref},
};
const Implementation<RnnLayerBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cudnn", DeviceType::cuda, rnn_layer_bwd_cudnn_reason, rnn_layer_bwd_cudnn_workspace,
     Determinism::varies, rnn_layer_bwd_cudnn},
#endif
#if GPUNN_HAS_ONEDNN_HEADERS
    {"onednn", DeviceType::cpu, rnn_layer_bwd_onednn_reason, rnn_layer_bwd_onednn_workspace,
     Determinism::bitwise, rnn_layer_bwd_onednn},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rnn_layer_bwd_ref},
};

/// What forward reads, the same for both problems.
template <class P>
void add_inputs(Operands& o, P& p) {
  const RnnSizes& s = p.sizes;
  const std::int64_t gates = s.G() * s.H, states = s.B * s.H;
  o.in("x", p.x, s.rows * p.K);
  o.in("w_ih", p.w_ih, gates * p.K);
  o.in("w_hh", p.w_hh, gates * s.H);
  o.in("b_ih", p.b_ih, p.b_ih ? gates : 0);
  o.in("b_hh", p.b_hh, p.b_hh ? gates : 0);
  o.in("h0", p.h0, p.h0 ? states : 0);
  o.in("c0", p.c0, p.c0 ? states : 0);
}

/// Products of both operands of a step, `times` of each; a non-linearity counts as ten.
template <class P>
Cost layer_cost(P p, double times) {
  const double gates = static_cast<double>(p.sizes.rows) * static_cast<double>(p.sizes.G() * p.sizes.H);
  return {detail::bytes_of(operands(p)), gates * (2 * times * static_cast<double>(p.K + p.sizes.H) + 12)};
}

}  // namespace

const ImplementationList<RnnLayerForwardProblem> kRnnLayerForward{"rnn_layer", "forward", kForwardEntries};
const ImplementationList<RnnLayerBackwardProblem> kRnnLayerBackward{"rnn_layer", "backward",
                                                                    kBackwardEntries};

std::size_t rnn_layer_kept([[maybe_unused]] const char* entry,
                           [[maybe_unused]] const RnnLayerForwardProblem& p) {
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
  if (std::string_view(entry) == "cudnn") return rnn_layer_cudnn_kept(p);
#endif
#if GPUNN_HAS_ONEDNN_HEADERS
  if (std::string_view(entry) == "onednn") return rnn_layer_onednn_kept(p);
#endif
  return 0;
}

std::vector<Operand> operands(RnnLayerForwardProblem& p) {
  const RnnSizes& s = p.sizes;
  Operands o(p.dtype);
  add_inputs(o, p);
  o.out("y", p.y, s.rows * s.H);
  o.out("hn", p.hn, s.B * s.H);
  o.out("cn", p.cn, s.has_cells() ? s.B * s.H : 0);
  return std::move(o).list();
}

std::vector<Operand> operands(RnnLayerBackwardProblem& p) {
  const RnnSizes& s = p.sizes;
  const std::int64_t gates = s.G() * s.H, states = s.B * s.H;
  const bool weights = p.dw_ih != nullptr;
  Operands o(p.dtype);
  add_inputs(o, p);
  o.in("y", p.y, s.rows * s.H);
  o.in("dy", p.dy, s.rows * s.H);
  o.in("dhn", p.dhn, p.dhn ? states : 0);
  o.in("dcn", p.dcn, p.dcn ? states : 0);
  o.out("dx", p.dx, s.rows * p.K);
  o.out("dw_ih", p.dw_ih, weights ? gates * p.K : 0);
  o.out("dw_hh", p.dw_hh, weights ? gates * s.H : 0);
  o.out("db_ih", p.db_ih, weights && p.b_ih ? gates : 0);
  o.out("db_hh", p.db_hh, weights && p.b_ih ? gates : 0);
  o.out("dh0", p.dh0, states);
  o.out("dc0", p.dc0, s.has_cells() ? states : 0);
  return std::move(o).list();
}

Cost cost(const RnnLayerForwardProblem& p) { return layer_cost(p, 1); }
Cost cost(const RnnLayerBackwardProblem& p) { return layer_cost(p, p.dw_ih ? 2 : 1); }

}  // namespace gpunn
