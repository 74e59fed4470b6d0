#pragma once
// What generation needs of a language model that reads from left to right.
#include <cstdint>
#include <span>

#include "gpunn/layers/kv_cache.h"
#include "gpunn/layers/module.h"

namespace gpunn {

class GPUNN_API CausalLm : public Module {
 public:
  /// Logits [B, T, V] of tokens i64 [B, T]; positions count from 0.
  using Module::forward;
  using Module::operator();
  /// The same for tokens that come behind what the cache holds and are kept in it; row b has valid[b] of them
  /// (empty: all), what is behind them is ignored and its logits mean nothing. Without gradients and dropout.
  /// Throws InvalidArgument for tokens outside the vocabulary, and when positions pass context().
  virtual Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) = 0;
  Tensor operator()(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid = {}) {
    ModuleScope scope(*this);
    return forward(tokens, cache, valid);
  }

  /// Sizes of a cache for this model; batch, capacity (at most context()) and page_size are the caller's.
  virtual KvCacheOptions cache_options() const = 0;
  virtual std::int64_t vocabulary() const noexcept = 0;
  /// Most positions of a sequence.
  virtual std::int64_t context() const noexcept = 0;
};

}  // namespace gpunn
