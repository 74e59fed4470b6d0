// Self-attention straight from one projection's rows, with one gradient for all three.
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"

namespace gpunn {
namespace {

using detail::AttentionCall;

/// q, k or v in [B, T, (Hq + 2 Hkv) D].
struct Heads {
  Tensor q, k, v;
};

/// Views without history.
Heads split_raw(const Tensor& qkv, const AttentionSizes& s) {
  const std::int64_t sb = qkv.strides()[0], st = qkv.strides()[1];
  const auto part = [&](std::int64_t heads, std::int64_t first) {
    return detail::raw_view(qkv, {s.B, heads, s.Tq, s.D}, {sb, s.D, st, 1}, first * s.D);
  };
  return {part(s.Hq, 0), part(s.Hkv, s.Hq), part(s.Hkv, s.Hq + s.Hkv)};
}

/// Views that gradients go through.
Heads split(const Tensor& qkv, const AttentionSizes& s) {
  const auto part = [&](std::int64_t heads, std::int64_t first) {
    return qkv.narrow(2, first * s.D, heads * s.D).reshape({s.B, s.Tq, heads, s.D}).transpose(1, 2);
  };
  return {part(s.Hq, 0), part(s.Hkv, s.Hq), part(s.Hkv, s.Hq + s.Hkv)};
}

Tensor join(const Tensor& y, const AttentionSizes& s) {
  return y.transpose(1, 2).reshape({s.B, s.Tq, s.Hq * s.Dv});
}

/// [B, Hq, T, Dv] of joined heads; a view, or a copy where that is none.
Tensor split_joined(const Tensor& t, const AttentionSizes& s) {
  const Tensor rows = detail::with_unit_stride(t);
  return detail::raw_view(rows, {s.B, s.Hq, s.Tq, s.Dv}, {rows.strides()[0], s.Dv, rows.strides()[1], 1}, 0);
}

Tensor composed(const Tensor& qkv, const AttentionCall& call) {
  const Heads h = split(qkv, call.sizes);
  return join(detail::attention_composed(h.q, h.k, h.v, call, false).y, call.sizes);
}

struct PackedRule {
  Saved qkv, y, lse;  // y [B, T, Hq D]
  detail::SavedAttentionCall call;

  Gradients operator()(const Backward& b) const {
    AttentionCall c = call(b);
    const Tensor x = qkv(b);
    if (b.creates_graph()) {
      const Tensor end = x.narrow(0, 0, x.size(0));  // ends the inner walk
      return autograd::grad({{composed(end, c)}}, {{end}}, {{b.grad()}}, true, true, true);
    }
    Tensor dx = empty_on(x.context(), x.shape(), x.dtype());
    const Heads in = split_raw(x, c.sizes);
    Heads d = split_raw(dx, c.sizes);
    // Forced references and shadow runs copy whole outputs, which must not lie in one another then.
    const bool apart = !detail::plain_choice(x.context());
    const Heads places = d;
    if (apart) d = {empty_like(d.q), empty_like(d.k), empty_like(d.v)};
    detail::attention_fused_backward(in.q, in.k, in.v, split_joined(y(b), c.sizes), lse(b),
                                     split_joined(b.grad(), c.sizes), c, d.q, d.k, d.v);
    if (apart) places.q.copy_(d.q), places.k.copy_(d.k), places.v.copy_(d.v);
    return {dx};
  }
};

AttentionSizes check_packed(const Tensor& qkv, std::int64_t heads, std::int64_t kv_heads) {
  check_floating(qkv, "qkv");
  GPUNN_CHECK(heads >= 1 && kv_heads >= 1, "expected 1 head or more, got ", heads, " and ", kv_heads);
  const std::int64_t all = checked_add(heads, checked_mul(2, kv_heads));
  GPUNN_CHECK(qkv.dim() == 3 && qkv.size(2) >= all && qkv.size(2) % all == 0, "expected qkv [B, T, ", all,
              " D], got ", qkv.shape());
  const std::int64_t T = qkv.size(1), D = qkv.size(2) / all;
  return {qkv.size(0), heads, kv_heads, T, T, D, D};
}

}  // namespace

Tensor attention_packed_qkv(const Tensor& qkv, std::int64_t heads, std::int64_t kv_heads,
                            const AttentionOptions& options) {
  OpScope scope("attention_packed_qkv");
  AttentionCall call;
  call.sizes = check_packed(qkv, heads, kv_heads);
  detail::set_attention_options(call, qkv, options);
  detail::draw_attention_dropout(call, qkv, options.dropout_p);
  if (options.mask.defined() && autograd::wanted(options.mask)) return composed(qkv, call);
  const Tensor x = detail::with_unit_stride(qkv);
  const bool recorded = autograd::wanted(x);
  const Heads in = split_raw(x, call.sizes);
  detail::AttentionFused out = detail::attention_fused(in.q, in.k, in.v, call, recorded);
  const AttentionSizes& s = call.sizes;
  const std::int64_t row = s.Hq * s.Dv;
  Tensor y = detail::raw_view(out.y, {s.B, s.Tq, row}, {s.Tq * row, row, 1}, 0);
  if (recorded)
    autograd::record(
        y, "attention_packed_qkv", {&x},
        PackedRule{Saved(x), Saved::output(y), Saved(out.lse), detail::SavedAttentionCall(call)});
  return y;
}

}  // namespace gpunn
