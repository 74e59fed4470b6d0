#pragma once
// Language models of characters: embedding (or one-hot), recurrent layers, a linear layer to the next
// character's logits. The state is carried from call to call: between windows of a text in training, between
// characters in sampling.
//
// Tomas Mikolov et al., "Recurrent neural network based language model", 2010; the LSTM in it: Alex Graves,
// "Generating sequences with recurrent neural networks", 2013.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/recurrent.h"
#include "gpunn/training/sampling.h"

namespace gpunn {

struct CharRnnOptions {
  std::int64_t vocabulary = 0;  // V
  std::int64_t embedding = 64;  // 0: one-hot characters
  std::int64_t hidden = 256;
  RnnMode mode = RnnMode::lstm;
  std::int64_t num_layers = 1;
  double dropout = 0;  // of each recurrent layer's output, the last one included
};

struct CharRnnOutput {
  Tensor logits;  // [B, T, V]
  RecurrentState state;
};
struct CharRnnLoss {
  Tensor loss;  // one element: the mean over B T characters, in nats
  RecurrentState state;
};

/// Keys "embedding.weight" [V, E] (not with one-hot characters), "rnn.weight_ih_l0", ..., "head.weight" [V,
/// H] and "head.bias". Tokens are i64 [B, T] on the weights' device; an undefined state is zeros. Throws
/// InvalidArgument for a vocabulary below 1, a negative embedding, for what the layers refuse, and tokens of
/// another rank.
class GPUNN_API CharRnn : public Module {
 public:
  explicit CharRnn(const CharRnnOptions& options);

  /// Logits [B, T, V] from a state of zeros.
  Tensor forward(const Tensor& tokens) override { return forward(tokens, {}).logits; }
  CharRnnOutput forward(const Tensor& tokens, const RecurrentState& state);
  /// Mean cross-entropy of `targets` [B, T], the tokens that follow.
  CharRnnLoss loss(const Tensor& tokens, const Tensor& targets, const RecurrentState& state = {});
  /// Logits [rows, V] of tokens [rows] in a packing, each sequence from a state of zeros.
  Tensor forward_packed(const Tensor& tokens, const Packing& packing);

  /// What the recurrent layers see: [*, E], one-hot [*, V].
  Tensor embed(const Tensor& tokens);
  /// Reads `prompt` (at least one token), then goes on step by step: `count` tokens, each drawn from the
  /// logits after the one before, or fewer: the token `end` is the last one. Without gradients, in evaluation
  /// mode; the mode is restored. Throws InvalidArgument for an empty prompt and a negative count.
  std::vector<std::int64_t> generate(std::span<const std::int64_t> prompt, std::int64_t count,
                                     TokenSampler& sampler, std::optional<std::int64_t> end = {});

  const CharRnnOptions& options() const noexcept { return options_; }
  Recurrent& rnn();
  void visit_members(MemberVisitor& visitor) override;
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<CharRnn>(*this); }

 private:
  CharRnnOutput steps(const Tensor& tokens, const RecurrentState& state);  // logits [T, B, V]

  CharRnnOptions options_;
  std::optional<Embedding> embedding_;
  std::variant<RNN, LSTM, GRU> rnn_;
  Dropout dropout_;
  Linear head_;
};

}  // namespace gpunn
