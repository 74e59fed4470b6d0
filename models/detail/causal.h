#pragma once
// What decoders check alike.
#include <cstdint>
#include <span>

#include "gpunn/layers/kv_cache.h"
#include "gpunn/models/detail/evaluation_scope.h"  // IWYU pragma: export

namespace gpunn::detail {

/// Throws InvalidArgument unless tokens are i64 [B, T], T at most `context`.
void check_tokens(const Tensor& tokens, std::int64_t context);

/// Of tokens that come behind what the cache holds: throws InvalidArgument as check_tokens(), for another
/// batch than the cache's, and naming the sequence whose positions pass the context.
void check_cache_call(const Tensor& tokens, const KvCache& cache, std::span<const std::int64_t> valid,
                      std::int64_t context);

}  // namespace gpunn::detail
