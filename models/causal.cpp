#include <algorithm>
#include <vector>

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

Tensor cache_positions(const Tensor& tokens, const KvCache& cache, std::span<const std::int64_t> valid,
                       std::int64_t context) {
  check_tokens(tokens, context);
  const std::span<const std::int64_t> held = cache.lengths();
  const std::int64_t B = tokens.size(0), T = tokens.size(1);
  GPUNN_CHECK(static_cast<std::int64_t>(held.size()) == B, "expected tokens of ", held.size(),
              " sequences as the cache holds, got ", B);
  GPUNN_CHECK(valid.empty() || valid.size() == held.size(), "expected ", B, " numbers of valid tokens, got ",
              valid.size());
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(B * T));
  for (std::size_t b = 0; b < held.size(); ++b) {
    const std::int64_t count = valid.empty() ? T : valid[b];
    GPUNN_CHECK(held[b] + count <= context, "expected at most ", context,
                " positions, the context of the model, got ", held[b] + count, " in sequence ", b);
    for (std::int64_t t = 0; t < T; ++t) positions.push_back(std::min(held[b] + t, context - 1));
  }
  return Tensor::from(positions, {B, T}, {.device = tokens.device()});
}

}  // namespace gpunn::detail
