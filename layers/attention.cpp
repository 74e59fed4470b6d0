#include "gpunn/layers/attention.h"

#include <limits>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/attention/attention.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/detail/call_observer.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/kv_cache.h"

namespace gpunn {

namespace {

constexpr double kHidden = -std::numeric_limits<double>::infinity();

std::string shape_of(const Tensor& x) {
  return x.defined() ? to_string(x.shape()) : std::string("an undefined tensor");
}

/// Elements [first, first + n) of the rows of a weight or of a bias; undefined stays so.
Tensor rows(const Tensor& w, std::int64_t first, std::int64_t n) {
  return w.defined() ? w.narrow(0, first, n) : w;
}

/// [N, T, H D] as [N, H, T, D], in place.
Tensor split_heads(const Tensor& x, std::int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

/// [N, H, T, D] as [N, T, H D].
Tensor join_heads(const Tensor& x) {
  const Tensor t = x.transpose(1, 2);
  return t.reshape({t.size(0), t.size(1), t.size(2) * t.size(3)});
}

bool is_bool(const Tensor& mask) { return mask.dtype() == DType::boolean; }

void check_mask(const char* name, const Tensor& mask, const Tensor& like) {
  GPUNN_CHECK(mask.dtype() == DType::boolean || mask.dtype() == like.dtype(), "expected ", name,
              " of bool or the queries' dtype ", like.dtype(), ", got ", mask.dtype(), "; .to() converts it");
  GPUNN_CHECK(mask.device() == like.device(), "expected ", name, " on ", like.device(), ", got ",
              mask.device());
}

/// What hides a key in either; floating ones add up. Both broadcast to [N, H, L, S]; either may be undefined.
Tensor both(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return b;
  if (!b.defined()) return a;
  if (is_bool(a) && is_bool(b)) return logical_or(a, b);
  if (is_bool(a)) return where(a, kHidden, b);
  if (is_bool(b)) return where(b, kHidden, a);
  return a + b;
}

/// [L, S], true behind the diagonal.
Tensor causal_mask(std::int64_t L, std::int64_t S, Device device) {
  std::vector<std::uint8_t> hidden(static_cast<std::size_t>(L * S));
  for (std::int64_t i = 0; i < L; ++i)
    for (std::int64_t j = i + 1; j < S; ++j) hidden[static_cast<std::size_t>(i * S + j)] = 1;
  return Tensor::from(hidden, {L, S}).to(DType::boolean).to(device);
}

std::int64_t or_default(std::int64_t size, std::int64_t otherwise) { return size == 0 ? otherwise : size; }

Linear checked_out_proj(std::int64_t E, std::int64_t heads, const MultiheadAttentionOptions& o) {
  OpScope scope("multihead_attention");
  GPUNN_CHECK(E >= 1 && heads >= 1, "expected embed_dim and num_heads of at least 1, got ", E, " and ",
              heads);
  GPUNN_CHECK(E % heads == 0, "expected num_heads that divides embed_dim ", E, ", got ", heads);
  GPUNN_CHECK(o.num_kv_heads >= 0 && heads % or_default(o.num_kv_heads, heads) == 0,
              "expected num_kv_heads that divides num_heads ", heads, ", got ", o.num_kv_heads);
  GPUNN_CHECK(o.kdim >= 0 && o.vdim >= 0, "expected kdim and vdim of at least 1, or 0 for embed_dim, got ",
              o.kdim, " and ", o.vdim);
  GPUNN_CHECK(o.dropout >= 0 && o.dropout < 1, "expected a dropout probability in [0, 1), got ", o.dropout);
  return {E, E, o.bias};
}

}  // namespace

MultiheadAttention::MultiheadAttention(std::int64_t embed_dim, std::int64_t num_heads,
                                       const MultiheadAttentionOptions& options)
    : out_proj(checked_out_proj(embed_dim, num_heads, options)),
      E_(embed_dim),
      heads_(num_heads),
      kv_heads_(or_default(options.num_kv_heads, num_heads)),
      options_(options) {
  options_.kdim = or_default(options.kdim, E_);
  options_.vdim = or_default(options.vdim, E_);
  const std::int64_t kv = kv_heads_ * head_dim();
  {
    const MemoryTagScope tag(MemoryTag::weights);
    if (options_.kdim == E_ && options_.vdim == E_) {
      in_proj_weight = Parameter(empty({E_ + 2 * kv, E_}));
    } else {
      q_proj_weight = Parameter(empty({E_, E_}));
      k_proj_weight = Parameter(empty({kv, options_.kdim}));
      v_proj_weight = Parameter(empty({kv, options_.vdim}));
    }
    if (options.bias) in_proj_bias = Parameter(empty({E_ + 2 * kv}));
    if (options.add_bias_kv) {
      bias_k = Parameter(empty({1, 1, kv}));
      bias_v = Parameter(empty({1, 1, kv}));
    }
  }
  reset_parameters();
}

void MultiheadAttention::reset_parameters() {
  for (const Tensor* w : {&in_proj_weight, &q_proj_weight, &k_proj_weight, &v_proj_weight})
    if (w->defined()) init::xavier_uniform(*w);
  if (in_proj_bias.defined()) {
    init::zeros(in_proj_bias);
    init::zeros(out_proj.bias);
  }
  for (const Tensor* b : {&bias_k, &bias_v})
    if (b->defined()) init::xavier_normal(*b);
}

double MultiheadAttention::flops(const Shape& x, const Shape&) const {
  double weights = static_cast<double>(out_proj.weight.numel());
  for (const Tensor* w : {&in_proj_weight, &q_proj_weight, &k_proj_weight, &v_proj_weight})
    if (w->defined()) weights += static_cast<double>(w->numel());
  const auto rows = static_cast<double>(x.numel() / E_);
  const auto T = static_cast<double>(x[x.rank() == 2 || !options_.batch_first ? 0 : 1]);
  return 2 * rows * (weights + 2 * T * static_cast<double>(E_));
}

void MultiheadAttention::check_input(const Tensor& query, const Tensor& key, const Tensor& value) const {
  const auto check = [&](const char* name, const Tensor& x, const char* length, std::int64_t features) {
    GPUNN_CHECK(x.defined() && (x.dim() == 2 || x.dim() == 3) && x.size(-1) == features, "expected ", name,
                options_.batch_first ? " [N, " : " [", length, options_.batch_first ? ", " : ", N, ",
                features, "] or [", length, ", ", features, "], got ", shape_of(x));
  };
  check("query", query, "L", E_);
  check("key", key, "S", options_.kdim);
  check("value", value, "S", options_.vdim);
  GPUNN_CHECK(key.dim() == query.dim() && value.dim() == query.dim(),
              "expected query, key and value all with a batch or all without, got ", shape_of(query), ", ",
              shape_of(key), " and ", shape_of(value));
  const bool single = query.dim() == 2;
  const int batch = options_.batch_first ? 0 : 1, time = single ? 0 : 1 - batch;
  GPUNN_CHECK(key.size(time) == value.size(time), "expected as many values as keys, got key ", shape_of(key),
              " and value ", shape_of(value));
  GPUNN_CHECK(single || (key.size(batch) == query.size(batch) && value.size(batch) == query.size(batch)),
              "expected query, key and value of one batch, got ", shape_of(query), ", ", shape_of(key),
              " and ", shape_of(value));
}

/// Either qkv [N, T, (H + 2 Hkv) D], or the three [N, T, H D].
struct MultiheadAttention::Projected {
  Tensor qkv, q, k, v;
};

MultiheadAttention::Projected MultiheadAttention::project(const Tensor& query, const Tensor& key,
                                                          const Tensor& value) const {
  const std::int64_t kv = kv_heads_ * head_dim();
  const Tensor& b = in_proj_bias;
  if (!in_proj_weight.defined())
    return {.qkv = {},
            .q = linear(query, q_proj_weight, rows(b, 0, E_)),
            .k = linear(key, k_proj_weight, rows(b, E_, kv)),
            .v = linear(value, v_proj_weight, rows(b, E_ + kv, kv))};
  const Tensor& w = in_proj_weight;
  if (query.is_same(key) && key.is_same(value))
    return {.qkv = linear(query, w, b), .q = {}, .k = {}, .v = {}};
  Projected out{.qkv = {}, .q = linear(query, rows(w, 0, E_), rows(b, 0, E_)), .k = {}, .v = {}};
  if (key.is_same(value)) {
    const Tensor pair = linear(key, rows(w, E_, 2 * kv), rows(b, E_, 2 * kv));
    out.k = pair.narrow(-1, 0, kv);
    out.v = pair.narrow(-1, kv, kv);
  } else {
    out.k = linear(key, rows(w, E_, kv), rows(b, E_, kv));
    out.v = linear(value, rows(w, E_ + kv, kv), rows(b, E_ + kv, kv));
  }
  return out;
}

/// k, v [N, S, Hkv D] with the layer's own keys and values behind.
void MultiheadAttention::add_keys(Tensor& k, Tensor& v) const {
  const std::int64_t N = k.size(0);
  std::vector<Tensor> keys{k}, values{v};
  if (bias_k.defined()) {
    keys.push_back(repeat(bias_k, {N, 1, 1}));
    values.push_back(repeat(bias_v, {N, 1, 1}));
  }
  if (options_.add_zero_attn) {
    keys.push_back(zeros({N, 1, k.size(2)}, {.dtype = k.dtype(), .device = k.device()}));
    values.push_back(keys.back());
  }
  k = cat(keys, 1);
  v = cat(values, 1);
}

/// The op's mask: bool true = may be seen, or floating. Undefined when nothing but the op's own rules hides.
Tensor MultiheadAttention::mask_of(const MultiheadAttentionCall& call, std::int64_t N, std::int64_t L,
                                   std::int64_t S, const Tensor& like) const {
  Tensor hidden = call.attn_mask;
  if (hidden.defined()) {
    check_mask("attn_mask", hidden, like);
    const bool each = hidden.dim() == 3;
    GPUNN_CHECK(hidden.shape() == (each ? Shape{N * heads_, L, S} : Shape{L, S}), "expected attn_mask [", L,
                ", ", S, "] or [", N * heads_, ", ", L, ", ", S, "], got ", shape_of(hidden));
    if (each) hidden = hidden.reshape({N, heads_, L, S});
  }
  if (Tensor padding = call.key_padding_mask; padding.defined()) {
    check_mask("key_padding_mask", padding, like);
    GPUNN_CHECK(padding.shape() == (Shape{N, S}), "expected key_padding_mask [", N, ", ", S, "], got ",
                shape_of(padding));
    hidden = both(hidden, padding.reshape({N, 1, 1, S}));
  }
  const std::int64_t own = (bias_k.defined() ? 1 : 0) + (options_.add_zero_attn ? 1 : 0);
  if (own > 0) {
    // The op's own causal rule would hide the keys behind.
    if (call.is_causal) hidden = both(hidden, causal_mask(L, S, like.device()));
    if (hidden.defined()) hidden = pad(hidden, {0, own});
  }
  return hidden.defined() && is_bool(hidden) ? logical_not(hidden) : hidden;
}

// q, k, v [N, T, *].
MultiheadAttentionOutput MultiheadAttention::run(const Tensor& query, const Tensor& key, const Tensor& value,
                                                 const MultiheadAttentionCall& call) const {
  const bool own_keys = bias_k.defined() || options_.add_zero_attn;
  const std::int64_t kv = kv_heads_ * head_dim();
  AttentionOptions how;
  how.mask = mask_of(call, query.size(0), query.size(1), key.size(1), query);
  how.causal = call.is_causal && !own_keys;
  how.dropout_p = is_training() ? options_.dropout : 0;
  Projected p = project(query, key, value);
  if (p.qkv.defined() && !call.need_weights && !own_keys)
    return {attention_packed_qkv(p.qkv, heads_, kv_heads_, how), {}};
  if (p.qkv.defined()) {
    p.q = p.qkv.narrow(-1, 0, E_);
    p.k = p.qkv.narrow(-1, E_, kv);
    p.v = p.qkv.narrow(-1, E_ + kv, kv);
  }
  if (own_keys) add_keys(p.k, p.v);
  const AttentionOutput out = attention(split_heads(p.q, heads_), split_heads(p.k, kv_heads_),
                                        split_heads(p.v, kv_heads_), how, call.need_weights);
  return {join_heads(out.y), out.weights};
}

MultiheadAttentionOutput MultiheadAttention::forward(const Tensor& query, const Tensor& key,
                                                     const Tensor& value,
                                                     const MultiheadAttentionCall& call) {
  OpScope scope("multihead_attention");
  check_input(query, key, value);
  const bool single = query.dim() == 2;
  const bool swap = !single && !options_.batch_first;
  // Inside, the batch comes first; one tensor given three times stays one.
  const auto inside = [&](const Tensor& x) { return single ? x.unsqueeze(0) : swap ? x.transpose(0, 1) : x; };
  const Tensor q = inside(query), k = key.is_same(query) ? q : inside(key),
               v = value.is_same(key) ? k : inside(value);
  MultiheadAttentionCall own = call;
  if (single && own.key_padding_mask.defined()) {
    GPUNN_CHECK(own.key_padding_mask.dim() == 1, "expected key_padding_mask [", k.size(1),
                "] without a batch, got ", shape_of(own.key_padding_mask));
    own.key_padding_mask = own.key_padding_mask.unsqueeze(0);
  }
  MultiheadAttentionOutput out = run(q, k, v, own);
  out.y = out_proj(out.y);
  if (out.weights.defined() && call.average_attn_weights) out.weights = mean(out.weights, {1});
  if (swap) out.y = out.y.transpose(0, 1);
  if (single) out.y = out.y.squeeze(0);
  if (single && out.weights.defined()) out.weights = out.weights.squeeze(0);
  return out;
}

Tensor MultiheadAttention::forward(const Tensor& x, KvCache& cache, std::int64_t layer) {
  OpScope scope("multihead_attention");
  GPUNN_CHECK(x.defined() && x.dim() == 3 && x.size(2) == E_, "expected input [N, T, ", E_, "], got ",
              shape_of(x));
  GPUNN_CHECK(in_proj_weight.defined() && !bias_k.defined() && !options_.add_zero_attn,
              "expected attention without keys of its own, kdim and vdim for a cache");
  const NoGrad off;
  const std::int64_t kv = kv_heads_ * head_dim();
  const Tensor qkv = linear(x, in_proj_weight, in_proj_bias);
  const auto heads = [&](std::int64_t first) {
    return qkv.narrow(-1, first, kv).reshape({x.size(0), x.size(1), kv_heads_, head_dim()});
  };
  cache.append(layer, heads(E_), heads(E_ + kv));
  return out_proj(join_heads(cache.attend(layer, split_heads(qkv.narrow(-1, 0, E_), heads_))));
}

MultiheadAttentionOutput MultiheadAttention::operator()(const Tensor& query, const Tensor& key,
                                                        const Tensor& value,
                                                        const MultiheadAttentionCall& call) {
  const ModuleScope scope(*this);
  // Who looks on wants shapes and costs; masks change neither.
  detail::CallObserver* const observer = detail::call_observer();
  if (observer && query.is_same(key) && key.is_same(value) && !call.need_weights) [[unlikely]]
    return {observer->call(*this, query), {}};
  return forward(query, key, value, call);
}

Tensor MultiheadAttention::operator()(const Tensor& x, KvCache& cache, std::int64_t layer) {
  const ModuleScope scope(*this);
  return forward(x, cache, layer);
}

}  // namespace gpunn
