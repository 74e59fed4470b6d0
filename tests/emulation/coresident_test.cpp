// Launches whose blocks wait for each other: right results in every order of threads and blocks, what the
// device holds, and what is reported. bug_test.cpp has the planted bugs by build.

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/emulation/bug_kernels.h"
#include "tests/emulation/coresident_kernels.h"
#include "tests/emulation/device_array.h"
#include "tests/emulation/schedules.h"

namespace gpunn::test {
namespace {

using testing::HasSubstr;

std::vector<float> numbers(int n) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 7 % 31);
  return x;
}

struct Exchange {
  explicit Exchange(const ExchangeShape& s)
      : shape(s), x(numbers(s.blocks * s.threads)), values(x.host.size()), y(x.host.size()) {
    counter.fill_zero();
  }
  ExchangeMemory memory() const { return {x.data(), values.data(), y.data(), counter.data()}; }
  bool right() { return near_all(y.download(), expected_exchange(x.host, shape)); }

  ExchangeShape shape;
  DeviceArray<float> x, values, y;
  DeviceArray<unsigned> counter{std::size_t{1}};
};

class CoresidentRace : public OrderedTest {};
INSTANTIATE_TEST_SUITE_P(Orders, CoresidentRace, testing::ValuesIn(kOrders), order_name);

TEST_P(CoresidentRace, BlocksExchangeTheirValues) {
  for (const ExchangeShape shape : {ExchangeShape{1, 5, 3}, {2, 1, 7}, {3, 34, 4}, {7, 3, 5}})
    for (const GridBug twin : {GridBug::none, GridBug::none_split}) {
      Exchange exchange(shape);
      ASSERT_EQ(launch_exchange(twin, shape, exchange.memory()), cudaSuccess);
      EXPECT_TRUE(exchange.right()) << shape.blocks << " blocks of " << shape.threads;
    }
}

// The counter is zeroed once, before the first of launches with odd and even numbers of rounds.
TEST_P(CoresidentRace, ACounterServesManyLaunches) {
  DeviceArray<unsigned> counter(std::vector<unsigned>{0});
  for (const int rounds : {1, 4, 3, 50})
    for (const int blocks : {3, 5}) {
      Exchange exchange({blocks, 3, rounds});
      ExchangeMemory memory = exchange.memory();
      memory.counter = counter.data();
      ASSERT_EQ(launch_exchange(GridBug::none, exchange.shape, memory), cudaSuccess);
      ASSERT_TRUE(exchange.right()) << blocks << " blocks, " << rounds << " rounds";
      EXPECT_EQ(counter.download()[0] & 0x7fffffffu, 0u);
    }
}

TEST_P(CoresidentRace, GridsAndBlocksOfThreeDimensions) {
  const dim3 grid(2, 3, 2), block(3, 1, 2);
  const int blocks = 12, threads = 6;
  DeviceArray<float> x(numbers(blocks * threads)), partial(blocks), y(std::size_t{1});
  DeviceArray<unsigned> counter(std::vector<unsigned>{0});
  ASSERT_EQ(launch_grid_sum(grid, block, x.data(), partial.data(), y.data(), counter.data()), cudaSuccess);
  float expected = 0;
  for (const float value : x.host) expected += value;
  EXPECT_EQ(y.download()[0], expected);
}

TEST_P(CoresidentRace, FlagsInPlaceOfABarrier) {
  DeviceArray<unsigned> flags(kHigherBlocks);
  flags.fill_zero();
  ASSERT_EQ(launch_higher_block(true, flags.data()), cudaSuccess);
  for (const unsigned flag : flags.download()) EXPECT_EQ(flag, 1u);
}

// Co-resident launches of two streams and ordinary kernels between them do not get into each other's way.
TEST_P(CoresidentRace, StreamsBesideEachOther) {
  cudaStream_t streams[2];
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (cudaStream_t& stream : streams)
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  DeviceArray<float> x(numbers(256)), y(std::size_t{256});
  for (int i = 0; i < 6; ++i) {
    exchanges.push_back(std::make_unique<Exchange>(ExchangeShape{3 + i % 2, 4, 4}));
    cudaStream_t stream = streams[i % 2];
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);  // counter and x are there
    ASSERT_EQ(launch_exchange(GridBug::none, exchanges.back()->shape, exchanges.back()->memory(), stream),
              cudaSuccess);
    ASSERT_EQ(launch_scale(x.data(), y.data(), 2.0f, 256, streams[0]), cudaSuccess);
  }
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  for (const auto& exchange : exchanges) EXPECT_TRUE(exchange->right());
  for (cudaStream_t stream : streams) cudaStreamDestroy(stream);
}

class Coresident : public testing::Test {
 protected:
  void SetUp() override { saved_ = emu::config(); }
  void TearDown() override {
    emu::reset_device();
    emu::set_config(saved_);
  }
  // In how many of 16 orders the result is wrong.
  int wrong_orders(GridBug bug) {
    int wrong = 0;
    for (int i = 0; i < 16; ++i) {
      emu::Config order = saved_;
      constexpr emu::Schedule kSchedules[] = {emu::Schedule::seq, emu::Schedule::reverse, emu::Schedule::pct,
                                              emu::Schedule::random};
      order.schedule = kSchedules[i % 4];
      order.seed = static_cast<std::uint64_t>(100 + i);
      order.threads = 1 + i % 2;
      emu::set_config(order);
      Exchange exchange(kExchangeShape);
      EXPECT_EQ(launch_exchange(bug, exchange.shape, exchange.memory()), cudaSuccess);
      wrong += exchange.right() ? 0 : 1;
    }
    return wrong;
  }
  std::string report_of_failure() {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    const std::string text = emu::last_report();
    emu::reset_device();
    return text;
  }

 private:
  emu::Config saved_;
};

TEST_F(Coresident, OrdersShowWhatIsMissing) {
  EXPECT_EQ(wrong_orders(GridBug::none), 0);
  EXPECT_EQ(wrong_orders(GridBug::none_split), 0);
  EXPECT_GE(wrong_orders(GridBug::no_barrier_before_read), 14);
  EXPECT_GE(wrong_orders(GridBug::no_barrier_before_reuse), 14);
  EXPECT_GE(wrong_orders(GridBug::write_after_arrive), 6);  // reversed order shows nothing
}

TEST_F(Coresident, AMissingArrivalIsReportedAtOnceAndTheDeviceGoesOn) {
  Exchange exchange(kExchangeShape);
  static_cast<void>(launch_exchange(GridBug::missing_arrival, exchange.shape, exchange.memory()));
  const std::string text = report_of_failure();
  EXPECT_THAT(text, HasSubstr("deadlock (blocks wait for each other; 1 of 4 have ended)"));
  EXPECT_THAT(text, HasSubstr("kernel exchange, block ("));
  // The counter holds arrivals of the failed launch; zeroed it is as good as new.
  EXPECT_NE(exchange.counter.download()[0] & 0x7fffffffu, 0u);
  exchange.counter.fill_zero();
  ASSERT_EQ(launch_exchange(GridBug::none, exchange.shape, exchange.memory()), cudaSuccess);
  EXPECT_TRUE(exchange.right());
}

TEST_F(Coresident, AnOrdinaryLaunchIsReported) {
  Exchange exchange(kExchangeShape);
  static_cast<void>(launch_exchange(GridBug::ordinary_launch, exchange.shape, exchange.memory()));
  const std::string text = report_of_failure();
  EXPECT_THAT(text, HasSubstr("launch_coresident() is needed"));
  EXPECT_THAT(text, HasSubstr("kernel exchange, block ("));
  Exchange alone({1, 32, 3});  // a block alone has nobody to wait for
  ASSERT_EQ(launch_exchange(GridBug::ordinary_launch, alone.shape, alone.memory()), cudaSuccess);
  EXPECT_TRUE(alone.right());
}

// Every hop is a pause of both blocks without any barrier, but no deadlock.
TEST_F(Coresident, AHundredThousandHandOversAreNoDeadlock) {
  constexpr unsigned kHops = 100'000;
  DeviceArray<unsigned> flags(std::vector<unsigned>{0, 0});
  DeviceArray<float> y(std::size_t{1});
  ASSERT_EQ(launch_ping_pong(kHops, flags.data(), y.data()), cudaSuccess);
  EXPECT_EQ(y.download()[0], 2.0f * kHops);
}

TEST_F(Coresident, TheDeviceHoldsWhatItsMultiprocessorsHold) {
  int of_each = 0, blocks = 0;
  ASSERT_EQ(occupancy(of_each, 256, 0), cudaSuccess);
  EXPECT_EQ(of_each, 8);  // 2,048 threads
  ASSERT_EQ(occupancy(of_each, 33, 0), cudaSuccess);
  EXPECT_EQ(of_each, 32);  // 64 threads would be 32 too
  ASSERT_EQ(occupancy(of_each, 1, 0), cudaSuccess);
  EXPECT_EQ(of_each, 32);
  ASSERT_EQ(occupancy(of_each, 1024, 40 << 10), cudaSuccess);
  EXPECT_EQ(of_each, 2);
  ASSERT_EQ(occupancy(of_each, 64, 40 << 10), cudaSuccess);
  EXPECT_EQ(of_each, 5);  // 228 KiB, one more for each block
  ASSERT_EQ(occupancy(of_each, 64, 100 << 10), cudaSuccess);
  EXPECT_EQ(of_each, 0);  // the kernel has not opted in
  EXPECT_EQ(occupancy(of_each, 1025, 0), cudaErrorInvalidValue);
  EXPECT_EQ(occupancy(of_each, 0, 0), cudaErrorInvalidValue);
  static_cast<void>(cudaGetLastError());
  ASSERT_EQ(device_blocks(blocks, 64, 100 << 10), cudaSuccess);
  EXPECT_EQ(blocks, 8);
  ASSERT_EQ(device_blocks(blocks, 64, 227 << 10), cudaSuccess);
  EXPECT_EQ(blocks, 4);
  ASSERT_EQ(device_blocks(blocks, 64, 228 << 10), cudaSuccess);
  EXPECT_EQ(blocks, 0);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  int cooperative = 0;
  ASSERT_EQ(cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, 0), cudaSuccess);
  EXPECT_EQ(cooperative, 1);
}

TEST_F(Coresident, AGridThatDoesNotFitIsRefused) {
  DeviceArray<float> y(std::size_t{40 * 32});
  const auto launches = emu::stats().launches;
  EXPECT_EQ(launch_large_shared(9, 100 << 10, y.data()), cudaErrorCooperativeLaunchTooLarge);
  EXPECT_STREQ(cudaGetErrorName(cudaGetLastError()), "cudaErrorCooperativeLaunchTooLarge");
  EXPECT_EQ(emu::stats().launches, launches);
  ASSERT_EQ(launch_large_shared(4, 100 << 10, y.data()), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  Exchange many({129, 1, 1});
  EXPECT_EQ(launch_exchange(GridBug::none, many.shape, many.memory()), cudaErrorCooperativeLaunchTooLarge);
  static_cast<void>(cudaGetLastError());
}

// A GPU knows a kernel's static shared memory before it runs, the emulator only then.
TEST_F(Coresident, StaticSharedMemoryCountsWhenItIsFirstUsed) {
  DeviceArray<float> y(std::size_t{40 * 32});
  ASSERT_EQ(launch_large_shared(20, 0, y.data()), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  static_cast<void>(launch_large_shared(21, 0, y.data()));
  EXPECT_THAT(report_of_failure(),
              HasSubstr("21 co-resident blocks of 40960 bytes of shared memory do not fit"));
}

}  // namespace
}  // namespace gpunn::test
