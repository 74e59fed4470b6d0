// From tensors to problems: the fused op, forward and backward, and its gradient rule.
#include <limits>
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"
#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/matmul/matmul.h"

namespace gpunn::detail {
namespace {

AttentionLayout layout_of(const Tensor& t, bool by_rows) {
  const Strides& s = t.strides();
  return by_rows ? AttentionLayout{0, s[1], s[0]} : AttentionLayout{s[0], s[1], s[2]};
}

/// Heads in an order of memory that joins them: [B, T, H, D] seen as [B, H, T, D].
Tensor empty_heads(DeviceContext& context, std::int64_t B, std::int64_t H, std::int64_t T, std::int64_t D,
                   DType dtype) {
  const Tensor memory = empty_on(context, {B, T, H, D}, dtype);
  return raw_view(memory, {B, H, T, D}, {T * H * D, D, H * D, 1}, 0);
}
Tensor empty_like_heads(const Tensor& t, const AttentionCall& call) {
  if (call.by_rows()) return empty_on(t.context(), t.shape(), t.dtype());
  return empty_heads(t.context(), t.size(0), t.size(1), t.size(2), t.size(3), t.dtype());
}

template <class P>
void set_common(P& p, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionCall& call) {
  p.dtype = q.dtype();
  p.q = q.data(), p.k = k.data(), p.v = v.data();
  p.q_layout = layout_of(q, call.by_rows());
  const bool rows = call.by_rows() || call.rule.pages;
  p.k_layout = call.rule.pages ? AttentionLayout{0, k.strides()[2], k.strides()[1]} : layout_of(k, rows);
  p.v_layout = call.rule.pages ? AttentionLayout{0, v.strides()[2], v.strides()[1]} : layout_of(v, rows);
  p.mask = call.mask, p.rule = call.rule, p.dropout = call.dropout;
  p.sizes = call.sizes, p.scale = call.scale;
  p.q_elements = extent_of(q), p.k_elements = extent_of(k), p.v_elements = extent_of(v);
  p.mask_elements = call.mask_elements;
  p.tf32 = p.dtype == DType::f32 && allow_tf32();
}

struct FusedRule {
  Saved q, k, v, y, lse;
  SavedAttentionCall call;

  Gradients operator()(const Backward& b) const {
    AttentionCall c = call(b);
    if (b.creates_graph()) return attention_composed_gradients(q(b), k(b), v(b), b.grad(), c, b);
    const Tensor tq = q(b), tk = k(b), tv = v(b);
    Gradients d{empty_like_heads(tq, c), empty_like_heads(tk, c), empty_like_heads(tv, c)};
    attention_fused_backward(tq, tk, tv, y(b), lse(b), b.grad(), c, d[0], d[1], d[2]);
    return d;
  }
};

}  // namespace

SavedAttentionCall::SavedAttentionCall(const AttentionCall& call)
    : call_(call),
      mask_(call.extras.mask),
      q_first_(call.extras.q_first),
      k_first_(call.extras.k_first),
      q_length_(call.extras.q_length),
      k_length_(call.extras.k_length),
      alibi_(call.extras.alibi) {
  call_.extras = {};
}

AttentionCall SavedAttentionCall::operator()(const Backward& b) const {
  AttentionCall call = call_;
  call.extras = {mask_(b), q_first_(b), k_first_(b), q_length_(b), k_length_(b), {}, alibi_(b)};
  return call;
}

AttentionFused attention_fused(const Tensor& q, const Tensor& k, const Tensor& v, AttentionCall& call,
                               bool keep_lse) {
  const AttentionSizes& s = call.sizes;
  DeviceContext& context = q.context();
  AttentionFused out;
  out.y = call.by_rows() ? empty_on(context, {q.size(0), s.Hq, s.Dv}, q.dtype())
                         : empty_heads(context, s.B, s.Hq, s.Tq, s.Dv, q.dtype());
  if (keep_lse) out.lse = empty_on(context, {s.B, s.Hq, s.Tq}, accumulator_of(q.dtype()));
  if (call.empty() || k.numel() == 0 || q.numel() == 0) {
    if (out.y.numel() > 0) out.y.zero_();
    if (keep_lse && out.lse.numel() > 0) out.lse.fill_(-std::numeric_limits<double>::infinity());
    return out;
  }
  if (call.unchecked && call.by_rows()) out.y.zero_();  // starts may leave rows out
  AttentionProblem p{};
  set_common(p, q, k, v, call);
  p.y = out.y.data(), p.y_layout = layout_of(out.y, call.by_rows()), p.y_elements = extent_of(out.y);
  p.lse = keep_lse ? out.lse.data() : nullptr;
  const AttentionExtras& e = call.extras;
  execute(Tuned(kAttentionForward, p, context, describe).list(), p,
          {&q, &k, &v, &e.mask, &e.q_first, &e.k_first, &e.q_length, &e.k_length, &e.pages, &e.alibi},
          {&out.y, &out.lse});
  return out;
}

void attention_fused_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                              const Tensor& lse, const Tensor& dy_in, AttentionCall& call, Tensor& dq,
                              Tensor& dk, Tensor& dv) {
  if (call.empty() || k.numel() == 0 || q.numel() == 0 || call.unchecked)
    for (Tensor* d : {&dq, &dk, &dv})
      if (d->numel() > 0) d->zero_();
  if (call.empty() || k.numel() == 0 || q.numel() == 0) return;
  const Tensor dy = with_unit_stride(dy_in);
  AttentionBackwardProblem p{};
  set_common(p, q, k, v, call);
  const bool rows = call.by_rows();
  p.y = y.data(), p.dy = dy.data(), p.lse = lse.data();
  p.dq = dq.data(), p.dk = dk.data(), p.dv = dv.data();
  p.y_layout = layout_of(y, rows), p.dy_layout = layout_of(dy, rows);
  p.dq_layout = layout_of(dq, rows), p.dk_layout = layout_of(dk, rows), p.dv_layout = layout_of(dv, rows);
  p.y_elements = extent_of(y), p.dy_elements = extent_of(dy);
  p.dq_elements = extent_of(dq), p.dk_elements = extent_of(dk), p.dv_elements = extent_of(dv);
  const AttentionExtras& e = call.extras;
  execute(Tuned(kAttentionBackward, p, q.context(), describe).list(), p,
          {&q, &k, &v, &y, &dy, &lse, &e.mask, &e.q_first, &e.k_first, &e.q_length, &e.k_length, &e.alibi},
          {&dq, &dk, &dv});
}

AttentionFused attention_recorded(const Tensor& q_in, const Tensor& k_in, const Tensor& v_in,
                                  AttentionCall& call, bool keep_lse) {
  const Tensor q = with_unit_stride(q_in), k = with_unit_stride(k_in), v = with_unit_stride(v_in);
  const bool recorded = autograd::wanted(q, k, v);
  AttentionFused out = attention_fused(q, k, v, call, keep_lse || recorded);
  if (recorded)
    autograd::record(out.y, "attention", {&q, &k, &v},
                     FusedRule{Saved(q), Saved(k), Saved(v), Saved::output(out.y), Saved(out.lse),
                               SavedAttentionCall(call)});
  return out;
}

}  // namespace gpunn::detail
