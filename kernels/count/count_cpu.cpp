// Counting and searching on the pool, every dtype the reference takes. Many elements are counted in tables of
// their own, one per chunk, which are added up afterwards: integers, so that the cut does not show.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/count/count_impl.h"

namespace gpunn {

namespace {

constexpr std::int64_t kChunk = 1 << 16;       // elements: some 50 us
constexpr std::int64_t kMostTables = 64;       // more than the threads there are, few enough to add up
constexpr std::int64_t kElementsPerEntry = 4;  // a table must be cheap beside what is counted in it
constexpr std::int64_t kSearches = 1 << 12;    // of a chunk

std::int64_t tables_of(const BinProblem& p) {
  const std::int64_t tables = p.n / std::max(kChunk, kElementsPerEntry * p.bins);
  return std::clamp<std::int64_t>(tables, 1, kMostTables);
}

template <class T>
auto value_of(T v) {
  if constexpr (std::is_arithmetic_v<T>)
    return v;
  else
    return static_cast<float>(v);
}

template <class T>
void count(const BinProblem& p, std::int64_t begin, std::int64_t end, std::int64_t* counts) {
  using E = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T* x = static_cast<const T*>(p.x);
  std::fill(counts, counts + p.bins, std::int64_t{0});
  for (std::int64_t i = begin; i < end; ++i) {
    const auto v = value_of(x[i]);
    const std::int64_t bin =
        p.with_edges ? bin_of(static_cast<E>(v), static_cast<const E*>(p.edges), p.bins, p.uniform)
                     : static_cast<std::int64_t>(v);
    if (bin >= 0 && bin < p.bins) ++counts[bin];
  }
}

}  // namespace

std::size_t bin_count_cpu_workspace(const BinProblem& p) {
  const std::int64_t tables = tables_of(p);
  return tables == 1 ? 0 : static_cast<std::size_t>(tables * p.bins) * sizeof(std::int64_t);
}

void bin_count_cpu(const BinProblem& p, const Exec& exec) {
  const std::int64_t tables = tables_of(p), piece = (p.n + tables - 1) / tables;
  auto* counts = tables == 1 ? p.y : static_cast<std::int64_t*>(exec.workspace);
  visit_dtype(p.dtype, [&]<class T>(T) {
    parallel_for(*exec.pool, tables, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t)
        count<T>(p, std::min(p.n, t * piece), std::min(p.n, (t + 1) * piece), counts + t * p.bins);
    });
  });
  if (tables == 1) return;
  parallel_for(*exec.pool, p.bins, kChunk / tables, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      std::int64_t sum = 0;
      for (std::int64_t t = 0; t < tables; ++t) sum += counts[t * p.bins + b];
      p.y[b] = sum;
    }
  });
}

void search_cpu(const SearchProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* values = static_cast<const T*>(p.values);
    parallel_for(*exec.pool, p.rows * p.n, kSearches, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T* row = static_cast<const T*>(p.sequence) + (p.one_sequence ? 0 : i / p.n * p.length);
        p.y[i] = place_of(
            value_of(values[i]), [row](std::int64_t k) { return value_of(row[k]); }, p.length, p.right);
      }
    });
  });
}

}  // namespace gpunn
