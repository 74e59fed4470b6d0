#include "gpunn/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <thread>
#include <vector>

#include "gpunn/core/runtime.h"

namespace gpunn {
namespace {

// Known answers of Random123's test suite (kat_vectors, philox4x32 10).
TEST(PhiloxTest, KnownAnswers) {
  struct Vector {
    Philox4 counter;
    std::uint32_t key[2];
    Philox4 expected;
  };
  constexpr Vector kVectors[] = {
      {{{0, 0, 0, 0}}, {0, 0}, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
      {{{~0u, ~0u, ~0u, ~0u}}, {~0u, ~0u}, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
       {0xa4093822, 0x299f31d0},
       {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
  };
  for (const Vector& v : kVectors) {
    const Philox4 got = philox4x32(v.counter, v.key[0], v.key[1]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(got.v[i], v.expected.v[i]);
  }
}

TEST(PhiloxTest, PositionFillsCounterAndKey) {
  const Philox4 a = philox_at(0x299f31d0a4093822u, 0x85a308d3243f6a88u, 0x0370734413198a2eu);
  EXPECT_EQ(a.v[0], 0xd16cfe09u);
  EXPECT_EQ(a.v[3], 0x24126ea1u);
}

TEST(PhiloxTest, UniformIsInTheHalfOpenInterval) {
  EXPECT_EQ(philox_uniform(0), 0.0f);
  EXPECT_EQ(philox_uniform(~0u), 1.0f - 0x1p-24f);
  EXPECT_LT(philox_uniform(~0u), 1.0f);
}

TEST(PhiloxStreamTest, ReadsTheStreamInOrder) {
  PhiloxStream stream(42, 7);
  for (std::uint64_t block = 0; block < 5; ++block) {
    const Philox4 expected = philox_at(42, block, 7);
    for (std::uint32_t bits : expected.v) EXPECT_EQ(stream.bits(), bits);
  }
}

TEST(PhiloxStreamTest, UniformAndNormalHaveTheirMoments) {
  constexpr int kCount = 200'000;
  PhiloxStream stream(1, 0);
  double sum = 0, squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = stream.uniform();
    sum += u;
    squares += u * u;
  }
  // Five standard errors of the mean and of the variance.
  EXPECT_NEAR(sum / kCount, 0.5, 5 * std::sqrt(1.0 / 12 / kCount));
  EXPECT_NEAR(squares / kCount, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kCount));
  sum = squares = 0;
  double largest = 0;
  for (int i = 0; i < kCount; ++i) {
    const double z = stream.normal();
    ASSERT_TRUE(std::isfinite(z));
    sum += z;
    squares += z * z;
    largest = std::max(largest, std::fabs(z));
  }
  EXPECT_NEAR(sum / kCount, 0.0, 5 / std::sqrt(1.0 * kCount));
  EXPECT_NEAR(squares / kCount, 1.0, 5 * std::sqrt(2.0 / kCount));
  EXPECT_GT(largest, 3.5);
}

TEST(PhiloxStreamTest, BelowIsUnbiasedAndInRange) {
  PhiloxStream stream(3, 0);
  for (std::uint64_t n : {1ull, 2ull, 3ull, 10ull}) {
    constexpr int kDraws = 60'000;
    std::vector<int> counts(n);
    for (int i = 0; i < kDraws; ++i) {
      const std::uint64_t v = stream.below(n);
      ASSERT_LT(v, n);
      ++counts[v];
    }
    const double expected = 1.0 * kDraws / static_cast<double>(n);
    for (int count : counts) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected) + 1);
  }
  // Three quarters of 2^64: a plain remainder would give the lower third twice as often.
  const std::uint64_t n = 3ull << 62;
  int low = 0;
  constexpr int kDraws = 30'000;
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t v = stream.below(n);
    ASSERT_LT(v, n);
    low += v < n / 3;
  }
  EXPECT_NEAR(low, kDraws / 3.0, 5 * std::sqrt(kDraws * 2.0 / 9));
  EXPECT_LE(stream.below(~0ull), ~0ull - 1);
}

TEST(GeneratorTest, RangesFollowEachOtherAndCanBeContinued) {
  Generator g(5);
  EXPECT_EQ(g.reserve(3), 0u);
  EXPECT_EQ(g.reserve(1), 3u);
  EXPECT_EQ(g.offset(), 4u);
  g.set_state(9, 100);
  EXPECT_EQ(g.seed(), 9u);
  EXPECT_EQ(g.reserve(1), 100u);
  g.set_seed(9);
  EXPECT_EQ(g.offset(), 0u);
}

TEST(GeneratorTest, ManualSeedActsOnTheCurrentRuntime) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  RuntimeScope scope(runtime);
  runtime.generator().reserve(10);
  manual_seed(77);
  EXPECT_EQ(runtime.generator().seed(), 77u);
  EXPECT_EQ(runtime.generator().offset(), 0u);
}

TEST(GeneratorRaceTest, NobodyGetsARangeTwice) {
  Generator g(0);
  constexpr int kThreads = 4, kTurns = 1000;
  std::vector<std::vector<std::uint64_t>> firsts(kThreads);
  std::vector<std::thread> threads;
  for (auto& mine : firsts)
    threads.emplace_back([&g, &mine] {
      for (int i = 0; i < kTurns; ++i) mine.push_back(g.reserve(2));
    });
  for (auto& t : threads) t.join();
  std::set<std::uint64_t> all;
  for (const auto& mine : firsts) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kThreads * kTurns));
  EXPECT_EQ(*all.rbegin(), 2u * (kThreads * kTurns - 1));
}

}  // namespace
}  // namespace gpunn
