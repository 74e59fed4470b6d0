#include "gpunn/layers/transformer.h"

#include <limits>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/activations.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/layers/detail/call_observer.h"
#include "gpunn/layers/init.h"

namespace gpunn {

namespace {

// What a layer's options mean for its parts.
MultiheadAttentionOptions attention_options(const TransformerLayerOptions& o) {
  return {.dropout = o.dropout, .bias = o.bias, .batch_first = o.batch_first};
}

LayerNormOptions norm_options(const TransformerLayerOptions& o) {
  return {.eps = o.layer_norm_eps, .bias = o.bias};
}

std::int64_t hidden_size(const TransformerLayerOptions& o) {
  GPUNN_CHECK(o.dim_feedforward >= 1, "expected dim_feedforward of at least 1, got ", o.dim_feedforward);
  return o.activation == FeedForward::swiglu ? 2 * o.dim_feedforward : o.dim_feedforward;
}

Activation fused(FeedForward f) {
  return f == FeedForward::relu   ? Activation::relu
         : f == FeedForward::gelu ? Activation::gelu
                                  : Activation::gelu_tanh;
}

/// activation(linear1(x)).
Tensor expand_features(Linear& linear1, const Tensor& x, FeedForward f) {
  if (f == FeedForward::swiglu) {
    const std::vector<Tensor> halves = chunk(linear1(x), 2, -1);
    return silu(halves[0]) * halves[1];
  }
  // A layer that is watched runs by itself.
  if (detail::call_observer()) {
    const Tensor z = linear1(x);
    return f == FeedForward::relu
               ? relu(z)
               : gelu(z, f == FeedForward::gelu ? GeluApproximate::none : GeluApproximate::tanh);
  }
  const ModuleScope scope(linear1);
  return linear1.forward(x, fused(f));
}

/// What both kinds of layers do with one part: `part` of x behind `norm` (pre-norm) or before it (post-norm).
template <class Part>
Tensor residual(const Tensor& x, LayerNorm& norm, bool norm_first, Part part) {
  return norm_first ? x + part(norm(x)) : norm(x + part(x));
}

Tensor attend(MultiheadAttention& attention, const Tensor& query, const Tensor& keys,
              MultiheadAttentionCall call, std::vector<Tensor>* maps) {
  call.need_weights = maps != nullptr;
  call.average_attn_weights = false;
  MultiheadAttentionOutput out = attention(query, keys, keys, call);
  if (maps) maps->push_back(std::move(out.weights));
  return out.y;
}

MultiheadAttentionCall call_of(const Tensor& mask, const Tensor& padding, bool is_causal) {
  return {.key_padding_mask = padding, .attn_mask = mask, .is_causal = is_causal};
}

/// Values of their own that begin alike; a Transformer draws them anew.
template <class Layer>
std::vector<Layer> copies(const Layer& layer, std::int64_t n) {
  GPUNN_CHECK(n >= 1, "expected num_layers of at least 1, got ", n);
  return std::vector<Layer>(static_cast<std::size_t>(n), layer);
}

TransformerEncoder make_encoder(const TransformerOptions& o) {
  const TransformerEncoderLayer layer(o.d_model, o.nhead, o.layer);
  return {layer, o.num_encoder_layers, LayerNorm(o.d_model, norm_options(o.layer))};
}

TransformerDecoder make_decoder(const TransformerOptions& o) {
  const TransformerDecoderLayer layer(o.d_model, o.nhead, o.layer);
  return {layer, o.num_decoder_layers, LayerNorm(o.d_model, norm_options(o.layer))};
}

}  // namespace

// ---- layers

TransformerEncoderLayer::TransformerEncoderLayer(std::int64_t d_model, std::int64_t nhead,
                                                 const TransformerLayerOptions& o)
    : self_attn(d_model, nhead, attention_options(o)),
      linear1(d_model, hidden_size(o), o.bias),
      linear2(o.dim_feedforward, d_model, o.bias),
      norm1(d_model, norm_options(o)),
      norm2(d_model, norm_options(o)),
      dropout(o.dropout),
      dropout1(o.dropout),
      dropout2(o.dropout),
      options_(o) {}

Tensor TransformerEncoderLayer::forward(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps) {
  const MultiheadAttentionCall call = call_of(masks.mask, masks.key_padding_mask, masks.is_causal);
  const bool first = options_.norm_first;
  const Tensor x = residual(src, norm1, first, [&](const Tensor& z) {
    return dropout1(attend(self_attn, z, z, call, maps ? &maps->encoder : nullptr));
  });
  return residual(x, norm2, first, [&](const Tensor& z) {
    return dropout2(linear2(dropout(expand_features(linear1, z, options_.activation))));
  });
}

Tensor TransformerEncoderLayer::operator()(const Tensor& src, const EncoderMasks& masks,
                                           AttentionMaps* maps) {
  const ModuleScope scope(*this);
  return forward(src, masks, maps);
}

TransformerDecoderLayer::TransformerDecoderLayer(std::int64_t d_model, std::int64_t nhead,
                                                 const TransformerLayerOptions& o)
    : self_attn(d_model, nhead, attention_options(o)),
      multihead_attn(d_model, nhead, attention_options(o)),
      linear1(d_model, hidden_size(o), o.bias),
      linear2(o.dim_feedforward, d_model, o.bias),
      norm1(d_model, norm_options(o)),
      norm2(d_model, norm_options(o)),
      norm3(d_model, norm_options(o)),
      dropout(o.dropout),
      dropout1(o.dropout),
      dropout2(o.dropout),
      dropout3(o.dropout),
      options_(o) {}

Tensor TransformerDecoderLayer::forward(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks,
                                        AttentionMaps* maps) {
  const bool first = options_.norm_first;
  const MultiheadAttentionCall own = call_of(masks.tgt_mask, masks.tgt_key_padding_mask, masks.tgt_is_causal);
  const MultiheadAttentionCall cross =
      call_of(masks.memory_mask, masks.memory_key_padding_mask, masks.memory_is_causal);
  Tensor x = residual(tgt, norm1, first, [&](const Tensor& z) {
    return dropout1(attend(self_attn, z, z, own, maps ? &maps->decoder : nullptr));
  });
  x = residual(x, norm2, first, [&](const Tensor& z) {
    return dropout2(attend(multihead_attn, z, memory, cross, maps ? &maps->cross : nullptr));
  });
  return residual(x, norm3, first, [&](const Tensor& z) {
    return dropout3(linear2(dropout(expand_features(linear1, z, options_.activation))));
  });
}

Tensor TransformerDecoderLayer::operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks,
                                           AttentionMaps* maps) {
  const ModuleScope scope(*this);
  return forward(tgt, memory, masks, maps);
}

// ---- stacks

TransformerEncoder::TransformerEncoder(const TransformerEncoderLayer& layer, std::int64_t num_layers,
                                       std::optional<LayerNorm> last)
    : layers(copies(layer, num_layers)), norm(std::move(last)) {}

Tensor TransformerEncoder::forward(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps) {
  Tensor x = src;
  for (TransformerEncoderLayer& layer : layers) x = layer(x, masks, maps);
  return norm ? (*norm)(x) : x;
}

Tensor TransformerEncoder::operator()(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps) {
  const ModuleScope scope(*this);
  return forward(src, masks, maps);
}

TransformerInspection TransformerEncoder::inspect(const Tensor& src, const EncoderMasks& masks) {
  const ModuleScope scope(*this);
  const NoGrad off;
  TransformerInspection out;
  out.y = forward(src, masks, &out.maps);
  return out;
}

TransformerDecoder::TransformerDecoder(const TransformerDecoderLayer& layer, std::int64_t num_layers,
                                       std::optional<LayerNorm> last)
    : layers(copies(layer, num_layers)), norm(std::move(last)) {}

Tensor TransformerDecoder::forward(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks,
                                   AttentionMaps* maps) {
  Tensor x = tgt;
  for (TransformerDecoderLayer& layer : layers) x = layer(x, memory, masks, maps);
  return norm ? (*norm)(x) : x;
}

Tensor TransformerDecoder::operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks,
                                      AttentionMaps* maps) {
  const ModuleScope scope(*this);
  return forward(tgt, memory, masks, maps);
}

TransformerInspection TransformerDecoder::inspect(const Tensor& tgt, const Tensor& memory,
                                                  const DecoderMasks& masks) {
  const ModuleScope scope(*this);
  const NoGrad off;
  TransformerInspection out;
  out.y = forward(tgt, memory, masks, &out.maps);
  return out;
}

// ---- the whole

Transformer::Transformer(const TransformerOptions& o)
    : encoder(make_encoder(o)), decoder(make_decoder(o)), D_(o.d_model), batch_first_(o.layer.batch_first) {
  reset_parameters();
}

void Transformer::reset_parameters() {
  for (const Tensor& p : parameters())
    if (p.dim() > 1) init::xavier_uniform(p);
}

Tensor Transformer::run(const Tensor& src, const Tensor& tgt, const TransformerMasks& m,
                        AttentionMaps* maps) {
  const auto check = [&](const char* name, const Tensor& x) {
    GPUNN_CHECK(x.defined() && (x.dim() == 2 || x.dim() == 3) && x.size(-1) == D_, "expected ", name,
                batch_first_ ? " [N, T, " : " [T, N, ", D_, "] or [T, ", D_, "], got ",
                x.defined() ? to_string(x.shape()) : "an undefined tensor");
  };
  check("src", src);
  check("tgt", tgt);
  const int batch = batch_first_ ? 0 : 1;
  GPUNN_CHECK(src.dim() == tgt.dim() && (src.dim() == 2 || src.size(batch) == tgt.size(batch)),
              "expected src and tgt of one batch, got ", to_string(src.shape()), " and ",
              to_string(tgt.shape()));
  const Tensor memory = encoder(
      src, {.mask = m.src_mask, .key_padding_mask = m.src_key_padding_mask, .is_causal = m.src_is_causal},
      maps);
  return decoder(tgt, memory,
                 {.tgt_mask = m.tgt_mask,
                  .memory_mask = m.memory_mask,
                  .tgt_key_padding_mask = m.tgt_key_padding_mask,
                  .memory_key_padding_mask = m.memory_key_padding_mask,
                  .tgt_is_causal = m.tgt_is_causal,
                  .memory_is_causal = m.memory_is_causal},
                 maps);
}

Tensor Transformer::forward(const Tensor& src, const Tensor& tgt, const TransformerMasks& masks) {
  return run(src, tgt, masks, nullptr);
}

Tensor Transformer::operator()(const Tensor& src, const Tensor& tgt, const TransformerMasks& masks) {
  const ModuleScope scope(*this);
  return forward(src, tgt, masks);
}

TransformerInspection Transformer::inspect(const Tensor& src, const Tensor& tgt,
                                           const TransformerMasks& masks) {
  const ModuleScope scope(*this);
  const NoGrad off;
  TransformerInspection out;
  out.y = run(src, tgt, masks, &out.maps);
  return out;
}

Tensor Transformer::generate_square_subsequent_mask(std::int64_t size) {
  OpScope scope("generate_square_subsequent_mask");
  GPUNN_CHECK(size >= 0, "expected a size of at least 0, got ", size);
  std::vector<float> mask(static_cast<std::size_t>(size * size), 0.0f);
  for (std::int64_t i = 0; i < size; ++i)
    for (std::int64_t j = i + 1; j < size; ++j)
      mask[static_cast<std::size_t>(i * size + j)] = -std::numeric_limits<float>::infinity();
  return Tensor::from(mask, {size, size});
}

}  // namespace gpunn
