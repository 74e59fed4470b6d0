#include "gpunn/kernels/attention/attention.h"

#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"

namespace gpunn {
namespace {

using detail::AttentionCall;
using detail::AttentionFused;

void check_tensors(const Tensor& q, const Tensor& k, const Tensor& v) {
  check_floating(q, "q");
  check_floating(k, "k");
  check_floating(v, "v");
  check_same(q, "q", k, "k");
  check_same(q, "q", v, "v");
}

bool wants_mask_gradient(const AttentionOptions& options) {
  return options.mask.defined() && autograd::wanted(options.mask);
}

/// Heads [B, H, T, D].
AttentionOutput attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                       bool keep_lse, bool need_weights) {
  AttentionCall call;
  call.sizes = detail::check_attention_heads(q, k, v);
  detail::set_attention_options(call, q, options);
  detail::draw_attention_dropout(call, q, options.dropout_p);
  if (need_weights || wants_mask_gradient(options))
    return detail::attention_composed(q, k, v, call, need_weights);
  AttentionFused out = detail::attention_recorded(q, k, v, call, keep_lse);
  return {std::move(out.y), keep_lse ? std::move(out.lse) : Tensor(), {}};
}

/// One head: a mask [B, Tq, Tk] gets the dimension of heads too.
AttentionOutput attend_one_head(const Tensor& q, const Tensor& k, const Tensor& v, AttentionOptions options,
                                bool keep_lse, bool need_weights) {
  if (options.mask.defined()) {
    GPUNN_CHECK(options.mask.dim() <= 3, "expected a mask that broadcasts to [", q.size(0), ", ", q.size(1),
                ", ", k.size(1), "], got ", options.mask.shape());
    if (options.mask.dim() == 3) options.mask = options.mask.unsqueeze(1);
  }
  AttentionOutput out =
      attend(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), options, keep_lse, need_weights);
  out.y = out.y.squeeze(1);
  if (out.lse.defined()) out.lse = out.lse.squeeze(1);
  if (out.weights.defined()) out.weights = out.weights.squeeze(1);
  return out;
}

AttentionOutput attend_any(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                           bool keep_lse, bool need_weights) {
  check_tensors(q, k, v);
  if (q.dim() == 3 && k.dim() == 3 && v.dim() == 3)
    return attend_one_head(q, k, v, options, keep_lse, need_weights);
  return attend(q, k, v, options, keep_lse, need_weights);
}

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  OpScope scope("scaled_dot_product_attention");
  return attend_any(q, k, v, options, false, false).y;
}

AttentionOutput attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                          bool need_weights) {
  OpScope scope("attention");
  return attend_any(q, k, v, options, true, need_weights);
}

}  // namespace gpunn
