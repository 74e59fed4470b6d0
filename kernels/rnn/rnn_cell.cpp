// Single steps: two products, then one pass over the gates.
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_ops_impl.h"

namespace gpunn {
namespace {

/// A step's arguments as matrices.
struct Step {
  Tensor x, h, c;  // [B, K], [B, H]
  bool batched;
  Tensor result(const Tensor& y) const { return batched ? y : y.squeeze(0); }
};

Tensor state_rows(const Tensor& state, const char* name, const Tensor& x, std::int64_t H) {
  const bool batched = x.dim() == 2;
  if (!state.defined())
    return zeros({batched ? x.size(0) : 1, H}, {.dtype = x.dtype(), .device = x.device()});
  check_same(x, "x", state, name);
  const Shape expected = batched ? Shape{x.size(0), H} : Shape{H};
  GPUNN_CHECK(state.shape() == expected, "expected ", name, " ", expected, ", got ", state.shape());
  return batched ? state : state.unsqueeze(0);
}

Step checked_step(RnnMode mode, const Tensor& x, const Tensor& h, const Tensor& c, const RnnWeights& w) {
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() == 1 || x.dim() == 2, "expected x [B, K] or [K], got ", x.shape());
  const std::int64_t H = detail::check_rnn_weights(mode, x, w);
  const bool batched = x.dim() == 2;
  return {batched ? x : x.unsqueeze(0), state_rows(h, "h", x, H),
          mode == RnnMode::lstm ? state_rows(c, "c", x, H) : Tensor(), batched};
}

void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

/// The gradients of gx, gh, and of h (gru) or c (lstm) but for the products.
struct CellGrads {
  Tensor dgx, dgh, dstate;
};

/// `state` is c for lstm and h for gru.
CellGrads cell_backward(RnnMode mode, const Tensor& gates, const Tensor& gh, const Tensor& state,
                        const Tensor& c_next, const Tensor& dh, const Tensor& dc) {
  const bool lstm = mode == RnnMode::lstm;
  CellGrads g{empty_like(gates), lstm ? Tensor() : empty_like(gates), empty_like(state)};
  if (lstm) g.dgh = g.dgx;
  if (gates.numel() == 0) return g;
  RnnCellBackwardProblem p{};
  p.dtype = gates.dtype();
  p.dh_next = data_or_null(dh), p.dc_next = data_or_null(dc);
  p.gates = gates.data(), p.gh = lstm ? nullptr : gh.data();
  (lstm ? p.c : p.h) = state.data();
  p.c_next = data_or_null(c_next);
  p.dgx = g.dgx.data(), p.dgh = lstm ? nullptr : g.dgh.data();
  (lstm ? p.dc : p.dh) = g.dstate.data();
  p.B = state.size(0), p.H = state.size(1), p.mode = mode;
  const Tensor none;
  execute(kRnnCellBackward, p, {&gates, &gh, &state, &c_next, &dh, &dc},
          {&g.dgx, lstm ? &none : &g.dgh, &g.dstate});
  return g;
}

/// Runs the cell on gx, gh [B, G H] and state [B, H]; returns h and c of the next step and what is kept.
struct CellResult {
  Tensor h, c, gates;
};
CellResult cell_forward(RnnMode mode, const Tensor& gx, const Tensor& gh, const Tensor& state, bool keep) {
  const bool lstm = mode == RnnMode::lstm;
  CellResult r{empty_like(state), lstm ? empty_like(state) : Tensor(), keep ? empty_like(gx) : Tensor()};
  if (state.numel() == 0) return r;
  RnnCellProblem p{};
  p.dtype = gx.dtype();
  p.gx = gx.data(), p.gh = gh.data();
  (lstm ? p.c : p.h) = state.data();
  p.h_next = r.h.data(), p.c_next = data_or_null(r.c), p.gates = data_or_null(r.gates);
  p.B = state.size(0), p.H = state.size(1), p.mode = mode;
  execute(kRnnCellForward, p, {&gx, &gh, &state}, {&r.h, &r.c, &r.gates});
  return r;
}

Tensor contiguous_or_none(const Tensor& t) { return t.defined() ? t.contiguous() : t; }

/// Gradients of gx, gh and the state as functions that can be derived again.
Gradients composed_gradients(RnnMode mode, const Tensor& gx, const Tensor& gh, const Tensor& state,
                             const Backward& b) {
  // Views of the inputs end the inner walk: one may depend on another.
  const Tensor ends[] = {gx.view(gx.shape()), gh.view(gh.shape()), state.view(state.shape())};
  const bool lstm = mode == RnnMode::lstm;
  const LstmState next = lstm ? detail::lstm_from_sums(ends[0] + ends[1], ends[2])
                              : LstmState{detail::gru_from_products(ends[0], ends[1], ends[2]), {}};
  std::vector<Tensor> outputs, gradients, wanted;
  for (const auto& [output, i] : {std::pair{&next.h, std::size_t{0}}, {&next.c, std::size_t{1}}})
    if (output->defined() && b.grad(i).defined()) {
      outputs.push_back(*output);
      gradients.push_back(b.grad(i));
    }
  for (std::size_t i = 0; i < 3; ++i)
    if (b.needs(i)) wanted.push_back(ends[i]);
  const std::vector<Tensor> found = autograd::grad(outputs, wanted, gradients, true, true, true);
  Gradients out(3);
  std::size_t at = 0;
  for (std::size_t i = 0; i < 3; ++i)
    if (b.needs(i)) out[i] = found[at++];
  return out;
}

/// The pass over gates, recorded.
LstmState cell(RnnMode mode, const Tensor& gx, const Tensor& gh, const Tensor& strided) {
  const Tensor state = strided.contiguous();
  const bool recorded = autograd::wanted(gx, gh, state), lstm = mode == RnnMode::lstm;
  CellResult r = cell_forward(mode, gx, gh, state, recorded);
  if (!recorded) return {r.h, r.c};
  const auto rule = [mode, gx = Saved(gx), gh = Saved(gh), state = Saved(state), gates = Saved(r.gates),
                     c = lstm ? Saved::output(r.c, 1) : Saved()](const Backward& b) -> Gradients {
    if (b.creates_graph()) return composed_gradients(mode, gx(b), gh(b), state(b), b);
    const bool with_cells = mode == RnnMode::lstm;
    const CellGrads g = cell_backward(mode, gates(b), gh(b), state(b), c(b), contiguous_or_none(b.grad(0)),
                                      with_cells ? contiguous_or_none(b.grad(1)) : Tensor());
    return {g.dgx, g.dgh, g.dstate};
  };
  if (lstm)
    autograd::record({&r.h, &r.c}, "lstm_cell", {&gx, &gh, &state}, rule);
  else
    autograd::record(r.h, "gru_cell", {&gx, &gh, &state}, rule);
  return {r.h, r.c};
}

Tensor plain_cell(RnnMode mode, const Tensor& x, const Tensor& h, const RnnWeights& w) {
  const Step s = checked_step(mode, x, h, {}, w);
  const Tensor a = linear(s.h, w.w_hh, w.b_hh, Activation::none, linear(s.x, w.w_ih, w.b_ih));
  return s.result(mode == RnnMode::tanh ? tanh(a) : relu(a));
}

}  // namespace

LstmState lstm_cell(const Tensor& x, const LstmState& state, const RnnWeights& weights) {
  OpScope scope("lstm_cell");
  const Step s = checked_step(RnnMode::lstm, x, state.h, state.c, weights);
  const LstmState next = cell(RnnMode::lstm, linear(s.x, weights.w_ih, weights.b_ih),
                              linear(s.h, weights.w_hh, weights.b_hh), s.c);
  return {s.result(next.h), s.result(next.c)};
}

Tensor gru_cell(const Tensor& x, const Tensor& h, const RnnWeights& weights, bool reset_after) {
  OpScope scope("gru_cell");
  const Step s = checked_step(RnnMode::gru, x, h, {}, weights);
  const Tensor gx = linear(s.x, weights.w_ih, weights.b_ih);
  if (!reset_after) return s.result(detail::gru_step(gx, s.h, weights, false));
  return s.result(cell(RnnMode::gru, gx, linear(s.h, weights.w_hh, weights.b_hh), s.h).h);
}

Tensor rnn_tanh_cell(const Tensor& x, const Tensor& h, const RnnWeights& weights) {
  OpScope scope("rnn_tanh_cell");
  return plain_cell(RnnMode::tanh, x, h, weights);
}

Tensor rnn_relu_cell(const Tensor& x, const Tensor& h, const RnnWeights& weights) {
  OpScope scope("rnn_relu_cell");
  return plain_cell(RnnMode::relu, x, h, weights);
}

}  // namespace gpunn
