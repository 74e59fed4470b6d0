// Generation with a model of attention: logits through a cache of keys and values, or without.
#include <algorithm>

#include "gpunn/core/error.h"
#include "gpunn/models/detail/generation.h"

namespace gpunn {
namespace {

using detail::Tokens;

class CausalReader : public detail::LogitReader {
 public:
  CausalReader(CausalLm& model, const GenerationOptions& options, std::size_t rows, std::int64_t capacity)
      : model_(model), known_(rows) {
    if (!options.use_cache) return;
    KvCacheOptions cache = model.cache_options();
    cache.batch = static_cast<std::int64_t>(rows);
    cache.capacity = capacity;
    cache.page_size = options.page_size;
    cache_.emplace(cache);
  }

  std::vector<std::vector<double>> read(std::span<const std::span<const std::int64_t>> windows) override {
    const std::size_t rows = windows.size();
    std::vector<std::int64_t> valid(rows);
    for (std::size_t b = 0; b < rows; ++b)
      valid[b] = static_cast<std::int64_t>(windows[b].size() - known_[b]);
    const std::int64_t B = std::ssize(windows), T = *std::max_element(valid.begin(), valid.end()),
                       V = model_.vocabulary();
    // Shorter ones are filled up with token 0; nothing that counts looks at it.
    std::vector<std::int64_t> tokens(rows * static_cast<std::size_t>(T));
    for (std::size_t b = 0; b < rows; ++b)
      std::copy(windows[b].begin() + static_cast<std::ptrdiff_t>(known_[b]), windows[b].end(),
                tokens.begin() + static_cast<std::ptrdiff_t>(b) * T);
    const Tensor input = Tensor::from(tokens, {B, T}, {.device = model_.cache_options().device});
    const Tensor logits = cache_ ? model_(input, *cache_, valid) : model_(input);
    GPUNN_CHECK(logits.shape() == Shape({B, T, V}), "expected logits ", Shape({B, T, V}),
                " of the model, got ", logits.shape());
    std::vector<std::vector<double>> out(rows);
    for (std::size_t b = 0; b < rows; ++b) {
      out[b] = detail::logits_at(logits, static_cast<std::int64_t>(b), valid[b] - 1);
      if (cache_) known_[b] = windows[b].size();
    }
    return out;
  }

  void reorder(std::span<const std::int64_t> from) override {
    if (cache_) cache_->reorder(from);
    std::vector<std::size_t> known;
    for (const std::int64_t b : from) known.push_back(known_[static_cast<std::size_t>(b)]);
    known_ = std::move(known);
  }

  void forget(std::size_t row) override {
    if (cache_) cache_->truncate(static_cast<std::int64_t>(row), 0);
    known_[row] = 0;
  }

 private:
  CausalLm& model_;
  std::optional<KvCache> cache_;
  std::vector<std::size_t> known_;  // tokens of each row that are in the cache
};

}  // namespace

std::vector<Generated> generate(CausalLm& model, std::span<const Tokens> prompts,
                                const GenerationOptions& options) {
  const auto reader = [&](std::size_t rows, std::int64_t capacity) -> std::unique_ptr<detail::LogitReader> {
    return std::make_unique<CausalReader>(model, options, rows, capacity);
  };
  return detail::generate({model, model.vocabulary(), model.context(), reader}, prompts, options);
}

Generated generate(CausalLm& model, const Tokens& prompt, const GenerationOptions& options) {
  return std::move(generate(model, std::span(&prompt, 1), options).front());
}

}  // namespace gpunn
