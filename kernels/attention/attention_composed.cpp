// The definition from public ops: product, bias, softmax, dropout, product. It stores what the fused op does
// not, and so has weights to show, gradients of masks, and second derivatives.
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"
#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/random/random_impl.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/softmax/softmax.h"

namespace gpunn::detail {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A sequence of the call, or all of them where they are of one length.
struct Part {
  std::int64_t first = 0, count = 0;   // sequences
  std::int64_t queries = 0, keys = 0;  // rows of q and of k
};

std::vector<std::int64_t> numbers_of(const Tensor& t) {
  return t.defined() ? t.to_vector<std::int64_t>() : std::vector<std::int64_t>();
}

/// The call's rule with its numbers on the host.
class HostRule {
 public:
  explicit HostRule(const AttentionCall& call)
      : q_first(numbers_of(call.extras.q_first)),
        k_first(numbers_of(call.extras.k_first)),
        q_length_(numbers_of(call.extras.q_length)),
        k_length_(numbers_of(call.extras.k_length)),
        sizes_(call.sizes),
        rule(call.rule) {
    if (call.extras.alibi.defined()) alibi = call.extras.alibi.to_vector<float>();
    rule.q_first = pointer(q_first), rule.k_first = pointer(k_first);
    rule.q_length = pointer(q_length_), rule.k_length = pointer(k_length_);
  }
  HostRule(const HostRule&) = delete;
  AttentionLengths lengths(std::int64_t b) const { return attention_lengths(rule, sizes_, b); }
  /// Do all sequences see the same?
  bool same_for_all() const { return q_length_.empty() && k_length_.empty(); }

  std::vector<std::int64_t> q_first, k_first;

 private:
  static const std::int64_t* pointer(const std::vector<std::int64_t>& v) {
    return v.empty() ? nullptr : v.data();
  }
  std::vector<std::int64_t> q_length_, k_length_;
  AttentionSizes sizes_;

 public:
  AttentionRule rule;
  std::vector<float> alibi;
};

/// bool [sequences or 1, 1, queries, keys]: true where causal, window or lengths hide; undefined: nowhere.
Tensor hidden_by_rule(const HostRule& host, const Part& part, const Tensor& like) {
  const AttentionRule& r = host.rule;
  if (host.same_for_all() && !r.causal && r.window == 0) return {};
  const std::int64_t B = host.same_for_all() ? 1 : part.count;
  const auto n = static_cast<std::size_t>(part.queries * part.keys);
  std::vector<std::uint8_t> hidden(static_cast<std::size_t>(B) * n, 1);
  for (std::int64_t b = 0; b < B; ++b) {
    const AttentionLengths lengths = host.lengths(part.first + b);
    for (std::int64_t i = 0; i < std::min(lengths.queries, part.queries); ++i) {
      const KeyRange keys = attention_keys(r, lengths, i);
      for (std::int64_t j = keys.begin; j < std::min(keys.end, part.keys); ++j)
        hidden[static_cast<std::size_t>(b) * n + static_cast<std::size_t>(i * part.keys + j)] = 0;
    }
  }
  const TensorOptions on_host{.dtype = DType::u8, .device = Device(like.context().runtime().cpu())};
  return Tensor::from(hidden, {B, 1, part.queries, part.keys}, on_host).to(like.device()).to(DType::boolean);
}

/// [sequences or 1, Hq, queries, keys] of the scores' dtype.
Tensor alibi_bias(const HostRule& host, const Part& part, const Tensor& like) {
  const std::int64_t B = host.same_for_all() ? 1 : part.count;
  const auto Hq = static_cast<std::int64_t>(host.alibi.size());
  std::vector<double> bias;
  bias.reserve(static_cast<std::size_t>(B * Hq * part.queries * part.keys));
  for (std::int64_t b = 0; b < B; ++b)
    for (const float slope : host.alibi)
      for (std::int64_t i = 0; i < part.queries; ++i) {
        const std::int64_t at = attention_position(host.rule, host.lengths(part.first + b), i);
        for (std::int64_t j = 0; j < part.keys; ++j)
          bias.push_back(-static_cast<double>(slope) * std::abs(static_cast<double>(at - j)));
      }
  const TensorOptions on_host{.dtype = DType::f64, .device = Device(like.context().runtime().cpu())};
  return Tensor::from(bias, {B, Hq, part.queries, part.keys}, on_host).to(like.dtype()).to(like.device());
}

/// 0 or 1 / (1 - p) for every weight, the numbers the fused op draws.
Tensor dropout_factors(const AttentionCall& call, const Part& part, const Tensor& like) {
  const AttentionSizes& s = call.sizes;
  const std::int64_t width = (s.Tk + 3) / 4 * 4, n = part.count * s.Hq * s.Tq * width;
  const Tensor all = ones({part.count, s.Hq, s.Tq, width}, {.dtype = like.dtype(), .device = like.device()});
  Tensor factors = empty_on(like.context(), all.shape(), like.dtype());
  const auto before = static_cast<std::uint64_t>(part.first * s.Hq * s.Tq * width);
  DropoutProblem p{like.dtype(),
                   all.data(),
                   factors.data(),
                   n,
                   call.dropout.seed,
                   call.dropout.offset + before / 4,
                   call.dropout.greatest_kept,
                   static_cast<double>(call.dropout.scale)};
  execute(kDropout, p, {&all}, {&factors});
  return factors.narrow(2, 0, part.queries).narrow(3, 0, part.keys);
}

/// Head h of the queries reads h / (Hq / Hkv) of these.
Tensor for_each_query_head(const Tensor& t, std::int64_t Hq) {
  const std::int64_t Hkv = t.size(1);
  if (Hkv == Hq) return t;
  const Shape each{t.size(0), Hkv, Hq / Hkv, t.size(2), t.size(3)};
  return expand(t.unsqueeze(2), each).reshape({t.size(0), Hq, t.size(2), t.size(3)});
}

/// Weights 0 and lse -inf where a row sees nothing: softmax of -inf alone is NaN, which the second fill
/// keeps from the result and from the gradients.
AttentionOutput compose(const Tensor& q_in, const Tensor& k_in, const Tensor& v_in, const AttentionCall& call,
                        const HostRule& host, const Part& part) {
  const DType dtype = q_in.dtype(), acc = accumulator_of(dtype);
  const std::int64_t Hq = call.sizes.Hq;
  const Tensor k = for_each_query_head(k_in.to(acc), Hq), v = for_each_query_head(v_in.to(acc), Hq);
  Tensor scores = matmul(q_in.to(acc), k.transpose(2, 3)) * call.scale;
  if (!host.alibi.empty()) scores = scores + alibi_bias(host, part, scores);
  std::vector<Tensor> hidden;
  if (call.mask.kind == AttentionMaskKind::boolean) hidden.push_back(logical_not(call.extras.mask));
  if (call.mask.kind == AttentionMaskKind::additive) {
    const Tensor mask = call.extras.mask.to(acc);
    hidden.push_back(eq(mask.detach(), -kInfinity));
    scores = scores + masked_fill(mask, hidden.back(), 0);
  }
  if (Tensor t = hidden_by_rule(host, part, scores); t.defined()) hidden.push_back(t);
  for (const Tensor& h : hidden) scores = masked_fill(scores, h, -kInfinity);
  Tensor weights = softmax(scores, -1);
  for (const Tensor& h : hidden) weights = masked_fill(weights, h, 0);
  AttentionOutput out;
  {
    const NoGrad off;
    out.lse = logsumexp(scores.detach(), {-1});
  }
  const Tensor kept = call.dropout.on ? weights * dropout_factors(call, part, weights) : weights;
  out.y = matmul(kept, v).to(dtype);
  out.weights = weights.to(dtype);
  return out;
}

}  // namespace

AttentionOutput attention_composed(const Tensor& q, const Tensor& k, const Tensor& v,
                                   const AttentionCall& call, bool need_weights) {
  const HostRule host(call);
  const AttentionSizes& s = call.sizes;
  if (!call.by_rows()) {
    AttentionOutput out = compose(q, k, v, call, host, {0, s.B, s.Tq, s.Tk});
    if (!need_weights) out.weights = {};
    return out;
  }
  std::vector<Tensor> parts;
  for (std::int64_t b = 0; b < s.B; ++b) {
    const AttentionLengths n = host.lengths(b);
    const auto heads = [](const Tensor& t, std::int64_t first, std::int64_t rows) {
      return t.narrow(0, rows > 0 ? first : 0, rows).transpose(0, 1).unsqueeze(0);
    };
    const auto at = static_cast<std::size_t>(b);
    const AttentionOutput one =
        compose(heads(q, host.q_first[at], n.queries), heads(k, host.k_first[at], n.keys),
                heads(v, host.k_first[at], n.keys), call, host, {b, 1, n.queries, n.keys});
    parts.push_back(one.y.squeeze(0).transpose(0, 1));
  }
  return {cat(parts, 0), {}, {}};
}

Gradients attention_composed_gradients(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& dy,
                                       const AttentionCall& call, const Backward& b) {
  // Views of the inputs end the inner walk: one input may depend on another.
  const std::array<const Tensor*, 3> inputs{&q, &k, &v};
  std::array<Tensor, 3> ends;
  std::vector<Tensor> wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ends[i] = inputs[i]->narrow(0, 0, inputs[i]->size(0));
    if (b.needs(i)) wanted.push_back(ends[i]);
  }
  const Tensor y = attention_composed(ends[0], ends[1], ends[2], call, false).y;
  const std::vector<Tensor> found = autograd::grad({{y}}, wanted, {{dy}}, true, true, true);
  Gradients out(inputs.size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (b.needs(i)) out[i] = found[next++];
  return out;
}

}  // namespace gpunn::detail
