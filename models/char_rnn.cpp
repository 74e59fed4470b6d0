#include "gpunn/models/char_rnn.h"

#include "gpunn/core/autograd.h"
#include "gpunn/layers/detail/call_observer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/detail/evaluation_scope.h"

namespace gpunn {
namespace {

std::variant<RNN, LSTM, GRU> make_rnn(const CharRnnOptions& o) {
  const std::int64_t inputs = o.embedding > 0 ? o.embedding : o.vocabulary;
  RecurrentOptions options{.num_layers = o.num_layers, .dropout = o.dropout};
  switch (o.mode) {
    case RnnMode::lstm:
      return LSTM(inputs, o.hidden, options);
    case RnnMode::gru:
      return GRU(inputs, o.hidden, options);
    case RnnMode::relu:
      options.nonlinearity = RnnNonlinearity::relu;
      break;
    case RnnMode::tanh:
      break;
  }
  return RNN(inputs, o.hidden, options);
}

const CharRnnOptions& checked(const CharRnnOptions& o) {
  GPUNN_CHECK(o.vocabulary >= 1 && o.embedding >= 0,
              "expected a vocabulary of at least 1 and an embedding of at least 0, got ", o.vocabulary,
              " and ", o.embedding);
  return o;
}

}  // namespace

CharRnn::CharRnn(const CharRnnOptions& options)
    : options_(checked(options)),
      embedding_(options.embedding > 0
                     ? std::optional<Embedding>(std::in_place, options.vocabulary, options.embedding)
                     : std::nullopt),
      rnn_(make_rnn(options)),
      dropout_(options.dropout),
      head_(options.hidden, options.vocabulary) {}

Recurrent& CharRnn::rnn() {
  return std::visit([](Recurrent& layer) -> Recurrent& { return layer; }, rnn_);
}

void CharRnn::visit_members(MemberVisitor& visitor) {
  detail::visit_member(visitor, "embedding", embedding_);
  detail::visit_member(visitor, "rnn", rnn());
  detail::visit_member(visitor, "dropout", dropout_);
  detail::visit_member(visitor, "head", head_);
}

Tensor CharRnn::embed(const Tensor& tokens) {
  if (embedding_) return (*embedding_)(tokens);
  return one_hot(tokens, options_.vocabulary, head_.weight.dtype());
}

// Time comes first in the recurrent layers: turning the tokens round is cheaper than turning their features.
CharRnnOutput CharRnn::steps(const Tensor& tokens, const RecurrentState& state) {
  GPUNN_CHECK(tokens.defined() && tokens.dim() == 2, "expected tokens [B, T], got ",
              tokens.defined() ? to_string(tokens.shape()) : "an undefined tensor");
  const Tensor x = embed(tokens.t().contiguous());
  Recurrent& layer = rnn();
  // Without a state through the call that summary() sees.
  if (!state.h.defined() && !state.c.defined() && detail::call_observer())
    return {head_(dropout_(layer(x))), {}};
  const RecurrentOutput out = layer(x, state);
  return {head_(dropout_(out.y)), out.state};
}

CharRnnOutput CharRnn::forward(const Tensor& tokens, const RecurrentState& state) {
  CharRnnOutput out = steps(tokens, state);
  out.logits = out.logits.transpose(0, 1);
  return out;
}

CharRnnLoss CharRnn::loss(const Tensor& tokens, const Tensor& targets, const RecurrentState& state) {
  GPUNN_CHECK(targets.defined() && tokens.defined() && targets.shape() == tokens.shape(),
              "expected a target for each token");
  const ModuleScope scope(*this);
  const CharRnnOutput out = steps(tokens, state);
  const std::int64_t rows = tokens.numel();
  return {cross_entropy(out.logits.reshape({rows, options_.vocabulary}), targets.t().reshape({rows})),
          out.state};
}

Tensor CharRnn::forward_packed(const Tensor& tokens, const Packing& packing) {
  const ModuleScope scope(*this);
  return head_(dropout_(rnn()(PackedSequence{embed(tokens), packing, {}, {}}).y.data));
}

std::vector<std::int64_t> CharRnn::generate(std::span<const std::int64_t> prompt, std::int64_t count,
                                            TokenSampler& sampler, std::optional<std::int64_t> end) {
  GPUNN_CHECK(!prompt.empty() && count >= 0,
              "expected a prompt of at least one token and a count of at least 0");
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(*this);
  const Device device = head_.weight.device();
  std::vector<std::int64_t> next(prompt.begin(), prompt.end()), out;
  RecurrentState state;
  while (static_cast<std::int64_t>(out.size()) < count) {
    const auto length = static_cast<std::int64_t>(next.size());
    const CharRnnOutput step = steps(Tensor::from(next, {1, length}, {.device = device}), state);
    state = step.state;
    // From here on one token at a time: the state knows the rest.
    next = sampler.sample(step.logits.select(0, length - 1));
    out.push_back(next[0]);
    if (next[0] == end) break;
  }
  return out;
}

}  // namespace gpunn
