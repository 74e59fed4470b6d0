#include "gpunn/core/cpu_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/detail/cpu_count.h"
#include "gpunn/core/error.h"

namespace gpunn {
namespace {

constexpr int kPoolSizes[] = {1, 2, 3, 8};

TEST(CpuPoolTest, RunsEveryChunkOnce) {
  for (int threads : kPoolSizes) {
    CpuPool pool(threads);
    for (std::int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(chunks));
      pool.run(chunks, [&](std::int64_t c) { ++runs[static_cast<std::size_t>(c)]; });
      for (const auto& n : runs) ASSERT_EQ(n.load(), 1) << threads << " threads, " << chunks << " chunks";
    }
  }
}

// Chunk sums in float, added in chunk order: the bits must not depend on who ran a chunk.
float sum_of_sines(CpuPool& pool, std::int64_t n) {
  constexpr std::int64_t kGrain = 777;
  std::vector<float> sums(static_cast<std::size_t>((n + kGrain - 1) / kGrain));
  parallel_for(pool, n, kGrain, [&](std::int64_t begin, std::int64_t end) {
    float sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += std::sin(static_cast<float>(i));
    sums[static_cast<std::size_t>(begin / kGrain)] = sum;
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0f);
}

TEST(CpuPoolTest, ResultsDoNotDependOnTheNumberOfThreads) {
  CpuPool one(1);
  const float expected = sum_of_sines(one, 100'000);
  for (int threads : kPoolSizes) {
    CpuPool pool(threads);
    for (int repeat = 0; repeat < 20; ++repeat) ASSERT_EQ(sum_of_sines(pool, 100'000), expected) << threads;
  }
}

TEST(CpuPoolTest, ParallelForCoversTheRangeWithoutGaps) {
  CpuPool pool(3);
  for (std::int64_t n : {1, 9, 10, 11, 1003}) {
    std::vector<int> seen(static_cast<std::size_t>(n));
    parallel_for(pool, n, 10, [&](std::int64_t begin, std::int64_t end) {
      ASSERT_EQ(begin % 10, 0);
      ASSERT_LE(end - begin, 10);
      for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), n);
  }
}

TEST(CpuPoolTest, WorkOfOneGrainStaysOnTheCaller) {
  CpuPool pool(4);
  const auto caller = std::this_thread::get_id();
  parallel_for(pool, 100, 100,
               [&](std::int64_t, std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
  pool.run(1, [&](std::int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(CpuPoolTest, SeveralThreadsTakePart) {
  CpuPool pool(2);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  // The first chunk waits for a second thread; without one this would take the whole deadline.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  pool.run(2, [&](std::int64_t) {
    std::unique_lock lock(mutex);
    ids.insert(std::this_thread::get_id());
    while (ids.size() < 2 && std::chrono::steady_clock::now() < deadline) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
  });
  EXPECT_EQ(ids.size(), 2u);
}

TEST(CpuPoolTest, TheLowestFailureIsRethrownAndThePoolGoesOn) {
  for (int threads : kPoolSizes) {
    CpuPool pool(threads);
    for (int repeat = 0; repeat < 100; ++repeat) {
      try {
        pool.run(64, [](std::int64_t c) {
          if (c >= 5 && c % 2 == 1) throw std::runtime_error(std::to_string(c));
        });
        FAIL() << "no exception";
      } catch (const std::runtime_error& e) {
        ASSERT_STREQ(e.what(), "5");
      }
    }
    std::atomic<int> count{0};
    pool.run(10, [&](std::int64_t) { ++count; });
    EXPECT_EQ(count, 10);
  }
}

TEST(CpuPoolTest, ACallFromAChunkRunsInline) {
  CpuPool pool(3);
  std::atomic<int> count{0};
  pool.run(6, [&](std::int64_t) {
    const auto outer = std::this_thread::get_id();
    pool.run(5, [&](std::int64_t) {
      EXPECT_EQ(std::this_thread::get_id(), outer);
      ++count;
    });
  });
  EXPECT_EQ(count, 30);
}

TEST(CpuPoolTest, RejectsAnEmptyPool) { EXPECT_THROW(CpuPool pool(0), InvalidArgument); }

TEST(CpuPoolRaceTest, SeveralCallersAtOnce) {
  CpuPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&, t] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        std::vector<std::int64_t> out(17);
        pool.run(17, [&](std::int64_t c) { out[static_cast<std::size_t>(c)] = c * t; });
        for (std::int64_t c = 0; c < 17; ++c) wrong += out[static_cast<std::size_t>(c)] != c * t;
      }
    });
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(CpuPoolRaceTest, ShortJobsAndPauses) {
  CpuPool pool(4);
  std::int64_t total = 0;
  for (int job = 0; job < 500; ++job) {
    std::vector<std::int64_t> out(4);
    pool.run(4, [&](std::int64_t c) { out[static_cast<std::size_t>(c)] = c + job; });
    for (std::int64_t v : out) total += v;
    if (job % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // workers park
  }
  EXPECT_EQ(total, 500 * 6 + 4 * (499 * 500 / 2));
}

TEST(CpuPoolRaceTest, FailuresFromSeveralThreads) {
  CpuPool pool(4);
  for (int repeat = 0; repeat < 200; ++repeat)
    EXPECT_THROW(pool.run(16,
                          [](std::int64_t c) {
                            if (c % 3 == 2) throw std::runtime_error("odd");
                          }),
                 std::runtime_error);
}

TEST(CpuPoolRaceTest, PoolsComeAndGo) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    CpuPool unused(4);
    CpuPool pool(1 + repeat % 4);
    std::atomic<int> count{0};
    pool.run(3, [&](std::int64_t) { ++count; });
    ASSERT_EQ(count, 3);
  }
}

class CpuCountTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(::testing::TempDir()) /
            ("gpunn_cgroup_" + std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    const auto file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::filesystem::path root_;
};

TEST_F(CpuCountTest, ReadsTheUnifiedHierarchy) {
  write("a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "0::/a/b\n"), 2);  // one and a half, rounded up
  write("a/cpu.max", "100000 100000\n");
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "0::/a/b\n"), 1) << "the parent's quota binds";
}

TEST_F(CpuCountTest, NoLimitIsZero) {
  write("a/cpu.max", "max 100000\n");
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "0::/a\n"), 0);
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, ""), 0);
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "nonsense\n0::\n::\n"), 0);
}

TEST_F(CpuCountTest, FallsBackToTheRootInsideAContainer) {
  write("cpu.max", "400000 100000\n");
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "0::/docker/0123\n"), 4);
}

TEST_F(CpuCountTest, ReadsTheFirstVersion) {
  write("cpu/job/cpu.cfs_quota_us", "250000\n");
  write("cpu/job/cpu.cfs_period_us", "100000\n");
  write("cpu/free/cpu.cfs_quota_us", "-1\n");
  write("cpu/free/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "4:cpu,cpuacct:/job\n2:cpuset:/free\n"), 3);
  EXPECT_EQ(detail::cgroup_cpu_limit(root_, "4:cpu,cpuacct:/free\n"), 0);
}

TEST_F(CpuCountTest, TheVariableDecidesAndIsChecked) {
  ::setenv("GPUNN_NUM_THREADS", "3", 1);
  EXPECT_EQ(detail::default_thread_count(), 3);
  for (const char* bad : {"0", "-1", "two", "2x", "100000"}) {
    ::setenv("GPUNN_NUM_THREADS", bad, 1);
    EXPECT_THROW(detail::default_thread_count(), InvalidArgument) << bad;
  }
  ::unsetenv("GPUNN_NUM_THREADS");
  EXPECT_EQ(detail::default_thread_count(), detail::usable_cores());
  EXPECT_GE(detail::usable_cores(), 1);
}

}  // namespace
}  // namespace gpunn
