// Counting and searching on the pool, every dtype the reference takes. Many elements are counted in tables of
// their own, one per chunk, which are added up afterwards: integers, so that the cut does not show.
#include <algorithm>
#include <array>
#include <utility>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/count/count_impl.h"

namespace gpunn {

namespace {

constexpr std::int64_t kChunk = 1 << 16;        // elements: some 50 us
constexpr std::int64_t kMostTables = 64;        // more than the threads there are, few enough to add up
constexpr std::int64_t kElementsPerEntry = 4;   // a table must be cheap beside what is counted in it
constexpr std::int64_t kMostCounted = 1 << 30;  // before a count of 32 bits is emptied
constexpr std::int64_t kSearches = 1 << 12;     // of a chunk

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

/// Adds elements [begin, end) to counts [bins].
template <class T, bool kEdges>
void count(const BinProblem& p, std::int64_t begin, std::int64_t end, std::int64_t* counts) {
  using E = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const T* x = static_cast<const T*>(p.x);
  [[maybe_unused]] const E* edges = static_cast<const E*>(p.edges);
  const std::int64_t bins = p.bins;
  [[maybe_unused]] const bool uniform = p.uniform;
  // An element that falls into the bin of the one before waits for its sum to be written: few bins get
  // several tables, which neighbours use in turn.
  constexpr std::int64_t kFew = 512;
  constexpr int kTurns = 4;
  std::array<std::array<std::uint32_t, kFew>, kTurns> turns{};
  std::fill(counts, counts + bins, std::int64_t{0});
  const auto bin_at = [&](std::int64_t i) {
    const auto v = value_of(x[i]);
    if constexpr (kEdges) return bin_of(static_cast<E>(v), edges, bins, uniform);
    const auto bin = static_cast<std::int64_t>(v);
    return static_cast<std::uint64_t>(bin) < static_cast<std::uint64_t>(bins) ? bin : -1;
  };
  while (bins <= kFew && begin + kTurns <= end) {
    const std::int64_t last = std::min(end, begin + kMostCounted) - kTurns;
    for (; begin <= last; begin += kTurns)
      for (int t = 0; t < kTurns; ++t)
        if (const std::int64_t bin = bin_at(begin + t); bin >= 0)
          ++turns[static_cast<std::size_t>(t)][static_cast<std::size_t>(bin)];
    for (auto& turn : turns)
      for (std::int64_t b = 0; b < bins; ++b)
        counts[b] += std::exchange(turn[static_cast<std::size_t>(b)], 0);
  }
  for (; begin < end; ++begin)
    if (const std::int64_t bin = bin_at(begin); bin >= 0) ++counts[bin];
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
    const auto run = p.with_edges ? &count<T, true> : &count<T, false>;
    parallel_for(*exec.pool, tables, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t)
        run(p, std::min(p.n, t * piece), std::min(p.n, (t + 1) * piece), counts + t * p.bins);
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
