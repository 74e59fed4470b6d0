// The arithmetic under the allocators: size classes, blocks of segments, sizes in words.
#include "gpunn/core/detail/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/size_class.h"

namespace gpunn {
namespace {

TEST(SizeClassTest, ClassesCoverAllSizesWithBoundedLoss) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const std::size_t bytes = 1 + (random() >> (8 + random() % 56)) % detail::kMaxRequest;
    const std::size_t c = detail::size_class_of(bytes);
    ASSERT_LT(c, detail::kSizeClasses);
    const std::size_t size = detail::size_of_class(c);
    ASSERT_GE(size, bytes);
    ASSERT_EQ(size % detail::kClassUnit, 0u);
    if (c > 0) {
      ASSERT_LT(detail::size_of_class(c - 1), bytes);
    }
    ASSERT_LT(static_cast<double>(size),
              std::max(1.25 * static_cast<double>(bytes), static_cast<double>(bytes) + 64));
  }
  EXPECT_LT(detail::size_class_of(detail::kMaxRequest), detail::kSizeClasses);
}

TEST(BlockPoolTest, StaysConsistentUnderRandomUse) {
  std::mt19937 random(7);
  detail::BlockPool pool;
  std::vector<char> memory(1 << 20);
  int streams[3];
  constexpr std::size_t kSegment = 1 << 18;
  for (std::size_t s = 0; s < 4; ++s) pool.add_segment(memory.data() + s * kSegment, kSegment);
  std::vector<detail::Block*> taken;
  for (int step = 0; step < 20'000; ++step) {
    RawStream stream = &streams[random() % 3];
    if (random() % 2 || taken.empty()) {
      if (detail::Block* b = pool.take(1 + random() % 20'000, stream)) taken.push_back(b);
    } else {
      const std::size_t i = random() % taken.size();
      pool.give(taken[i], stream);
      taken[i] = taken.back();
      taken.pop_back();
    }
    if (step % 1000 == 0)
      for (RawStream owner : pool.owners()) pool.release_to_all(owner, 0);
    if (step % 100 == 0) {
      ASSERT_TRUE(pool.consistent());
    }
  }
  for (detail::Block* b : taken) pool.give(b, &streams[0]);
  for (RawStream owner : pool.owners()) pool.release_to_all(owner, 0);
  EXPECT_TRUE(pool.consistent());
  EXPECT_EQ(pool.largest_free(), kSegment);
  EXPECT_EQ(pool.take_free_segments().size(), 4u);
  EXPECT_EQ(pool.held_bytes(), 0u);
}

TEST(BlockPoolTest, TakesTheBestFit) {
  detail::BlockPool pool;
  std::vector<char> memory(10'000);
  pool.add_segment(memory.data(), 10'000);
  int stream = 0;
  std::vector<detail::Block*> blocks;
  for (std::size_t bytes : {3000, 10, 1000, 10, 2000, 10}) blocks.push_back(pool.take(bytes, &stream));
  for (std::size_t i : {0, 2, 4}) pool.give(blocks[i], &stream);
  char* const fits = blocks[2]->pointer;
  EXPECT_EQ(pool.take(900, &stream)->pointer, fits);
}

TEST(BlockPoolTest, MergesOnlyWhatOneStreamMayUse) {
  detail::BlockPool pool;
  std::vector<char> memory(4096);
  pool.add_segment(memory.data(), 4096);
  int a = 0, b = 0;
  detail::Block* first = pool.take(2048, &a);
  detail::Block* second = pool.take(2048, &b);
  pool.give(first, &a);
  pool.give(second, &b);
  EXPECT_EQ(pool.take(4096, &a), nullptr);
  EXPECT_EQ(pool.take(2048, nullptr), nullptr);
  EXPECT_EQ(pool.find_foreign(2048, &a), second);
  pool.release_to_all(&b, 0);
  EXPECT_EQ(pool.largest_free(), 2048u) << "what is a's must not become anybody's";
  first = pool.take(2048, &a);
  pool.give(first, &a);
  EXPECT_EQ(pool.largest_free(), 4096u) << "a may join what is anybody's";
  EXPECT_EQ(pool.take(4096, &b), nullptr);
  for (RawStream owner : pool.owners()) pool.release_to_all(owner, 0);
  EXPECT_NE(pool.take(4096, &b), nullptr);
}

TEST(BytesTextTest, IsShort) {
  EXPECT_EQ(detail::bytes_text(300), "300 B");
  EXPECT_EQ(detail::bytes_text(1536), "1.50 KiB");
  EXPECT_EQ(detail::bytes_text(std::size_t{1} << 50), "1.00 PiB");
}

}  // namespace
}  // namespace gpunn
