#pragma once
// Layers of a transformer and the encoder-decoder made of them, with PyTorch's names, defaults, keys, initial
// values and masks.
//
//   post-norm  x = norm1(x + attention(x)),  x = norm2(x + feed_forward(x))     (the default)
//   pre-norm   x = x + attention(norm1(x)),  x = x + feed_forward(norm2(x))     (norm_first)
//   feed_forward(x) = linear2(dropout(activation(linear1(x))))
//
// Sequences are [T, N, D], [N, T, D] with batch_first, or [T, D]; masks as MultiheadAttention's: bool true
// means not allowed, a floating mask is added. Dropout acts on the weights of attention, inside the feed
// forward part and on what each part adds.
// Determinism: bitwise, dropout included (by the Runtime's generator).
// Sources: Vaswani et al., "Attention is all you need" (2017); pre-norm: Xiong et al., "On layer
// normalization in the transformer architecture" (2020); SwiGLU: Shazeer, "GLU variants improve transformer"
// (2020).
#include <cstdint>
#include <optional>
#include <vector>

#include "gpunn/layers/attention.h"
#include "gpunn/layers/dropout.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"

namespace gpunn {

/// swiglu (not PyTorch's): linear1 has 2 dim_feedforward outputs, silu(first half) * second half.
enum class FeedForward : std::uint8_t { relu, gelu, gelu_tanh, swiglu };

struct TransformerLayerOptions {
  std::int64_t dim_feedforward = 2048;
  double dropout = 0.1;  // in [0, 1)
  FeedForward activation = FeedForward::relu;
  double layer_norm_eps = 1e-5;
  bool batch_first = false;
  bool norm_first = false;
  bool bias = true;  // of all projections and norms
};

/// Of one call of an encoder: mask [T, T] or [N * heads, T, T], key_padding_mask [N, T].
struct EncoderMasks {
  Tensor mask{};
  Tensor key_padding_mask{};
  bool is_causal = false;  // beside the masks; needs none
};

/// Of one call of a decoder; S positions of memory.
struct DecoderMasks {
  Tensor tgt_mask{};                 // [T, T] or [N * heads, T, T]
  Tensor memory_mask{};              // [T, S] or [N * heads, T, S]
  Tensor tgt_key_padding_mask{};     // [N, T]
  Tensor memory_key_padding_mask{};  // [N, S]
  bool tgt_is_causal = false;
  bool memory_is_causal = false;
};

/// Of one call of a Transformer.
struct TransformerMasks {
  Tensor src_mask{}, tgt_mask{}, memory_mask{};
  Tensor src_key_padding_mask{}, tgt_key_padding_mask{}, memory_key_padding_mask{};
  bool src_is_causal = false, tgt_is_causal = false, memory_is_causal = false;
};

/// Weights of every head before dropout [N, heads, queries, keys], an entry for each layer.
struct AttentionMaps {
  std::vector<Tensor> encoder;  // self-attention of encoder layers
  std::vector<Tensor> decoder;  // self-attention of decoder layers
  std::vector<Tensor> cross;    // of decoder layers on memory
};

struct TransformerInspection {
  Tensor y;
  AttentionMaps maps{};
};

/// Keys "self_attn", "linear1", "linear2", "norm1", "norm2". Throws InvalidArgument as the layers do, and for
/// dim_feedforward below 1.
class GPUNN_API TransformerEncoderLayer : public Module {
 public:
  TransformerEncoderLayer(std::int64_t d_model, std::int64_t nhead,
                          const TransformerLayerOptions& options = {});
  Tensor forward(const Tensor& src) override { return forward(src, EncoderMasks{}); }
  /// With `maps` the weights of the heads are computed, and added to maps->encoder.
  Tensor forward(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps = nullptr);
  using Module::operator();
  Tensor operator()(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps = nullptr);
  const TransformerLayerOptions& options() const noexcept { return options_; }

  MultiheadAttention self_attn;
  Linear linear1, linear2;
  LayerNorm norm1, norm2;
  Dropout dropout, dropout1, dropout2;
  GPUNN_MEMBERS(self_attn, linear1, dropout, linear2, norm1, norm2, dropout1, dropout2)

 private:
  TransformerLayerOptions options_;
};

/// Self-attention, attention on memory (of the same features), feed forward. Keys "self_attn",
/// "multihead_attn", "linear1", "linear2", "norm1", "norm2", "norm3".
class GPUNN_API TransformerDecoderLayer : public Module {
 public:
  TransformerDecoderLayer(std::int64_t d_model, std::int64_t nhead,
                          const TransformerLayerOptions& options = {});
  using Module::forward;
  /// With `maps` the weights of the heads are added to maps->decoder and maps->cross.
  Tensor forward(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {},
                 AttentionMaps* maps = nullptr);
  using Module::operator();
  Tensor operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {},
                    AttentionMaps* maps = nullptr);
  const TransformerLayerOptions& options() const noexcept { return options_; }

  MultiheadAttention self_attn, multihead_attn;
  Linear linear1, linear2;
  LayerNorm norm1, norm2, norm3;
  Dropout dropout, dropout1, dropout2, dropout3;
  GPUNN_MEMBERS(self_attn, multihead_attn, linear1, dropout, linear2, norm1, norm2, norm3, dropout1, dropout2,
                dropout3)

 private:
  TransformerLayerOptions options_;
};

/// num_layers copies of a layer, which begin with its values as in PyTorch, and a last norm if given. Keys
/// "layers.0.self_attn...", "norm". Throws InvalidArgument for num_layers below 1.
class GPUNN_API TransformerEncoder : public Module {
 public:
  TransformerEncoder(const TransformerEncoderLayer& layer, std::int64_t num_layers,
                     std::optional<LayerNorm> norm = {});
  Tensor forward(const Tensor& src) override { return forward(src, EncoderMasks{}); }
  Tensor forward(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps = nullptr);
  using Module::operator();
  Tensor operator()(const Tensor& src, const EncoderMasks& masks, AttentionMaps* maps = nullptr);
  /// forward() without gradients that keeps the weights of every head.
  TransformerInspection inspect(const Tensor& src, const EncoderMasks& masks = {});

  std::vector<TransformerEncoderLayer> layers;
  std::optional<LayerNorm> norm;
  GPUNN_MEMBERS(layers, norm)
};

class GPUNN_API TransformerDecoder : public Module {
 public:
  TransformerDecoder(const TransformerDecoderLayer& layer, std::int64_t num_layers,
                     std::optional<LayerNorm> norm = {});
  using Module::forward;
  Tensor forward(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {},
                 AttentionMaps* maps = nullptr);
  using Module::operator();
  Tensor operator()(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {},
                    AttentionMaps* maps = nullptr);
  TransformerInspection inspect(const Tensor& tgt, const Tensor& memory, const DecoderMasks& masks = {});

  std::vector<TransformerDecoderLayer> layers;
  std::optional<LayerNorm> norm;
  GPUNN_MEMBERS(layers, norm)
};

struct TransformerOptions {
  std::int64_t d_model = 512;
  std::int64_t nhead = 8;
  std::int64_t num_encoder_layers = 6;
  std::int64_t num_decoder_layers = 6;
  TransformerLayerOptions layer{};
};

/// Encoder and decoder, each with a last norm: src [S, N, D] and tgt [T, N, D] to [T, N, D]. Every matrix is
/// Xavier-uniform in the end, drawn anew in the order of the keys, as PyTorch does. Keys "encoder...",
/// "decoder...". Throws InvalidArgument in forward for batches that differ.
class GPUNN_API Transformer : public Module {
 public:
  explicit Transformer(const TransformerOptions& options = {});
  using Module::forward;
  Tensor forward(const Tensor& src, const Tensor& tgt, const TransformerMasks& masks = {});
  using Module::operator();
  Tensor operator()(const Tensor& src, const Tensor& tgt, const TransformerMasks& masks = {});
  /// forward() without gradients that keeps the weights of every head.
  TransformerInspection inspect(const Tensor& src, const Tensor& tgt, const TransformerMasks& masks = {});
  /// Draws every matrix again.
  void reset_parameters();
  /// f32 [size, size]: -inf above the diagonal, 0 elsewhere. is_causal needs no such mask.
  static Tensor generate_square_subsequent_mask(std::int64_t size);

  TransformerEncoder encoder;
  TransformerDecoder decoder;
  GPUNN_MEMBERS(encoder, decoder)

 private:
  Tensor run(const Tensor& src, const Tensor& tgt, const TransformerMasks& masks, AttentionMaps* maps);
  std::int64_t D_;
  bool batch_first_;
};

}  // namespace gpunn
