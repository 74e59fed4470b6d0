#pragma once
// Problems and entry points of sorting, and the keys that order elements as unsigned integers.
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

class TuningKey;

/// The first `keep` elements of every sorted row.
struct SortProblem {
  DType dtype;
  bool descending;
  const void* x;                            // [outer, length, inner]
  void* y;                                  // [outer, keep, inner]
  std::int64_t* indices;                    // [outer, keep, inner]
  std::int64_t outer, length, inner, keep;  // keep <= length
};

/// Elements of rows by their indices:
///   gather   y[k] = x[indices[k]]
///   scatter  y[indices[k]] = x[k], and 0 elsewhere; a row's indices are distinct
struct PickProblem {
  DType dtype;
  bool scatter;
  const void* x;                // gather: [outer, length, inner]; scatter: [outer, keep, inner]
  const std::int64_t* indices;  // [outer, keep, inner], in [0, length)
  void* y;                      // gather: [outer, keep, inner]; scatter: [outer, length, inner]
  std::int64_t outer, length, inner, keep;
};

// ---- keys: a < b among elements is key(a) < key(b)

/// NaN is greatest, and the zeros are equal.
GPUNN_HD std::uint32_t sort_key(float v) {
  if (v != v) return 0xffffffffu;
  std::uint32_t bits = 0;
  if (v != 0.0f) memcpy(&bits, &v, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
GPUNN_HD std::uint32_t sort_key(std::int32_t v) { return static_cast<std::uint32_t>(v) ^ 0x80000000u; }
GPUNN_HD std::uint32_t sort_key(std::uint8_t v) { return v; }
GPUNN_HD std::uint32_t sort_key(bool v) { return v ? 1u : 0u; }
GPUNN_HD std::uint64_t sort_key(std::int64_t v) {
  return static_cast<std::uint64_t>(v) ^ (std::uint64_t{1} << 63);
}

/// Keys of i64 are 64 bits wide, all others 32.
template <class T>
using SortKey = std::conditional_t<std::is_same_v<T, std::int64_t>, std::uint64_t, std::uint32_t>;

/// The bits of a key in which two elements of the type can differ without being told apart by a higher one.
/// A half's key is its float's, whose low bits repeat the sign.
struct KeyBits {
  int begin, end;
};
template <class T>
constexpr KeyBits key_bits() {
  if constexpr (std::is_same_v<T, bool>) return {0, 1};
  if constexpr (std::is_same_v<T, Half>) return {13, 32};
  if constexpr (std::is_same_v<T, BFloat16>) return {16, 32};
  return {0, std::is_same_v<T, std::uint8_t> ? 8 : static_cast<int>(8 * sizeof(SortKey<T>))};
}

std::vector<Operand> operands(SortProblem& p);
std::vector<Operand> operands(PickProblem& p);
Cost cost(const SortProblem& p);
Cost cost(const PickProblem& p);
/// What the speed of a sort depends on, for Tuned.
void describe(const SortProblem& p, TuningKey& key);

void sort_ref(const SortProblem& p, const Exec& exec);
void sort_cpu(const SortProblem& p, const Exec& exec);
void sort_cuda(const SortProblem& p, const Exec& exec);
std::size_t sort_cuda_workspace(const SortProblem& p);
// By CUB, in builds with nvcc only.
void sort_cub(const SortProblem& p, const Exec& exec);
std::size_t sort_cub_workspace(const SortProblem& p);
void sort_segments_cub(const SortProblem& p, const Exec& exec);
std::size_t sort_segments_cub_workspace(const SortProblem& p);
void pick_ref(const PickProblem& p, const Exec& exec);
void pick_cuda(const PickProblem& p, const Exec& exec);

extern const ImplementationList<SortProblem> kSort;
extern const ImplementationList<PickProblem> kSortScatter;
extern const ImplementationList<PickProblem> kSortGather;

}  // namespace gpunn
