// Whole sequences: checks, the product of the inputs, the fused op and its gradient.
#include "gpunn/kernels/rnn/rnn.h"

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/matmul/product_impl.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_layer_ops_impl.h"
#include "gpunn/kernels/rnn/rnn_ops_impl.h"
#include "gpunn/kernels/rnn/rnn_weight_grad_impl.h"

namespace gpunn {
namespace {

// ---- checks

void check_state(const Tensor& state, const char* name, const Tensor& x, const RnnSizes& s) {
  if (!state.defined()) return;
  check_same(x, "x", state, name);
  GPUNN_CHECK((state.shape() == Shape{s.B, s.H}), "expected ", name, " [", s.B, ", ", s.H, "], got ",
              state.shape());
}

void check_packing(const Tensor& x, const Packing& packing) {
  GPUNN_CHECK(x.dim() == 2 && x.size(0) == packing.rows(), "expected x [", packing.rows(),
              ", K] as the packing says, got ", x.shape());
  const Tensor& rows = packing.first_rows_on_device();
  GPUNN_CHECK(&rows.context() == &x.context(), "expected a packing on ", x.device(), " like x, got one on ",
              rows.device());
}

RnnSizes check_arguments(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0,
                         const RnnWeights& w, const RnnSequenceOptions& options) {
  check_floating(x, "x");
  RnnSizes s{mode, options.reverse, options.reset_after, 0, 0, 0, 0};
  if (options.packed) {
    check_packing(x, *options.packed);
    s.T = options.packed->steps(), s.B = options.packed->batch(), s.rows = options.packed->rows();
  } else {
    GPUNN_CHECK(x.dim() == 3, "expected x [T, B, K], got ", x.shape());
    s.T = x.size(0), s.B = x.size(1), s.rows = s.T * s.B;
  }
  s.H = detail::check_rnn_weights(mode, x, w);
  check_state(h0, "h0", x, s);
  GPUNN_CHECK(mode == RnnMode::lstm || !c0.defined(), "expected no c0: only lstm has cells");
  check_state(c0, "c0", x, s);
  return s;
}

// ---- forward

struct Arguments {
  Tensor x, h0, c0;  // contiguous; states may be undefined
  RnnWeights w;      // contiguous
  RnnSizes sizes;
  std::optional<Packing> packing;
};

/// What is added to x w_ih': both biases, but GRU's b_hn, which r multiplies.
Tensor input_bias(RnnMode mode, const RnnWeights& w, std::int64_t H) {
  if (!w.b_ih.defined()) return {};
  if (mode != RnnMode::gru) return detail::raw_add(w.b_ih, w.b_hh);
  Tensor bias = w.b_ih.clone();
  detail::raw_add_(bias.narrow(0, 0, 2 * H), w.b_hh.narrow(0, 0, 2 * H));
  return bias;
}

const std::int64_t* first_rows(const std::optional<Packing>& packing) {
  return packing ? static_cast<const std::int64_t*>(packing->first_rows_on_device().data()) : nullptr;
}
const std::int64_t* host_first_rows(const std::optional<Packing>& packing) {
  return packing ? packing->first_rows().data() : nullptr;
}

const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
void* data_or_null(Tensor& t) { return t.defined() ? t.data() : nullptr; }

/// What the fused op leaves; gates, cells and extra only when kept.
struct Results {
  Tensor y, h, c, gates, cells, extra;
  Tensor h0, c0;  // what it began with: the arguments, or zeros
  // Of a layer that was not composed: its entry, and what that kept. Of the others only y, h and c are there.
  const char* layer = nullptr;
  Tensor kept;
};

/// One tensor of zeros serves both.
void set_initial_states(const Arguments& in, Results& out) {
  const RnnSizes& s = in.sizes;
  out.h0 = in.h0;
  if (s.has_cells()) out.c0 = in.c0;
  if (out.h0.defined() && (out.c0.defined() || !s.has_cells())) return;
  const Tensor none = zeros({s.B, s.H}, {.dtype = in.x.dtype(), .device = in.x.device()});
  if (!out.h0.defined()) out.h0 = none;
  if (!out.c0.defined() && s.has_cells()) out.c0 = none;
}

Results empty_results(const Arguments& in, bool keep) {
  const RnnSizes& s = in.sizes;
  DeviceContext& context = in.x.context();
  const DType dtype = in.x.dtype();
  Shape y = in.x.shape();
  y[in.x.dim() - 1] = s.H;
  Shape gates = in.x.shape();
  gates[in.x.dim() - 1] = s.G();
  gates.push_back(s.H);
  Results out;
  out.y = empty_on(context, y, dtype);
  out.h = empty_on(context, {s.B, s.H}, dtype);
  if (s.has_cells()) out.c = empty_on(context, {s.B, s.H}, dtype);
  if (keep && s.G() > 1) out.gates = empty_on(context, gates, dtype);
  if (keep && s.has_cells()) out.cells = empty_on(context, y, dtype);
  if (keep && s.has_extra()) out.extra = empty_on(context, y, dtype);
  return out;
}

Results run_forward(const Arguments& in, bool keep) {
  const NoGrad off;
  const RnnSizes& s = in.sizes;
  Results out = empty_results(in, keep);
  set_initial_states(in, out);
  if (s.rows == 0) {
    out.h.copy_(out.h0);
    if (s.has_cells()) out.c.copy_(out.c0);
    return out;
  }
  const Tensor bias = input_bias(s.mode, in.w, s.H);
  const Tensor gx =
      detail::multiply({in.x.view({s.rows, in.x.size(-1)})}, {in.w.w_ih, true}, {}, {.bias = &bias});
  const Tensor b_hn =
      s.mode == RnnMode::gru && in.w.b_hh.defined() ? in.w.b_hh.narrow(0, 2 * s.H, s.H) : Tensor();
  RnnForwardProblem p{};
  p.dtype = in.x.dtype();
  p.gx = gx.data(), p.w_hh = in.w.w_hh.data(), p.b_hn = data_or_null(b_hn);
  p.h0 = out.h0.data(), p.c0 = data_or_null(out.c0);
  p.first_row = first_rows(in.packing), p.host_first_row = host_first_rows(in.packing);
  p.y = out.y.data(), p.hn = out.h.data(), p.cn = data_or_null(out.c);
  p.gates = data_or_null(out.gates), p.cells = data_or_null(out.cells), p.extra = data_or_null(out.extra);
  p.sizes = s;
  p.tf32 = p.dtype == DType::f32 && allow_tf32();
  const Tensor none;
  const Tensor& rows = in.packing ? in.packing->first_rows_on_device() : none;
  execute(Tuned(kRnnForward, p, in.x.context(), describe).list(), p,
          {&gx, &in.w.w_hh, &b_hn, &out.h0, &out.c0, &rows},
          {&out.y, &out.h, &out.c, &out.gates, &out.cells, &out.extra});
  return out;
}

detail::RnnLayerTensors as_layer(const Arguments& in) {
  return {
      in.x, in.h0, in.c0, in.w.w_ih, in.w.w_hh, in.w.b_ih, in.w.b_hh, in.sizes, host_first_rows(in.packing)};
}

/// By a vendor's layer where one is asked for.
Results run_layer(const Arguments& in, bool recorded, bool keep_gates) {
  if (in.sizes.rows > 0)
    if (const char* const entry = detail::rnn_layer_choice(as_layer(in), recorded, keep_gates)) {
      detail::RnnLayerResults r = detail::rnn_layer_forward(entry, as_layer(in), recorded);
      Results out;
      out.y = std::move(r.y), out.h = std::move(r.h), out.c = std::move(r.c);
      out.layer = entry, out.kept = std::move(r.kept);
      return out;
    }
  return run_forward(in, recorded || keep_gates);
}

// ---- backward

/// Gradients of the fused op.
struct SequenceGrads {
  Tensor dgx, dextra, dh0, dc0;  // [rows, G H], [rows, H], [B, H]
};

/// Of the incoming gradients those that are undefined are zeros.
struct OutputGrads {
  Tensor dy, dh, dc;
};

SequenceGrads run_backward(const Arguments& in, const Results& kept, const OutputGrads& d) {
  const RnnSizes& s = in.sizes;
  DeviceContext& context = in.x.context();
  const DType dtype = in.x.dtype();
  SequenceGrads g;
  g.dgx = empty_on(context, {s.rows, s.G() * s.H}, dtype);
  if (s.has_extra() && s.reset_after) g.dextra = empty_on(context, {s.rows, s.H}, dtype);
  g.dh0 = empty_on(context, {s.B, s.H}, dtype);
  if (s.has_cells()) g.dc0 = empty_on(context, {s.B, s.H}, dtype);
  RnnBackwardProblem p{};
  p.dtype = dtype;
  p.dy = data_or_null(d.dy), p.dhn = data_or_null(d.dh), p.dcn = data_or_null(d.dc);
  p.w_hh = in.w.w_hh.data(), p.h0 = kept.h0.data(), p.c0 = data_or_null(kept.c0);
  p.y = kept.y.data(), p.gates = data_or_null(kept.gates);
  p.cells = data_or_null(kept.cells), p.extra = data_or_null(kept.extra);
  p.first_row = first_rows(in.packing), p.host_first_row = host_first_rows(in.packing);
  p.dgx = g.dgx.data(), p.dextra = data_or_null(g.dextra);
  p.dh0 = g.dh0.data(), p.dc0 = data_or_null(g.dc0);
  p.sizes = s;
  p.tf32 = dtype == DType::f32 && allow_tf32();
  const Tensor none;
  const Tensor& rows = in.packing ? in.packing->first_rows_on_device() : none;
  execute(Tuned(kRnnBackward, p, context, describe).list(), p,
          {&d.dy, &d.dh, &d.dc, &in.w.w_hh, &kept.h0, &kept.c0, &kept.y, &kept.gates, &kept.cells,
           &kept.extra, &rows},
          {&g.dgx, &g.dextra, &g.dh0, &g.dc0});
  return g;
}

// Inputs of the node, in order.
enum Input : std::size_t { kX, kH0, kC0, kWih, kWhh, kBih, kBhh, kInputs };

/// Nothing was computed: the states went through.
Gradients empty_gradients(const Arguments& in, const OutputGrads& d) {
  const auto zeros_of = [](const Tensor& t) { return t.defined() ? zeros_like(t) : Tensor(); };
  return {zeros_like(in.x),
          in.h0.defined() ? d.dh : Tensor(),
          in.c0.defined() ? d.dc : Tensor(),
          zeros_of(in.w.w_ih),
          zeros_of(in.w.w_hh),
          zeros_of(in.w.b_ih),
          zeros_of(in.w.b_hh)};
}

Gradients fused_gradients(const Arguments& in, const Results& kept, const OutputGrads& d, const Backward& b) {
  if (in.sizes.rows == 0) return empty_gradients(in, d);
  const RnnSizes& s = in.sizes;
  const SequenceGrads g = run_backward(in, kept, d);
  const std::int64_t K = in.x.size(-1);
  Gradients out(kInputs);
  if (b.needs(kX)) out[kX] = detail::multiply({g.dgx}, {in.w.w_ih}, {}).view(in.x.shape());
  if (b.needs(kH0)) out[kH0] = g.dh0;
  if (b.needs(kC0)) out[kC0] = g.dc0;
  if (b.needs(kWih)) out[kWih] = detail::multiply({g.dgx, true}, {in.x.view({s.rows, K})}, {});
  if (b.needs(kWhh)) {
    const Packing* const packing = in.packing ? &*in.packing : nullptr;
    out[kWhh] = detail::rnn_w_hh_grad({s, packing, kept.y, in.h0, kept.extra, g.dgx, g.dextra});
  }
  const bool want_b_hh = b.needs(kBhh);
  if (!b.needs(kBih) && !want_b_hh) return out;
  out[kBih] = detail::rnn_column_sums(g.dgx);
  if (want_b_hh) out[kBhh] = detail::rnn_b_hh_grad(out[kBih], g.dextra);
  return out;
}

Gradients layer_gradients(const Arguments& in, const Results& kept, const OutputGrads& d, const Backward& b) {
  const bool weights = b.needs(kWih) || b.needs(kWhh) || b.needs(kBih) || b.needs(kBhh);
  detail::RnnLayerGrads g =
      detail::rnn_layer_gradients(kept.layer, as_layer(in), {kept.y, kept.kept, d.dy, d.dh, d.dc}, weights);
  Gradients out{g.x, g.h0, g.c0, g.w_ih, g.w_hh, g.b_ih, g.b_hh};
  for (std::size_t i = 0; i < kInputs; ++i)
    if (!b.needs(i)) out[i] = Tensor();
  return out;
}

/// The same as functions of the inputs and the incoming gradients, which can be derived again.
Gradients composed_gradients(const Arguments& in, const OutputGrads& d, const Backward& b) {
  // Views of the inputs end the inner walk: one input may depend on another.
  const std::array<const Tensor*, kInputs> inputs{&in.x,      &in.h0,     &in.c0,    &in.w.w_ih,
                                                  &in.w.w_hh, &in.w.b_ih, &in.w.b_hh};
  std::array<Tensor, kInputs> ends;
  std::vector<Tensor> wanted;
  for (std::size_t i = 0; i < kInputs; ++i) {
    if (inputs[i]->defined()) ends[i] = inputs[i]->view(inputs[i]->shape());
    if (b.needs(i)) wanted.push_back(ends[i]);
  }
  RnnSequenceOptions options;
  options.reverse = in.sizes.reverse;
  options.reset_after = in.sizes.reset_after;
  options.packed = in.packing ? &*in.packing : nullptr;
  const RnnOutput r = detail::rnn_by_steps(in.sizes.mode, ends[kX], ends[kH0], ends[kC0],
                                           {ends[kWih], ends[kWhh], ends[kBih], ends[kBhh]}, options);
  std::vector<Tensor> outputs, gradients;
  for (const auto& [output, gradient] : {std::pair{&r.y, &d.dy}, {&r.h, &d.dh}, {&r.c, &d.dc}})
    if (gradient->defined() && output->requires_grad()) {
      outputs.push_back(*output);
      gradients.push_back(*gradient);
    }
  Gradients out(kInputs);
  if (outputs.empty()) return out;
  const std::vector<Tensor> found = autograd::grad(outputs, wanted, gradients, true, true, true);
  std::size_t next = 0;
  for (std::size_t i = 0; i < kInputs; ++i)
    if (b.needs(i)) out[i] = found[next++];
  return out;
}

struct SequenceRule {
  Saved x, h0, c0, w_ih, w_hh, b_ih, b_hh;
  Saved y, gates, cells, extra;
  Saved first_h, first_c;  // Results::h0 and c0
  const char* layer;
  Saved kept;
  RnnSizes sizes;
  std::optional<Packing> packing;

  SequenceRule(const Arguments& in, const Results& out)
      : x(in.x),
        h0(in.h0),
        c0(in.c0),
        w_ih(in.w.w_ih),
        w_hh(in.w.w_hh),
        b_ih(in.w.b_ih),
        b_hh(in.w.b_hh),
        y(Saved::output(out.y)),
        gates(out.gates),
        cells(out.cells),
        extra(out.extra),
        first_h(out.h0),
        first_c(out.c0),
        layer(out.layer),
        kept(out.kept),
        sizes(in.sizes),
        packing(in.packing) {}

  Gradients operator()(const Backward& b) const {
    const Arguments in{x(b), h0(b), c0(b), {w_ih(b), w_hh(b), b_ih(b), b_hh(b)}, sizes, packing};
    OutputGrads d{b.grad(0), b.grad(1), sizes.has_cells() ? b.grad(2) : Tensor()};
    if (b.creates_graph()) return composed_gradients(in, d, b);
    for (Tensor* t : {&d.dy, &d.dh, &d.dc})
      if (t->defined()) *t = t->contiguous();
    const Results was{y(b), {}, {}, gates(b), cells(b), extra(b), first_h(b), first_c(b), layer, kept(b)};
    return layer ? layer_gradients(in, was, d, b) : fused_gradients(in, was, d, b);
  }
};

Tensor contiguous_or_none(const Tensor& t) { return t.defined() ? t.contiguous() : t; }

}  // namespace

namespace detail {

std::int64_t check_rnn_weights(RnnMode mode, const Tensor& x, const RnnWeights& w) {
  const std::int64_t G = gates_of(mode), K = x.size(-1);
  check_same(x, "x", w.w_hh, "w_hh");
  GPUNN_CHECK(w.w_hh.dim() == 2 && w.w_hh.size(1) >= 1 && w.w_hh.size(0) == checked_mul(G, w.w_hh.size(1)),
              "expected w_hh [", G == 1 ? "" : std::to_string(G) + " ", "H, H] with H >= 1, got ",
              w.w_hh.shape());
  const std::int64_t H = w.w_hh.size(1);
  GPUNN_CHECK(G * H <= std::numeric_limits<std::int32_t>::max(), "expected less than 2^31 gates, got ",
              G * H);
  check_same(x, "x", w.w_ih, "w_ih");
  GPUNN_CHECK((w.w_ih.shape() == Shape{G * H, K}), "expected w_ih [", G * H, ", ", K, "], got ",
              w.w_ih.shape());
  GPUNN_CHECK(w.b_ih.defined() == w.b_hh.defined(), "expected both biases or none, got ",
              w.b_ih.defined() ? "b_ih" : "b_hh", " only");
  if (!w.b_ih.defined()) return H;
  check_same(x, "x", w.b_ih, "b_ih");
  check_same(x, "x", w.b_hh, "b_hh");
  for (const auto& [b, name] : {std::pair{&w.b_ih, "b_ih"}, {&w.b_hh, "b_hh"}})
    GPUNN_CHECK(b->shape() == Shape{G * H}, "expected ", name, " [", G * H, "], got ", b->shape());
  return H;
}

}  // namespace detail

RnnOutput rnn_sequence(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0,
                       const RnnWeights& weights, const RnnSequenceOptions& options) {
  OpScope scope("rnn");
  const RnnSizes sizes = check_arguments(mode, x, h0, c0, weights, options);
  const Arguments in{x.contiguous(),
                     contiguous_or_none(h0),
                     contiguous_or_none(c0),
                     {weights.w_ih.contiguous(), weights.w_hh.contiguous(), contiguous_or_none(weights.b_ih),
                      contiguous_or_none(weights.b_hh)},
                     sizes,
                     options.packed ? std::optional<Packing>(*options.packed) : std::nullopt};
  const bool recorded = autograd::wanted(in.x, in.h0, in.c0, in.w.w_ih, in.w.w_hh, in.w.b_ih, in.w.b_hh);
  Results r = run_layer(in, recorded, options.keep_gates);
  if (recorded) {
    const auto inputs = {&in.x, &in.h0, &in.c0, &in.w.w_ih, &in.w.w_hh, &in.w.b_ih, &in.w.b_hh};
    SequenceRule rule(in, r);
    if (sizes.has_cells())
      autograd::record({&r.y, &r.h, &r.c}, "rnn", inputs, std::move(rule));
    else
      autograd::record({&r.y, &r.h}, "rnn", inputs, std::move(rule));
  }
  if (!options.keep_gates) return {r.y, r.h, r.c, {}, {}};
  return {r.y, r.h, r.c, r.gates, r.cells};
}

}  // namespace gpunn
