#pragma once
// What decoders share.
#include <cstdint>

#include "gpunn/layers/kv_cache.h"
#include "gpunn/models/detail/in_evaluation.h"  // IWYU pragma: export

namespace gpunn::detail {

/// Throws InvalidArgument unless tokens are i64 [B, T], T at most `context`.
void check_tokens(const Tensor& tokens, std::int64_t context);

/// Positions i64 [B, T] of tokens [B, T] that come behind what the cache holds, on the tokens' device. Throws
/// InvalidArgument as check_tokens, for another batch than the cache's, and naming the sequence whose
/// positions pass the context. Those of tokens that are not `valid` anyway are cut to the last position.
Tensor cache_positions(const Tensor& tokens, const KvCache& cache, std::span<const std::int64_t> valid,
                       std::int64_t context);

}  // namespace gpunn::detail
