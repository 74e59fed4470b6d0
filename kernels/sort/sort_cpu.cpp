// f32 on the CPU: key and position in one 64-bit word, so that every element is different from all others and
// no sort needs to be stable. Long rows by radix (least digit first, digits on which all agree are skipped),
// short ones by comparison; of few wanted elements only those are sorted. Rows go side by side over the pool.
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

namespace {

using Words = std::vector<std::uint64_t>;

constexpr int kDigit = 11;  // bits: three passes over a key, tables of 16 KiB
constexpr std::size_t kBuckets = std::size_t{1} << kDigit;
constexpr int kDigits = 3;
constexpr std::int64_t kShort = 2048;  // below, comparisons are faster than three tables of counts

std::size_t digit_of(std::uint64_t word, int digit) { return word >> (32 + digit * kDigit) & (kBuckets - 1); }

/// Sorts by the upper half, in which equal elements keep their order.
void radix_sort(Words& words, Words& spare) {
  std::vector<std::array<std::uint32_t, kBuckets>> counts(kDigits);
  for (auto& table : counts) table.fill(0);
  for (const std::uint64_t word : words)
    for (int d = 0; d < kDigits; ++d) ++counts[static_cast<std::size_t>(d)][digit_of(word, d)];
  for (int d = 0; d < kDigits; ++d) {
    auto& table = counts[static_cast<std::size_t>(d)];
    if (table[digit_of(words[0], d)] == words.size()) continue;
    std::uint32_t before = 0;
    for (std::uint32_t& count : table) before += std::exchange(count, before);
    for (const std::uint64_t word : words) spare[table[digit_of(word, d)]++] = word;
    words.swap(spare);
  }
}

void sort_words(Words& words, Words& spare, std::int64_t keep) {
  const auto length = static_cast<std::int64_t>(words.size());
  if (keep <= length / 8) {
    std::nth_element(words.begin(), words.begin() + keep - 1, words.end());
    std::sort(words.begin(), words.begin() + keep);
  } else if (length < kShort) {
    std::sort(words.begin(), words.end());
  } else {
    spare.resize(words.size());
    radix_sort(words, spare);
  }
}

}  // namespace

void sort_cpu(const SortProblem& p, const Exec& exec) {
  if (p.keep == 0) return;
  const auto* x = static_cast<const float*>(p.x);
  auto* y = static_cast<float*>(p.y);
  // A chunk has buffers of its own.
  parallel_for(
      *exec.pool, p.outer * p.inner, rows_per_chunk(p.length), [&](std::int64_t begin, std::int64_t end) {
        Words words(static_cast<std::size_t>(p.length)), spare;
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t o = row / p.inner, i = row % p.inner;
          const float* from = x + o * p.length * p.inner + i;
          for (std::int64_t k = 0; k < p.length; ++k) {
            const std::uint32_t key = sort_key(from[k * p.inner]);
            words[static_cast<std::size_t>(k)] =
                std::uint64_t{p.descending ? ~key : key} << 32 | static_cast<std::uint64_t>(k);
          }
          sort_words(words, spare, p.keep);
          for (std::int64_t k = 0; k < p.keep; ++k) {
            const auto index = static_cast<std::int64_t>(words[static_cast<std::size_t>(k)] & 0xffffffffu);
            const std::int64_t at = (o * p.keep + k) * p.inner + i;
            y[at] = from[index * p.inner];
            p.indices[at] = index;
          }
        }
      });
}

}  // namespace gpunn
