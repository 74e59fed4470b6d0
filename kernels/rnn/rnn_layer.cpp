// Whole layers on tensors: the choice between composing them and a vendor's entry, and the entry's run.
//
// The composed layer is no entry of the list, because it is several issues with choices of their own, and so
// the stored orders of core/tuning.h do not reach this choice: they time entries one by one, forward apart
// from backward, where here forward decides for both.
#include "gpunn/kernels/rnn/rnn_layer_ops_impl.h"

#include <array>
#include <string_view>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/matmul/matmul.h"

namespace gpunn::detail {
namespace {

const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

template <class P>
P problem_of(const RnnLayerTensors& in) {
  P p{};
  p.dtype = in.x.dtype();
  p.x = in.x.data(), p.w_ih = in.w_ih.data(), p.w_hh = in.w_hh.data();
  p.b_ih = data_or_null(in.b_ih), p.b_hh = data_or_null(in.b_hh);
  p.h0 = data_or_null(in.h0), p.c0 = data_or_null(in.c0);
  p.host_first_row = in.host_first_row;
  p.sizes = in.sizes, p.K = in.x.size(-1);
  p.tf32 = p.dtype == DType::f32 && allow_tf32();
  return p;
}

/// The entry alone, before the reference, which shadow execution compares with.
template <class P>
class OneEntry {
 public:
  OneEntry(const ImplementationList<P>& list, const char* name)
      : entries_{*find_implementation(list, name), list.entries.back()},
        list_{list.op, list.direction, entries_} {}
  OneEntry(const OneEntry&) = delete;
  OneEntry& operator=(const OneEntry&) = delete;
  const ImplementationList<P>& list() const noexcept { return list_; }

 private:
  std::array<Implementation<P>, 2> entries_;
  ImplementationList<P> list_;
};

}  // namespace

const char* rnn_layer_choice(const RnnLayerTensors& in, bool keep, bool gates) {
  const DeviceContext& context = in.x.context();
  if (plain_choice(context)) [[likely]]
    return nullptr;
  const auto& entries = kRnnLayerForward.entries;
  std::vector<Candidate> candidates{{"composed", context.type(), Determinism::bitwise, nullptr}};
  for (const auto& e : entries) candidates.push_back({e.name, e.device, e.determinism, nullptr});
  // Only what is asked for is asked whether it accepts: that may open its library.
  const std::size_t wanted = choose("rnn_layer", candidates, context).index;
  if (wanted == 0) return nullptr;
  auto p = problem_of<RnnLayerForwardProblem>(in);
  p.keep = keep, p.gates = gates;
  const auto& entry = entries[wanted - 1];
  candidates[wanted].reason = entry.accepts ? entry.accepts(p) : nullptr;
  choose("rnn_layer", candidates, context);
  return entry.name;
}

RnnLayerResults rnn_layer_forward(const char* entry, const RnnLayerTensors& in, bool keep) {
  const NoGrad off;
  const RnnSizes& s = in.sizes;
  DeviceContext& context = in.x.context();
  Shape rows = in.x.shape();
  rows[in.x.dim() - 1] = s.H;
  auto p = problem_of<RnnLayerForwardProblem>(in);
  p.keep = keep;
  RnnLayerResults out;
  out.y = empty_on(context, rows, p.dtype);
  out.h = empty_on(context, {s.B, s.H}, p.dtype);
  if (s.has_cells()) out.c = empty_on(context, {s.B, s.H}, p.dtype);
  if (keep) out.kept = empty_on(context, {static_cast<std::int64_t>(rnn_layer_kept(entry, p))}, DType::u8);
  p.y = out.y.data(), p.hn = out.h.data(), p.cn = out.c.defined() ? out.c.data() : nullptr;
  p.kept = out.kept.defined() ? out.kept.data() : nullptr;
  execute(OneEntry(kRnnLayerForward, entry).list(), p,
          {&in.x, &in.w_ih, &in.w_hh, &in.b_ih, &in.b_hh, &in.h0, &in.c0},
          {&out.y, &out.h, &out.c, &out.kept});
  return out;
}

RnnLayerGrads rnn_layer_gradients(const char* entry, const RnnLayerTensors& in, const RnnLayerSeen& seen,
                                  bool weights) {
  const NoGrad off;
  const RnnSizes& s = in.sizes;
  DeviceContext& context = in.x.context();
  auto p = problem_of<RnnLayerBackwardProblem>(in);
  const Tensor dy = seen.dy.defined() ? seen.dy : zeros_like(seen.y);
  RnnLayerGrads g;
  g.x = empty_like(in.x);
  g.h0 = empty_on(context, {s.B, s.H}, p.dtype);
  if (s.has_cells()) g.c0 = empty_on(context, {s.B, s.H}, p.dtype);
  if (weights) {
    g.w_ih = empty_like(in.w_ih);
    g.w_hh = empty_like(in.w_hh);
    if (in.b_ih.defined()) g.b_ih = empty_like(in.b_ih);
    if (in.b_ih.defined()) g.b_hh = empty_like(in.b_hh);
  }
  const auto to = [](Tensor& t) { return t.defined() ? t.data() : nullptr; };
  p.y = seen.y.data(), p.kept = data_or_null(seen.kept);
  p.dy = dy.data(), p.dhn = data_or_null(seen.dh), p.dcn = data_or_null(seen.dc);
  p.dx = to(g.x), p.dh0 = to(g.h0), p.dc0 = to(g.c0);
  p.dw_ih = to(g.w_ih), p.dw_hh = to(g.w_hh), p.db_ih = to(g.b_ih), p.db_hh = to(g.b_hh);
  execute(OneEntry(kRnnLayerBackward, entry).list(), p,
          {&in.x, &in.w_ih, &in.w_hh, &in.b_ih, &in.b_hh, &in.h0, &in.c0, &seen.y, &seen.kept, &dy, &seen.dh,
           &seen.dc},
          {&g.x, &g.h0, &g.c0, &g.w_ih, &g.w_hh, &g.b_ih, &g.b_hh});
  return g;
}

}  // namespace gpunn::detail
