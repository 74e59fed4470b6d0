// Sorting on the CPU: keys and positions in one record, so that every element is different from all others
// and no sort needs to be stable. Long rows by radix (least digit first, digits on which all agree are
// skipped), short ones by comparison; of few wanted elements only those are sorted. Rows go side by side over
// the pool.
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

namespace {

/// A key of 32 bits above the position.
struct Word {
  std::uint64_t bits;
  Word() = default;
  Word(std::uint32_t key, std::uint32_t position) : bits(std::uint64_t{key} << 32 | position) {}
  std::uint64_t key() const { return bits >> 32; }
  std::uint32_t position() const { return static_cast<std::uint32_t>(bits); }
  bool operator<(const Word& other) const { return bits < other.bits; }
};
/// A key of 64 bits.
struct Pair {
  std::uint64_t wide;
  std::uint32_t place;
  Pair() = default;
  Pair(std::uint64_t key, std::uint32_t position) : wide(key), place(position) {}
  std::uint64_t key() const { return wide; }
  std::uint32_t position() const { return place; }
  bool operator<(const Pair& other) const {
    return wide < other.wide || (wide == other.wide && place < other.place);
  }
};

constexpr int kDigit = 11;  // bits: three passes over a key of 32, tables of 16 KiB
constexpr std::size_t kBuckets = std::size_t{1} << kDigit;
template <class R>
constexpr int kDigits = std::is_same_v<R, Word> ? 3 : 6;
constexpr std::int64_t kShort = 2048;  // below, comparisons are faster than the tables of counts

template <class R>
std::size_t digit_of(const R& record, int digit) {
  return record.key() >> (digit * kDigit) & (kBuckets - 1);
}

/// Sorts by the keys; equal ones keep their order.
template <class R>
void radix_sort(std::vector<R>& records, std::vector<R>& spare) {
  std::vector<std::array<std::uint32_t, kBuckets>> counts(kDigits<R>);
  for (auto& table : counts) table.fill(0);
  for (const R& record : records)
    for (int d = 0; d < kDigits<R>; ++d) ++counts[static_cast<std::size_t>(d)][digit_of(record, d)];
  for (int d = 0; d < kDigits<R>; ++d) {
    auto& table = counts[static_cast<std::size_t>(d)];
    if (table[digit_of(records[0], d)] == records.size()) continue;
    std::uint32_t before = 0;
    for (std::uint32_t& count : table) before += std::exchange(count, before);
    for (const R& record : records) spare[table[digit_of(record, d)]++] = record;
    records.swap(spare);
  }
}

template <class R>
void sort_records(std::vector<R>& records, std::vector<R>& spare, std::int64_t keep) {
  const auto length = static_cast<std::int64_t>(records.size());
  if (keep <= length / 8) {
    std::nth_element(records.begin(), records.begin() + keep - 1, records.end());
    std::sort(records.begin(), records.begin() + keep);
  } else if (length < kShort) {
    std::sort(records.begin(), records.end());
  } else {
    spare.resize(records.size());
    radix_sort(records, spare);
  }
}

template <class T>
auto key_of(T v) {
  if constexpr (std::is_integral_v<T>)
    return sort_key(v);
  else
    return sort_key(static_cast<float>(v));
}

template <class T>
void sort_rows(const SortProblem& p, std::int64_t begin, std::int64_t end) {
  using R = std::conditional_t<std::is_same_v<T, std::int64_t>, Pair, Word>;
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  std::vector<R> records(static_cast<std::size_t>(p.length)), spare;
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t o = row / p.inner, i = row % p.inner;
    const T* from = x + o * p.length * p.inner + i;
    for (std::int64_t k = 0; k < p.length; ++k) {
      const auto key = key_of(from[k * p.inner]);
      records[static_cast<std::size_t>(k)] = R(p.descending ? ~key : key, static_cast<std::uint32_t>(k));
    }
    sort_records(records, spare, p.keep);
    for (std::int64_t k = 0; k < p.keep; ++k) {
      const std::int64_t index = records[static_cast<std::size_t>(k)].position();
      const std::int64_t at = (o * p.keep + k) * p.inner + i;
      y[at] = from[index * p.inner];
      p.indices[at] = index;
    }
  }
}

}  // namespace

void sort_cpu(const SortProblem& p, const Exec& exec) {
  if (p.keep == 0) return;
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>)  // refused by accepts()
      parallel_for(*exec.pool, p.outer * p.inner, rows_per_chunk(p.length),
                   [&](std::int64_t begin, std::int64_t end) { sort_rows<T>(p, begin, end); });
  });
}

}  // namespace gpunn
