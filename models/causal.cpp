#include <iterator>

#include "gpunn/core/op.h"
#include "gpunn/models/detail/causal.h"

namespace gpunn::detail {

void check_tokens(const Tensor& tokens, std::int64_t context) {
  GPUNN_CHECK(tokens.defined() && tokens.dim() == 2 && tokens.dtype() == DType::i64,
              "expected tokens i64 [B, T], got ",
              tokens.defined() ? to_string(tokens.shape()) : "an undefined tensor");
  GPUNN_CHECK(tokens.size(1) <= context, "expected at most ", context,
              " positions, the context of the model, got ", tokens.size(1));
}

void check_cache_call(const Tensor& tokens, const KvCache& cache, std::span<const std::int64_t> valid,
                      std::int64_t context) {
  check_tokens(tokens, context);
  const std::span<const std::int64_t> held = cache.lengths();
  const std::int64_t B = tokens.size(0);
  GPUNN_CHECK(std::ssize(held) == B, "expected tokens of ", held.size(),
              " sequences as the cache holds, got ", B);
  GPUNN_CHECK(valid.empty() || valid.size() == held.size(), "expected ", B, " numbers of valid tokens, got ",
              valid.size());
  for (std::size_t b = 0; b < held.size(); ++b) {
    const std::int64_t all = held[b] + (valid.empty() ? tokens.size(1) : valid[b]);
    GPUNN_CHECK(all <= context, "expected at most ", context, " positions, the context of the model, got ",
                all, " in sequence ", b);
  }
}

}  // namespace gpunn::detail
