#pragma once
// What launchers ask of sizes and addresses.
#include <cstdint>

#include "gpunn/core/dtype.h"
#include "gpunn/kernels/attention/attention_impl.h"

namespace gpunn {

/// Null when the kernels' tiles can hold the problem.
inline const char* attention_size_reason(const AttentionSizes& s) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // rows are counted in 32 bits
  if (s.D > 256 || s.Dv > 256) return "takes heads of at most 256 elements";
  if (s.Tq > kMost || s.Tk > kMost || s.B * s.Hq > kMost / 64 || s.B * s.Hq * s.Tq / 16 > kMost)
    return "takes at most 2^30 rows";
  return nullptr;
}

/// Whether all rows of an operand start at multiples of `bytes` and are as long as some. `first`: rows are
/// numbered through the batch, so that its stride is not used.
inline bool attention_rows_of(const void* data, const AttentionLayout& l, std::int64_t width, DType dtype,
                              bool first, std::int64_t bytes) {
  const std::int64_t elements = l.head | l.time | width | (first ? 0 : l.batch);
  const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data));
  return (elements * static_cast<std::int64_t>(size_of(dtype)) | address) % bytes == 0;
}

}  // namespace gpunn
