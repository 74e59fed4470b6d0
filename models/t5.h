#pragma once
// T5: an encoder that reads a text and a decoder that writes another, with relative positions.
//
//   pre-norm blocks of RMS norms without biases; scores are not scaled but get a learnt number for each head
//   and each bucket of distances, shared by all layers of a stack; feed forward with ReLU
//   logits = decoder output / sqrt(features) shared'
//
// C. Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer",
// 2020. Keys are those of the published files ("encoder.block.0.layer.0.SelfAttention.q.weight").
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"

namespace gpunn {

/// The defaults are those of T5-small.
struct T5Options {
  std::int64_t vocabulary = 32128;
  std::int64_t features = 512;
  std::int64_t head_features = 64;
  std::int64_t heads = 8;
  std::int64_t inner = 2048;        // of the feed forward part
  std::int64_t layers = 6;          // of each stack
  std::int64_t buckets = 32;        // of distances
  std::int64_t max_distance = 128;  // from here on all are one bucket
  double dropout = 0.1;
  double eps = 1e-6;
};

/// What a query sees: the bias of its distances, and what hides keys.
struct T5Sight {
  Tensor bias{};         // [1, heads, queries, keys], or undefined
  Tensor key_lengths{};  // i64 [B], or undefined: all
  bool causal = false;
  double dropout = 0;  // of the weights
};

/// Keys and values of what is looked at, [B, heads, S, D].
struct T5Keys {
  Tensor k, v;
};

/// Keys "q.weight", "k.weight", "v.weight" [H D, E], "o.weight" [E, H D], in the first block
/// "relative_attention_bias.weight" [buckets, H].
class GPUNN_API T5Attention : public Module {
 public:
  T5Attention(const T5Options& options, bool with_bias);
  using Module::forward;
  /// x [B, T, E] attends to memory [B, S, E]; with `weights` they are kept there, [B, heads, T, S].
  Tensor forward(const Tensor& x, const Tensor& memory, const T5Sight& sight, Tensor* weights = nullptr);
  /// The same with keys() of the memory. Causal queries stand behind all keys but the last T.
  Tensor forward(const Tensor& x, const T5Keys& memory, const T5Sight& sight, Tensor* weights = nullptr);
  /// Of memory [B, S, E].
  T5Keys keys(const Tensor& memory);
  /// [1, heads, queries, keys], of the table of buckets; the last query stands at the last key.
  Tensor bias(std::int64_t queries, std::int64_t keys, bool both_ways);

  Linear q, k, v, o;
  std::optional<Embedding> relative_attention_bias;
  GPUNN_MEMBERS(q, k, v, o, relative_attention_bias)

 private:
  Tensor split(Linear& layer, const Tensor& x);
  std::int64_t heads_, max_distance_;
};

class GPUNN_API T5Dense : public Module {
 public:
  explicit T5Dense(const T5Options& options);
  Tensor forward(const Tensor& x) override;

  Linear wi, wo;
  Dropout dropout;
  GPUNN_MEMBERS(wi, wo, dropout)
};

/// Keys and values of a decoder's layer, [B, capacity, heads, D], of which `length` positions are there.
struct T5Past {
  Tensor k, v;
  std::int64_t length = 0;
};

/// Keys "layer.0.SelfAttention", "layer.0.layer_norm", in a decoder "layer.1.EncDecAttention",
/// "layer.1.layer_norm", then "layer.1" or "layer.2" with "DenseReluDense" and "layer_norm".
class GPUNN_API T5Block : public Module {
 public:
  T5Block(const T5Options& options, bool decoder, bool first);
  using Module::forward;
  /// memory undefined in an encoder.
  Tensor forward(const Tensor& x, const T5Sight& own, const Tensor& memory, const T5Sight& cross,
                 Tensor* own_weights = nullptr, Tensor* cross_weights = nullptr);
  /// The same in a decoder with the keys of the source, and with keys of x that stand behind those of `past`
  /// and are kept there.
  Tensor forward(const Tensor& x, const T5Sight& own, T5Past& past, const T5Keys& memory,
                 const T5Sight& cross);
  void visit_members(MemberVisitor& visitor) override;
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<T5Block>(*this); }

  struct Own : Module {
    T5Attention SelfAttention;
    RMSNorm layer_norm;
    Own(const T5Options& o, bool first);
    GPUNN_MEMBERS(SelfAttention, layer_norm)
  };
  struct Cross : Module {
    T5Attention EncDecAttention;
    RMSNorm layer_norm;
    explicit Cross(const T5Options& o);
    GPUNN_MEMBERS(EncDecAttention, layer_norm)
  };
  struct Dense : Module {
    T5Dense DenseReluDense;
    RMSNorm layer_norm;
    explicit Dense(const T5Options& o);
    GPUNN_MEMBERS(DenseReluDense, layer_norm)
  };
  Own own;
  std::optional<Cross> cross;
  Dense dense;

 private:
  template <class OwnAttention, class CrossAttention>
  Tensor run(const Tensor& x, const OwnAttention& own_attention, const CrossAttention& cross_attention);

  Dropout dropout_;
};

class GPUNN_API T5Stack : public Module {
 public:
  T5Stack(const T5Options& options, bool decoder);

  std::vector<T5Block> block;
  RMSNorm final_layer_norm;
  GPUNN_MEMBERS(block, final_layer_norm)
};

/// Weights of every head [B, heads, queries, keys], an entry for each layer.
struct T5Maps {
  std::vector<Tensor> encoder, decoder, cross;
};

/// What a decoder need not compute again: keys and values of the source, and of the target so far. Made by
/// T5::begin(), for the model and the device of then. Not for training, and not to be shared between threads.
class T5Cache {
 public:
  T5Cache(T5Cache&&) = default;
  T5Cache& operator=(T5Cache&&) = default;
  /// Positions of the target that are there, the same number in every row.
  std::int64_t length() const noexcept { return own_.empty() ? 0 : own_.front().length; }
  std::int64_t capacity() const noexcept { return capacity_; }

 private:
  friend class T5;
  T5Cache() = default;

  std::vector<T5Past> own_;    // by layer
  std::vector<T5Keys> cross_;  // by layer
  Tensor source_lengths_;
  std::int64_t batch_ = 0, capacity_ = 0;
};

/// Initial values as the authors': embedding N(0, 1), q N(0, 1 / (E D)), k, v and wi N(0, 1 / E), o N(0, 1 /
/// (H D)), wo N(0, 1 / inner), bias of distances N(0, 1 / E). Throws InvalidArgument for sizes below 1
/// (buckets below 4, an odd number of them, max_distance not above them), dropout outside [0, 1); in forward
/// for tokens of another rank or outside the vocabulary.
class GPUNN_API T5 : public Module {
 public:
  explicit T5(const T5Options& options = {});
  using Module::forward;
  /// Logits [B, T, V] of target tokens i64 [B, T] (each place sees those up to itself) after source tokens
  /// i64 [B, S], of which the first source_lengths (i64 [B]; undefined: all) count.
  Tensor forward(const Tensor& source, const Tensor& target, const Tensor& source_lengths = {});
  Tensor encode(const Tensor& source, const Tensor& source_lengths = {}, T5Maps* maps = nullptr);
  Tensor decode(const Tensor& target, const Tensor& memory, const Tensor& source_lengths = {},
                T5Maps* maps = nullptr);
  /// A cache for targets of up to `capacity` tokens after memory [B, S, E], what encode() gave. Throws
  /// InvalidArgument for a capacity below 1 and memory of another shape.
  T5Cache begin(const Tensor& memory, const Tensor& source_lengths, std::int64_t capacity);
  /// Logits [B, T, V] of target tokens i64 [B, T] that stand behind those of the cache and are kept in it.
  /// Without gradients and dropout. Throws InvalidArgument for another B, tokens outside the vocabulary and
  /// more positions than the cache has; it holds what it held then.
  Tensor decode(const Tensor& target, T5Cache& cache);
  /// The most probable tokens, one after the other, from `start` on: for each row up to `most` tokens,
  /// without start, up to and without `end`. In evaluation mode without gradients.
  std::vector<std::vector<std::int64_t>> greedy(const Tensor& source, const Tensor& source_lengths,
                                                std::int64_t most, std::int64_t start, std::int64_t end);
  const T5Options& options() const noexcept { return options_; }

  Embedding shared;
  T5Stack encoder, decoder;
  GPUNN_MEMBERS(shared, encoder, decoder)

 private:
  Tensor logits(const Tensor& x);

  T5Options options_;
};

/// Loads a safetensors file with the published keys; "encoder.embed_tokens.weight", the decoder's and a bias
/// of distances in EncDecAttention are passed over, "lm_head.weight" must equal "shared.weight". Throws
/// DataError naming the file and every key that does not fit; the model is unchanged then.
GPUNN_API void load_t5_weights(const std::string& path, T5& model);

}  // namespace gpunn
