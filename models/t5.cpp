#include "gpunn/models/t5.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/models/detail/causal.h"

namespace gpunn {
namespace {

const T5Options& checked(const T5Options& o) {
  GPUNN_CHECK(o.vocabulary >= 1 && o.features >= 1 && o.head_features >= 1 && o.heads >= 1 && o.inner >= 1 &&
                  o.layers >= 1,
              "expected sizes of at least 1");
  GPUNN_CHECK(o.buckets >= 4 && o.buckets % 2 == 0 && o.max_distance > o.buckets / 2,
              "expected an even number of at least 4 buckets and a max_distance above half of it, got ",
              o.buckets, " and ", o.max_distance);
  GPUNN_CHECK(o.dropout >= 0 && o.dropout < 1, "expected dropout in [0, 1), got ", o.dropout);
  return o;
}

/// Near distances have a bucket each, far ones share buckets that grow with the logarithm. Both ways: half of
/// the buckets for keys behind the query.
std::int64_t bucket_of(std::int64_t distance, std::int64_t buckets, std::int64_t max_distance,
                       bool both_ways) {
  std::int64_t first = 0;
  if (both_ways) {
    buckets /= 2;
    if (distance > 0) first = buckets;
    distance = std::abs(distance);
  } else {
    distance = std::max<std::int64_t>(-distance, 0);
  }
  const std::int64_t exact = buckets / 2;
  if (distance < exact) return first + distance;
  const double grown = std::log(static_cast<double>(distance) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact));
  const auto further = static_cast<std::int64_t>(grown * static_cast<double>(buckets - exact));
  return first + std::min(exact + further, buckets - 1);
}

std::vector<T5Block> make_blocks(const T5Options& o, bool decoder) {
  std::vector<T5Block> blocks;
  blocks.reserve(static_cast<std::size_t>(o.layers));
  for (std::int64_t i = 0; i < o.layers; ++i) blocks.emplace_back(o, decoder, i == 0);
  return blocks;
}

double part(std::int64_t n) { return 1 / std::sqrt(static_cast<double>(n)); }

void draw(T5Attention& a, const T5Options& o) {
  init::normal(a.q.weight, 0, part(o.features * o.head_features));
  init::normal(a.k.weight, 0, part(o.features));
  init::normal(a.v.weight, 0, part(o.features));
  init::normal(a.o.weight, 0, part(o.heads * o.head_features));
  if (a.relative_attention_bias) init::normal(a.relative_attention_bias->weight, 0, part(o.features));
}

void check_source(const Tensor& tokens) {
  detail::check_tokens(tokens, std::numeric_limits<std::int64_t>::max());
}

}  // namespace

T5Attention::T5Attention(const T5Options& options, bool with_bias)
    : q(options.features, options.heads * options.head_features, false),
      k(options.features, options.heads * options.head_features, false),
      v(options.features, options.heads * options.head_features, false),
      o(options.heads * options.head_features, options.features, false),
      heads_(options.heads),
      max_distance_(options.max_distance) {
  if (with_bias) relative_attention_bias.emplace(options.buckets, options.heads);
}

Tensor T5Attention::bias(std::int64_t queries, std::int64_t keys, bool both_ways) {
  GPUNN_CHECK(relative_attention_bias.has_value(), "expected the attention of a first block");
  const std::int64_t buckets = relative_attention_bias->weight.size(0), first = keys - queries;
  std::vector<std::int64_t> index;
  index.reserve(static_cast<std::size_t>(queries * keys));
  for (std::int64_t i = first; i < keys; ++i)
    for (std::int64_t j = 0; j < keys; ++j)
      index.push_back(bucket_of(j - i, buckets, max_distance_, both_ways));
  const Tensor table = Tensor::from(index, {queries, keys}, {.device = q.weight.device()});
  return (*relative_attention_bias)(table).permute({2, 0, 1}).unsqueeze(0);
}

Tensor T5Attention::split(Linear& layer, const Tensor& x) {
  const std::int64_t D = layer.weight.size(0) / heads_;
  return layer(x).view({x.size(0), x.size(1), heads_, D}).transpose(1, 2);
}

T5Keys T5Attention::keys(const Tensor& memory) { return {split(k, memory), split(v, memory)}; }

Tensor T5Attention::forward(const Tensor& x, const Tensor& memory, const T5Sight& sight, Tensor* weights) {
  return forward(x, keys(memory), sight, weights);
}

Tensor T5Attention::forward(const Tensor& x, const T5Keys& memory, const T5Sight& sight, Tensor* weights) {
  AttentionOptions options;
  options.mask = sight.bias;
  options.causal = sight.causal;
  options.align = AttentionAlign::end;
  options.scale = 1;
  options.dropout_p = sight.dropout;
  options.key_lengths = sight.key_lengths;
  const AttentionOutput out = attention(split(q, x), memory.k, memory.v, options, weights != nullptr);
  if (weights) *weights = out.weights.detach();
  return o(out.y.transpose(1, 2).reshape({x.size(0), x.size(1), o.weight.size(1)}));
}

T5Dense::T5Dense(const T5Options& options)
    : wi(options.features, options.inner, false),
      wo(options.inner, options.features, false),
      dropout(options.dropout) {}

Tensor T5Dense::forward(const Tensor& x) { return wo(dropout(relu(wi(x)))); }

T5Block::Own::Own(const T5Options& o, bool first)
    : SelfAttention(o, first), layer_norm(o.features, {.eps = o.eps}) {}
T5Block::Cross::Cross(const T5Options& o)
    : EncDecAttention(o, false), layer_norm(o.features, {.eps = o.eps}) {}
T5Block::Dense::Dense(const T5Options& o) : DenseReluDense(o), layer_norm(o.features, {.eps = o.eps}) {}

T5Block::T5Block(const T5Options& options, bool decoder, bool first)
    : own(options, first), dense(options), dropout_(options.dropout) {
  if (decoder) cross.emplace(options);
}

void T5Block::visit_members(MemberVisitor& visitor) {
  visitor.child("layer.0", own);
  if (cross) visitor.child("layer.1", *cross);
  visitor.child(cross ? "layer.2" : "layer.1", dense);
  visitor.child("dropout", dropout_);
}

/// The attentions take what their layer sees, x after the norm.
template <class OwnAttention, class CrossAttention>
Tensor T5Block::run(const Tensor& x, const OwnAttention& own_attention,
                    const CrossAttention& cross_attention) {
  Tensor y = [&] {
    const ModuleScope scope(own);
    const Tensor normed = own.layer_norm(x);
    const ModuleScope inner(own.SelfAttention);
    return own_attention(normed);
  }();
  y = x + dropout_(y);
  if (cross) {
    const Tensor attended = [&] {
      const ModuleScope scope(*cross);
      const Tensor normed = cross->layer_norm(y);
      const ModuleScope inner(cross->EncDecAttention);
      return cross_attention(normed);
    }();
    y = y + dropout_(attended);
  }
  const ModuleScope scope(dense);
  return y + dropout_(dense.DenseReluDense(dense.layer_norm(y)));
}

Tensor T5Block::forward(const Tensor& x, const T5Sight& sight, const Tensor& memory, const T5Sight& further,
                        Tensor* own_weights, Tensor* cross_weights) {
  return run(
      x, [&](const Tensor& z) { return own.SelfAttention.forward(z, z, sight, own_weights); },
      [&](const Tensor& z) { return cross->EncDecAttention.forward(z, memory, further, cross_weights); });
}

Tensor T5Block::forward(const Tensor& x, const T5Sight& sight, T5Past& past, const T5Keys& memory,
                        const T5Sight& further) {
  return run(
      x,
      [&](const Tensor& z) {
        const std::int64_t T = z.size(1);
        const T5Keys added = own.SelfAttention.keys(z);
        const auto with = [&](Tensor& room, const Tensor& rows) {
          room.narrow(1, past.length, T).copy_(rows.transpose(1, 2));
          return room.narrow(1, 0, past.length + T).transpose(1, 2);
        };
        return own.SelfAttention.forward(z, T5Keys{with(past.k, added.k), with(past.v, added.v)}, sight);
      },
      [&](const Tensor& z) { return cross->EncDecAttention.forward(z, memory, further); });
}

T5Stack::T5Stack(const T5Options& options, bool decoder)
    : block(make_blocks(options, decoder)), final_layer_norm(options.features, {.eps = options.eps}) {}

T5::T5(const T5Options& options)
    : shared(checked(options).vocabulary, options.features),
      encoder(options, false),
      decoder(options, true),
      options_(options) {
  for (T5Stack* stack : {&encoder, &decoder})
    for (T5Block& b : stack->block) {
      draw(b.own.SelfAttention, options);
      if (b.cross) draw(b.cross->EncDecAttention, options);
      init::normal(b.dense.DenseReluDense.wi.weight, 0, part(options.features));
      init::normal(b.dense.DenseReluDense.wo.weight, 0, part(options.inner));
    }
}

Tensor T5::encode(const Tensor& source, const Tensor& source_lengths, T5Maps* maps) {
  check_source(source);
  const auto drop = [&](const Tensor& t) { return dropout(t, options_.dropout, is_training()); };
  Tensor x = drop(shared(source));
  const ModuleScope scope(encoder);
  T5Sight sight{.key_lengths = source_lengths, .dropout = is_training() ? options_.dropout : 0};
  sight.bias = encoder.block[0].own.SelfAttention.bias(source.size(1), source.size(1), true);
  for (T5Block& b : encoder.block) {
    const ModuleScope inner(b);
    Tensor weights;
    x = b.forward(x, sight, {}, {}, maps ? &weights : nullptr);
    if (maps) maps->encoder.push_back(weights);
  }
  return drop(encoder.final_layer_norm(x));
}

Tensor T5::decode(const Tensor& target, const Tensor& memory, const Tensor& source_lengths, T5Maps* maps) {
  check_source(target);
  const auto drop = [&](const Tensor& t) { return dropout(t, options_.dropout, is_training()); };
  const double p = is_training() ? options_.dropout : 0;
  Tensor x = drop(shared(target));
  {
    const ModuleScope scope(decoder);
    T5Sight sight{.causal = true, .dropout = p};
    sight.bias = decoder.block[0].own.SelfAttention.bias(target.size(1), target.size(1), false);
    const T5Sight cross{.key_lengths = source_lengths, .dropout = p};
    for (T5Block& b : decoder.block) {
      const ModuleScope inner(b);
      Tensor own, further;
      x = b.forward(x, sight, memory, cross, maps ? &own : nullptr, maps ? &further : nullptr);
      if (maps) maps->decoder.push_back(own), maps->cross.push_back(further);
    }
    x = drop(decoder.final_layer_norm(x));
  }
  return logits(x);
}

Tensor T5::logits(const Tensor& x) { return linear(x * part(options_.features), shared.weight); }

Tensor T5::forward(const Tensor& source, const Tensor& target, const Tensor& source_lengths) {
  const ModuleScope scope(*this);
  return decode(target, encode(source, source_lengths), source_lengths);
}

}  // namespace gpunn
