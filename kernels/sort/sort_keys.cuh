#pragma once
// What the vendor's sorts share: elements become unsigned keys in sort()'s order, in rows without gaps,
// beside their positions; sorted positions become the result.
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/vendor_call.cuh"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

inline constexpr int kKeysBlock = 256;

/// The arrays of a sort in its workspace, each [rows, length], and what the vendor needs behind them. The
/// first pair holds what is to be sorted.
template <class T>
struct SortArrays {
  SortKey<T>* keys[2];
  std::uint32_t* positions[2];
  void* temporary;
  std::size_t temporary_bytes;

  static std::size_t bytes(std::int64_t total) {
    const std::size_t arrays =
        2 * (sizeof(SortKey<T>) + sizeof(std::uint32_t)) * static_cast<std::size_t>(total);
    return (arrays + 255) / 256 * 256;
  }
  SortArrays(const Exec& exec, std::int64_t total) {
    auto* at = static_cast<SortKey<T>*>(exec.workspace);
    keys[0] = at;
    keys[1] = at + total;
    positions[0] = reinterpret_cast<std::uint32_t*>(at + 2 * total);
    positions[1] = positions[0] + total;
    temporary = static_cast<char*>(exec.workspace) + bytes(total);
    temporary_bytes = exec.workspace_bytes - bytes(total);
  }
};

/// Offset of element k of row `row` in [outer, extent, inner].
GPUNN_DEVICE std::int64_t row_offset(std::int64_t row, std::int64_t k, std::int64_t extent,
                                     std::int64_t inner) {
  return (row / inner * extent + k) * inner + row % inner;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kKeysBlock)
    sort_fwd_keys_kernel(const __grid_constant__ SortProblem p, SortKey<T>* keys, std::uint32_t* positions,
                         std::int64_t total) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kKeysBlock + threadIdx.x; i < total;
       i += static_cast<std::int64_t>(gridDim.x) * kKeysBlock) {
    const std::int64_t row = i / p.length, k = i % p.length;
    const T v = static_cast<const T*>(p.x)[row_offset(row, k, p.length, p.inner)];
    SortKey<T> key;
    if constexpr (std::is_integral_v<T>)
      key = sort_key(v);
    else
      key = sort_key(to_float(v));
    keys[i] = p.descending ? ~key : key;
    positions[i] = static_cast<std::uint32_t>(k);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kKeysBlock)
    sort_fwd_pick_kernel(const __grid_constant__ SortProblem p, const std::uint32_t* positions,
                         std::int64_t total) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kKeysBlock + threadIdx.x; i < total;
       i += static_cast<std::int64_t>(gridDim.x) * kKeysBlock) {
    const std::int64_t row = i / p.keep, k = i % p.keep;
    const std::int64_t from = positions[row * p.length + k], to = row_offset(row, k, p.keep, p.inner);
    static_cast<T*>(p.y)[to] = static_cast<const T*>(p.x)[row_offset(row, from, p.length, p.inner)];
    p.indices[to] = from;
  }
}

inline Grid keys_grid(std::int64_t elements) {
  constexpr std::int64_t kMostBlocks = 1 << 16;
  const std::int64_t blocks = (elements + kKeysBlock - 1) / kKeysBlock;
  return {dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), dim3(kKeysBlock)};
}

/// Keys, then order(arrays), which says which pair holds the sorted rows, then the result.
template <class T, class F>
void sort_by_keys(const SortProblem& p, const Exec& exec, F&& order) {
  const std::int64_t rows = p.outer * p.inner, total = rows * p.length;
  if (total == 0 || p.keep == 0) return;
  const SortArrays<T> arrays(exec, total);
  launch("sort_fwd_keys_kernel", sort_fwd_keys_kernel<T>, keys_grid(total), exec, p, arrays.keys[0],
         arrays.positions[0], total);
  const int sorted = order(arrays);
  launch("sort_fwd_pick_kernel", sort_fwd_pick_kernel<T>, keys_grid(rows * p.keep), exec, p,
         static_cast<const std::uint32_t*>(arrays.positions[sorted]), rows * p.keep);
}

}  // namespace gpunn
