#pragma once
// Small models for tests of generation.
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/layers/attention.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/positions.h"
#include "gpunn/models/causal_lm.h"

namespace gpunn::testing {

using Tokens = std::vector<std::int64_t>;

/// The next token's logits are a row of a table: what comes out can be said by hand.
class TableLm : public CausalLm {
 public:
  TableLm(std::vector<std::vector<double>> rows, std::int64_t context = 64)
      : rows_(std::move(rows)), context_(context) {}

  Tensor forward(const Tensor& tokens) override {
    ++calls;
    std::vector<float> out;
    for (const std::int64_t token : tokens.to_vector<std::int64_t>())
      for (const double logit : rows_.at(static_cast<std::size_t>(token)))
        out.push_back(static_cast<float>(logit));
    return Tensor::from(out, {tokens.size(0), tokens.size(1), vocabulary()}, {.device = Device::cpu()});
  }
  Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) override {
    cache.begin(tokens.size(1), valid);
    const Tensor rows = zeros({tokens.size(0), tokens.size(1), 1, 1}, {.device = Device::cpu()});
    cache.append(0, rows, rows);
    cache.commit();
    return forward(tokens);
  }
  KvCacheOptions cache_options() const override { return {.head_dim = 1, .device = Device::cpu()}; }
  std::int64_t vocabulary() const noexcept override { return std::ssize(rows_); }
  std::int64_t context() const noexcept override { return context_; }
  void visit_members(MemberVisitor&) override {}
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<TableLm>(*this); }

  int calls = 0;

 private:
  std::vector<std::vector<double>> rows_;
  std::int64_t context_;
};

/// Token i is followed by token i + 1.
inline TableLm chain(std::size_t count) {
  std::vector<std::vector<double>> rows(count, std::vector<double>(count, 0.0));
  for (std::size_t i = 0; i < count; ++i) rows[i][(i + 1) % count] = 5;
  return TableLm(rows);
}

inline std::function<std::string(std::int64_t)> pieces(std::vector<std::string> of) {
  return [of](std::int64_t token) { return of.at(static_cast<std::size_t>(token)); };
}

/// One layer of attention: small, and everything before a token matters to it.
class TinyDecoder : public CausalLm {
 public:
  static constexpr std::int64_t kVocabulary = 11, kFeatures = 8, kContext = 12;

  Tensor forward(const Tensor& tokens) override {
    const std::int64_t T = tokens.size(1);
    const std::vector<std::int64_t> starts(static_cast<std::size_t>(tokens.size(0)), 0);
    const Tensor x = embed(tokens, positions_behind(starts, T, kContext, tokens.device()));
    MultiheadAttentionCall call;
    call.is_causal = true;
    return head(attention(x, x, x, call).y + x);
  }
  Tensor forward(const Tensor& tokens, KvCache& cache, std::span<const std::int64_t> valid) override {
    const std::int64_t T = tokens.size(1);
    const Tensor x = embed(tokens, positions_behind(cache.lengths(), T, kContext, tokens.device()));
    cache.begin(T, valid);
    const Tensor y = attention(x, cache, 0);
    cache.commit();
    return head(y + x);
  }
  KvCacheOptions cache_options() const override {
    return {.kv_heads = 2, .head_dim = kFeatures / 2, .device = head.weight.device()};
  }
  std::int64_t vocabulary() const noexcept override { return kVocabulary; }
  std::int64_t context() const noexcept override { return kContext; }

  Embedding tokens_table{kVocabulary, kFeatures}, positions_table{kContext, kFeatures};
  MultiheadAttention attention{kFeatures, 2, {.batch_first = true}};
  Linear head{kFeatures, kVocabulary};
  GPUNN_MEMBERS(tokens_table, positions_table, attention, head)

 private:
  Tensor embed(const Tensor& tokens, const Tensor& positions) {
    return tokens_table(tokens) * 3.0 + positions_table(positions);
  }
};

/// Sum of log-probabilities of `tokens` behind `prompt`.
inline double log_probability(const std::function<std::vector<double>(const Tokens&)>& logits_of,
                              Tokens prompt, const Tokens& tokens) {
  double sum = 0;
  for (const std::int64_t token : tokens) {
    const std::vector<double> logits = logits_of(prompt);
    double total = 0;
    for (const double logit : logits) total += std::exp(logit);
    sum += logits[static_cast<std::size_t>(token)] - std::log(total);
    prompt.push_back(token);
  }
  return sum;
}

}  // namespace gpunn::testing
