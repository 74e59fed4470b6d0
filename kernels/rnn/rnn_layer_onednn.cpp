// oneDNN's f32 recurrent layers, one call on one thread for all steps: its own threading changes bits with
// the number of threads. It has no packed rows.
//
// Its GRU has the gates z r n, where ours are r z n, and with the reset after the product a fourth bias, the
// one that r multiplies. All other layers have one bias. Weights are put into the library's order in every
// call. It adds the gradients of the weights to what is there.
//
// What is kept: the library's workspace, and behind it the last cells, which its backward reads.
// The last states it asks for, too, and does not look at.
#include <algorithm>
#include <cstring>

#include "gpunn/kernels/rnn/rnn_layer_impl.h"
#include "gpunn/kernels/rnn/rnn_onednn_impl.h"

namespace gpunn {
namespace {

using onednn::library;
using onednn::plan_for;
using onednn::RnnPass;
using onednn::RnnPlan;
using onednn::Runner;
using onednn::Side;

std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
std::size_t floats(std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(float); }

/// Where everything lies in the workspace.
struct Room {
  Room(const RnnPlan& plan, const RnnSizes& s, std::int64_t K) {
    const std::int64_t gates = s.G() * s.H;
    const bool turned = s.mode == RnnMode::gru;
    scratch = take(plan.scratch_bytes);
    bias = take(floats(RnnPlan::bias_gates(s) * s.H));
    zeros = take(floats(s.B * s.H));
    plain = take(turned ? floats(gates * std::max(K, s.H)) : 0);
    w_ih = take(plan.w_ih.bytes());
    w_hh = take(plan.w_hh.bytes());
    dbias = take(floats(RnnPlan::bias_gates(s) * s.H));
    dw_ih = take(plan.dw_ih.bytes());
    dw_hh = take(plan.dw_hh.bytes());
  }
  std::size_t take(std::size_t bytes) {
    const std::size_t at = total;
    total += padded(bytes);
    return at;
  }

  std::size_t total = 0;
  std::size_t scratch, bias, zeros, plain, w_ih, w_hh, dbias, dw_ih, dw_hh;
};

/// Where gate g of ours is among the library's.
std::int64_t place_of(RnnMode mode, std::int64_t g) { return mode == RnnMode::gru && g < 2 ? 1 - g : g; }

/// What both directions do with the operands around the library's call.
template <class P>
class Call {
 public:
  Call(const P& p, const RnnPlan& plan, const Exec& exec)
      : p_(p),
        s_(p.sizes),
        plan_(plan),
        room_(plan, s_, p.K),
        base_(static_cast<char*>(exec.workspace)),
        runner_(base_ + room_.scratch) {
    set_bias();
    std::memset(base_ + room_.zeros, 0, floats(s_.B * s_.H));
    w_ih = give(plan.w_ih, p.w_ih, p.K, room_.w_ih);
    w_hh = give(plan.w_hh, p.w_hh, s_.H, room_.w_hh);
  }

  Runner& runner() { return runner_; }
  void* at(std::size_t offset) const { return base_ + offset; }
  const Room& room() const { return room_; }
  const void* bias() const { return at(room_.bias); }
  /// A state that may be absent.
  const void* state(const void* data) const { return data ? data : at(room_.zeros); }
  const void* cells(const void* data) const { return s_.has_cells() ? state(data) : nullptr; }

  /// A gradient of weights out of the library's order.
  void take(const Side& side, std::size_t from, void* to, std::int64_t n) {
    const bool turned = s_.mode == RnnMode::gru;
    const void* plain = at(from);
    if (side.reordered()) {
      void* const place = turned ? at(room_.plain) : to;
      runner_.reorder(side, false, at(from), place);
      plain = place;
    }
    if (plain != to) turn(static_cast<const float*>(plain), static_cast<float*>(to), n, false);
  }

  const void *w_ih = nullptr, *w_hh = nullptr;

 private:
  const void* give(const Side& side, const void* w, std::int64_t n, std::size_t to) {
    const void* plain = w;
    if (s_.mode == RnnMode::gru) {
      void* const place = side.reordered() ? at(room_.plain) : at(to);
      turn(static_cast<const float*>(w), static_cast<float*>(place), n, true);
      plain = place;
    }
    if (!side.reordered()) return plain;
    runner_.reorder(side, true, plain, at(to));
    return at(to);
  }

  /// Copies [G, H, n] with the gates in the library's order (`ours_first`), or back.
  void turn(const float* from, float* to, std::int64_t n, bool ours_first) const {
    const std::int64_t one = s_.H * n;
    for (std::int64_t g = 0; g < s_.G(); ++g) {
      const std::int64_t other = place_of(s_.mode, g);
      const std::int64_t a = ours_first ? g : other, b = ours_first ? other : g;
      std::memcpy(to + b * one, from + a * one, floats(one));
    }
  }

  void set_bias() const {
    const std::int64_t H = s_.H;
    auto* const bias = static_cast<float*>(at(room_.bias));
    std::fill_n(bias, RnnPlan::bias_gates(s_) * H, 0.0F);
    if (!p_.b_ih) return;
    const auto* const ih = static_cast<const float*>(p_.b_ih);
    const auto* const hh = static_cast<const float*>(p_.b_hh);
    const bool apart = RnnPlan::bias_gates(s_) > s_.G();
    for (std::int64_t g = 0; g < s_.G(); ++g)
      for (std::int64_t j = 0; j < H; ++j) {
        float& b = bias[place_of(s_.mode, g) * H + j];
        b = ih[g * H + j];
        (apart && g == 2 ? bias[3 * H + j] : b) += hh[g * H + j];
      }
  }

  const P& p_;
  const RnnSizes& s_;
  const RnnPlan& plan_;
  Room room_;
  char* base_;
  Runner runner_;
};

void give_biases(const RnnLayerBackwardProblem& p, const float* d) {
  const std::int64_t H = p.sizes.H;
  const bool apart = RnnPlan::bias_gates(p.sizes) > p.sizes.G();
  for (std::int64_t g = 0; g < p.sizes.G(); ++g)
    for (std::int64_t j = 0; j < H; ++j) {
      const float db = d[place_of(p.sizes.mode, g) * H + j];
      static_cast<float*>(p.db_ih)[g * H + j] = db;
      static_cast<float*>(p.db_hh)[g * H + j] = apart && g == 2 ? d[3 * H + j] : db;
    }
}

template <class P>
const char* reason_for(const P& p) {
  if (p.dtype != DType::f32) return "takes f32";
  if (p.host_first_row) return "takes sequences of one length";
  if (p.sizes.mode == RnnMode::relu) return "makes zeros of NaN in relu";
  if (p.K == 0) return "takes inputs of at least one feature";
  return library().engine ? nullptr : "needs libdnnl.so.2, which could not be opened";
}

constexpr const char* kNoPlan = "has no primitive for these sizes";

RnnPass pass_of(const RnnLayerForwardProblem& p) { return p.keep ? RnnPass::training : RnnPass::inference; }

/// Where the last cells lie in what is kept.
std::size_t cells_at(const RnnPlan& plan) { return padded(plan.kept_bytes); }

}  // namespace

const char* rnn_layer_fwd_onednn_reason(const RnnLayerForwardProblem& p) {
  if (p.gates) return "shows no gates";
  if (const char* const why = reason_for(p)) return why;
  if (!plan_for(pass_of(p), p.sizes, p.K)) return kNoPlan;
  // Nothing else can go on from what this forward keeps.
  return p.keep && !plan_for(RnnPass::backward, p.sizes, p.K) ? kNoPlan : nullptr;
}
const char* rnn_layer_bwd_onednn_reason(const RnnLayerBackwardProblem& p) {
  if (const char* const why = reason_for(p)) return why;
  return plan_for(RnnPass::backward, p.sizes, p.K) ? nullptr : kNoPlan;
}

std::size_t rnn_layer_fwd_onednn_workspace(const RnnLayerForwardProblem& p) {
  const auto plan = plan_for(pass_of(p), p.sizes, p.K);
  return plan ? Room(*plan, p.sizes, p.K).total : 0;
}
std::size_t rnn_layer_bwd_onednn_workspace(const RnnLayerBackwardProblem& p) {
  const auto plan = plan_for(RnnPass::backward, p.sizes, p.K);
  return plan ? Room(*plan, p.sizes, p.K).total : 0;
}

std::size_t rnn_layer_onednn_kept(const RnnLayerForwardProblem& p) {
  const auto plan = plan_for(RnnPass::training, p.sizes, p.K);
  if (!plan) return 0;
  return cells_at(*plan) + (p.sizes.has_cells() ? padded(floats(p.sizes.B * p.sizes.H)) : 0);
}

void rnn_layer_fwd_onednn(const RnnLayerForwardProblem& p, const Exec& exec) {
  const OneOnednnThread scope;
  const auto plan = plan_for(pass_of(p), p.sizes, p.K);
  Call call(p, *plan, exec);
  const auto* md = plan.get();
  call.runner().run(plan->layer, {{DNNL_ARG_SRC_LAYER, &md->x, p.x},
                                  {DNNL_ARG_SRC_ITER, &md->h, call.state(p.h0)},
                                  {DNNL_ARG_SRC_ITER_C, &md->h, call.cells(p.c0)},
                                  {DNNL_ARG_WEIGHTS_LAYER, &md->w_ih.wanted, call.w_ih},
                                  {DNNL_ARG_WEIGHTS_ITER, &md->w_hh.wanted, call.w_hh},
                                  {DNNL_ARG_BIAS, &md->bias, call.bias()},
                                  {DNNL_ARG_DST_LAYER, &md->y, p.y},
                                  {DNNL_ARG_DST_ITER, &md->h, p.hn},
                                  {DNNL_ARG_DST_ITER_C, &md->h, p.cn},
                                  {DNNL_ARG_WORKSPACE, &md->keeps, p.keep ? p.kept : nullptr}});
  if (p.keep && p.sizes.has_cells())
    std::memcpy(static_cast<char*>(p.kept) + cells_at(*plan), p.cn, floats(p.sizes.B * p.sizes.H));
}

void rnn_layer_bwd_onednn(const RnnLayerBackwardProblem& p, const Exec& exec) {
  const OneOnednnThread scope;
  const RnnSizes& s = p.sizes;
  const auto plan = plan_for(RnnPass::backward, s, p.K);
  Call call(p, *plan, exec);
  const Room& room = call.room();
  std::memset(call.at(room.dbias), 0, room.total - room.dbias);  // the last three
  const auto* md = plan.get();
  const auto* const hn = static_cast<const float*>(p.y) + (s.reverse ? 0 : (s.T - 1) * s.B * s.H);
  const void* const cn = s.has_cells() ? static_cast<const char*>(p.kept) + cells_at(*plan) : nullptr;
  call.runner().run(plan->layer, {{DNNL_ARG_SRC_LAYER, &md->x, p.x},
                                  {DNNL_ARG_SRC_ITER, &md->h, call.state(p.h0)},
                                  {DNNL_ARG_SRC_ITER_C, &md->h, call.cells(p.c0)},
                                  {DNNL_ARG_WEIGHTS_LAYER, &md->w_ih.wanted, call.w_ih},
                                  {DNNL_ARG_WEIGHTS_ITER, &md->w_hh.wanted, call.w_hh},
                                  {DNNL_ARG_BIAS, &md->bias, call.bias()},
                                  {DNNL_ARG_DST_LAYER, &md->y, p.y},
                                  {DNNL_ARG_DST_ITER, &md->h, hn},
                                  {DNNL_ARG_DST_ITER_C, &md->h, cn},
                                  {DNNL_ARG_WORKSPACE, &md->keeps, p.kept},
                                  {DNNL_ARG_DIFF_DST_LAYER, &md->y, p.dy},
                                  {DNNL_ARG_DIFF_DST_ITER, &md->h, call.state(p.dhn)},
                                  {DNNL_ARG_DIFF_DST_ITER_C, &md->h, call.cells(p.dcn)},
                                  {DNNL_ARG_DIFF_SRC_LAYER, &md->x, p.dx},
                                  {DNNL_ARG_DIFF_SRC_ITER, &md->h, p.dh0},
                                  {DNNL_ARG_DIFF_SRC_ITER_C, &md->h, p.dc0},
                                  {DNNL_ARG_DIFF_WEIGHTS_LAYER, &md->dw_ih.wanted, call.at(room.dw_ih)},
                                  {DNNL_ARG_DIFF_WEIGHTS_ITER, &md->dw_hh.wanted, call.at(room.dw_hh)},
                                  {DNNL_ARG_DIFF_BIAS, &md->dbias, call.at(room.dbias)}});
  if (!p.dw_ih) return;
  call.take(plan->dw_ih, room.dw_ih, p.dw_ih, p.K);
  call.take(plan->dw_hh, room.dw_hh, p.dw_hh, s.H);
  if (p.b_ih) give_biases(p, static_cast<const float*>(call.at(room.dbias)));
}

}  // namespace gpunn
