// Descriptors of oneDNN's recurrent layers. Weights are asked for in the order that the library wants; all
// else is plain, and there is always a bias.
#include <algorithm>

#include "gpunn/kernels/rnn/rnn_onednn_impl.h"

namespace gpunn::onednn {
namespace {

struct Key {
  RnnPass pass;
  RnnSizes sizes;
  std::int64_t K;
  bool operator==(const Key&) const = default;
};

class Builder {
 public:
  Builder(RnnPlan& plan, RnnPass pass, const RnnSizes& s, std::int64_t K)
      : plan_(plan),
        pass_(pass),
        s_(s),
        direction_(s.reverse ? dnnl_unidirectional_right2left : dnnl_unidirectional_left2right) {
    need(library().dnnl_primitive_attr_create(&attributes_.value));
    need(library().dnnl_primitive_attr_set_scratchpad_mode(attributes_.value, dnnl_scratchpad_mode_user));
    describe(plan.x, {s.T, s.B, K}, dnnl_tnc);
    describe(plan.y, {s.T, s.B, s.H}, dnnl_tnc);
    describe(plan.h, {1, 1, s.B, s.H}, dnnl_ldnc);
    describe(plan.bias, {1, 1, RnnPlan::bias_gates(s), s.H}, dnnl_ldgo);
    plan.dbias = plan.bias;
    weights(plan.w_ih, K);
    weights(plan.w_hh, s.H);
    if (pass != RnnPass::backward) return;
    weights(plan.dw_ih, K);
    weights(plan.dw_hh, s.H);
  }

  void build() {
    Descriptor forward;
    dnnl_rnn_desc_t d =
        forward_desc(pass_ == RnnPass::inference ? dnnl_forward_inference : dnnl_forward_training);
    need(library().dnnl_primitive_desc_create(&forward.value, &d, attributes_.value, library().engine,
                                              nullptr));
    if (pass_ != RnnPass::inference) take_kept(forward.value);
    if (pass_ != RnnPass::backward) return finish(forward.value);
    Descriptor backward;
    d = backward_desc();
    need(library().dnnl_primitive_desc_create(&backward.value, &d, attributes_.value, library().engine,
                                              forward.value));
    finish(backward.value);
  }

 private:
  /// As we hold them [G, H, n], which is l d g o i; the library counts l d i g o.
  void weights(Side& side, std::int64_t n) const {
    describe(side.plain, {1, 1, n, s_.G(), s_.H}, dnnl_ldgoi);
    describe(side.wanted, {1, 1, n, s_.G(), s_.H}, dnnl_format_tag_any);
  }

  dnnl_rnn_desc_t forward_desc(dnnl_prop_kind_t kind) const {
    const Library& l = library();
    const RnnPlan& p = plan_;
    dnnl_rnn_desc_t d{};
    if (s_.mode == RnnMode::lstm)
      need(l.dnnl_lstm_forward_desc_init(&d, kind, direction_, &p.x, &p.h, &p.h, &p.w_ih.wanted,
                                         &p.w_hh.wanted, &p.bias, &p.y, &p.h, &p.h, 0));
    else if (s_.mode == RnnMode::gru)
      need((s_.reset_after ? l.dnnl_lbr_gru_forward_desc_init : l.dnnl_gru_forward_desc_init)(
          &d, kind, direction_, &p.x, &p.h, &p.w_ih.wanted, &p.w_hh.wanted, &p.bias, &p.y, &p.h, 0));
    else
      need(l.dnnl_vanilla_rnn_forward_desc_init(&d, kind, dnnl_eltwise_tanh, direction_, &p.x, &p.h,
                                                &p.w_ih.wanted, &p.w_hh.wanted, &p.bias, &p.y, &p.h, 0, 0,
                                                0));
    return d;
  }

  dnnl_rnn_desc_t backward_desc() const {
    const Library& l = library();
    const RnnPlan& p = plan_;
    constexpr dnnl_prop_kind_t kind = dnnl_backward;
    dnnl_rnn_desc_t d{};
    if (s_.mode == RnnMode::lstm)
      need(l.dnnl_lstm_backward_desc_init(&d, kind, direction_, &p.x, &p.h, &p.h, &p.w_ih.wanted,
                                          &p.w_hh.wanted, &p.bias, &p.y, &p.h, &p.h, &p.x, &p.h, &p.h,
                                          &p.dw_ih.wanted, &p.dw_hh.wanted, &p.dbias, &p.y, &p.h, &p.h, 0));
    else if (s_.mode == RnnMode::gru)
      need((s_.reset_after ? l.dnnl_lbr_gru_backward_desc_init : l.dnnl_gru_backward_desc_init)(
          &d, kind, direction_, &p.x, &p.h, &p.w_ih.wanted, &p.w_hh.wanted, &p.bias, &p.y, &p.h, &p.x, &p.h,
          &p.dw_ih.wanted, &p.dw_hh.wanted, &p.dbias, &p.y, &p.h, 0));
    else
      need(l.dnnl_vanilla_rnn_backward_desc_init(
          &d, kind, dnnl_eltwise_tanh, direction_, &p.x, &p.h, &p.w_ih.wanted, &p.w_hh.wanted, &p.bias, &p.y,
          &p.h, &p.x, &p.h, &p.dw_ih.wanted, &p.dw_hh.wanted, &p.dbias, &p.y, &p.h, 0, 0, 0));
    return d;
  }

  void take_kept(const_dnnl_primitive_desc_t pd) {
    plan_.keeps = *library().dnnl_primitive_desc_query_md(pd, dnnl_query_workspace_md, 0);
    plan_.kept_bytes = library().dnnl_memory_desc_get_size(&plan_.keeps);
  }

  void finish(const_dnnl_primitive_desc_t pd) {
    scratch(plan_.layer.make(pd));
    // The library numbers weights in the order of its descriptors.
    connect(plan_.w_ih, pd, dnnl_query_weights_md, 0, true);
    connect(plan_.w_hh, pd, dnnl_query_weights_md, 1, true);
    if (pass_ != RnnPass::backward) return;
    connect(plan_.dw_ih, pd, dnnl_query_diff_weights_md, 0, false);
    connect(plan_.dw_hh, pd, dnnl_query_diff_weights_md, 1, false);
  }

  void connect(Side& side, const_dnnl_primitive_desc_t pd, dnnl_query_t query, int index, bool input) {
    scratch(side.connect(pd, query, index, input, attributes_.value));
  }
  void scratch(std::size_t bytes) { plan_.scratch_bytes = std::max(plan_.scratch_bytes, bytes); }

  RnnPlan& plan_;
  RnnPass pass_;
  const RnnSizes& s_;
  dnnl_rnn_direction_t direction_;
  Attributes attributes_;
};

}  // namespace

std::shared_ptr<const RnnPlan> plan_for(RnnPass pass, const RnnSizes& sizes, std::int64_t K) {
  static auto& cache = *new PlanCache<Key, RnnPlan>;
  return cache.get({pass, sizes, K}, [&](RnnPlan& plan) { Builder(plan, pass, sizes, K).build(); });
}

}  // namespace gpunn::onednn
