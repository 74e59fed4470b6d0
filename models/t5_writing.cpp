// T5 one token after the other.
#include <algorithm>
#include <optional>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/detail/causal.h"
#include "gpunn/models/t5.h"

namespace gpunn {

T5Cache T5::begin(const Tensor& memory, const Tensor& source_lengths, std::int64_t capacity) {
  GPUNN_CHECK(capacity >= 1, "expected room for at least one token, got ", capacity);
  GPUNN_CHECK(memory.defined() && memory.dim() == 3 && memory.size(2) == options_.features,
              "expected memory [B, S, ", options_.features, "] of encode(), got ",
              memory.defined() ? to_string(memory.shape()) : "an undefined tensor");
  const NoGrad no_grad;
  const ModuleScope scope(*this);
  const ModuleScope inner(decoder);
  T5Cache cache;
  cache.batch_ = memory.size(0);
  cache.capacity_ = capacity;
  cache.source_lengths_ = source_lengths;
  for (T5Block& b : decoder.block) {
    const ModuleScope block(b);
    cache.cross_.push_back(b.cross->EncDecAttention.keys(memory));
    const auto room = [&] {
      return empty({cache.batch_, capacity, options_.heads, options_.head_features},
                   {.dtype = memory.dtype(), .device = memory.device()});
    };
    cache.own_.push_back({.k = room(), .v = room()});
  }
  return cache;
}

Tensor T5::decode(const Tensor& target, T5Cache& cache) {
  const std::int64_t held = cache.length();
  detail::check_tokens(target, cache.capacity_ - held);
  GPUNN_CHECK(target.size(1) >= 1, "expected at least one token");
  GPUNN_CHECK(target.size(0) == cache.batch_ && cache.own_.size() == decoder.block.size(),
              "expected tokens of ", cache.batch_, " rows, as the cache was made for, got ", target.size(0));
  const NoGrad no_grad;
  std::optional<detail::EvaluationScope> evaluation;  // no dropout
  if (is_training()) evaluation.emplace(*this);
  const ModuleScope scope(*this);
  const std::int64_t T = target.size(1);
  Tensor x = shared(target);
  {
    const ModuleScope inner(decoder);
    T5Sight sight{.causal = true};
    sight.bias = decoder.block[0].own.SelfAttention.bias(T, held + T, false);
    const T5Sight cross{.key_lengths = cache.source_lengths_};
    for (std::size_t i = 0; i < decoder.block.size(); ++i) {
      const ModuleScope block(decoder.block[i]);
      x = decoder.block[i].forward(x, sight, cache.own_[i], cache.cross_[i], cross);
    }
    x = decoder.final_layer_norm(x);
  }
  for (T5Past& past : cache.own_) past.length += T;
  return logits(x);
}

std::vector<std::vector<std::int64_t>> T5::greedy(const Tensor& source, const Tensor& source_lengths,
                                                  std::int64_t most, std::int64_t start, std::int64_t end) {
  GPUNN_CHECK(most >= 0, "expected at least 0 tokens, got ", most);
  GPUNN_CHECK(start >= 0 && start < options_.vocabulary, "expected a start in [0, ", options_.vocabulary,
              "), got ", start);
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(*this);
  const ModuleScope scope(*this);
  const Tensor memory = encode(source, source_lengths);
  const auto B = static_cast<std::size_t>(source.size(0));
  std::vector<std::vector<std::int64_t>> results(B);
  if (most == 0 || B == 0) return results;
  T5Cache cache = begin(memory, source_lengths, most);
  std::vector<std::int64_t> last(B, start);
  std::vector<bool> ended(B, false);
  for (std::int64_t t = 0; t < most && std::find(ended.begin(), ended.end(), false) != ended.end(); ++t) {
    const Tensor target = Tensor::from(last, {source.size(0), 1}, {.device = source.device()});
    last = argmax(decode(target, cache).select(1, 0), 1).to_vector<std::int64_t>();
    for (std::size_t b = 0; b < B; ++b) {
      if (last[b] == end) ended[b] = true;
      if (!ended[b]) results[b].push_back(last[b]);
    }
  }
  return results;
}

}  // namespace gpunn
