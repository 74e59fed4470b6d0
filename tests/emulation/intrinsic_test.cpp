// Device intrinsics in every order of threads. The suite is also run by the race detector: it must stay
// silent.

#include "tests/emulation/intrinsic_kernels.h"

#include <cmath>

#include "tests/emulation/device_array.h"
#include "tests/emulation/schedules.h"

namespace gpunn::test {
namespace {

class IntrinsicsRace : public OrderedTest {};
INSTANTIATE_TEST_SUITE_P(Orders, IntrinsicsRace, testing::ValuesIn(kOrders), order_name);

// CUDA C++ Programming Guide, "Warp shuffle functions": the warp is split into groups of `width`.
int expected_source(ShuffleKind kind, int lane, int argument, int width) {
  const int group = lane / width * width, position = lane % width;
  switch (kind) {
    case ShuffleKind::index:
      return group + ((argument % width) + width) % width;
    case ShuffleKind::up:
      return position >= argument ? lane - argument : lane;
    case ShuffleKind::down:
      return position + argument < width ? lane + argument : lane;
    case ShuffleKind::exclusive:
      break;
  }
  const int source = lane ^ argument;
  return source < group + width ? source : lane;  // earlier groups may be read, later ones not
}

TEST_P(IntrinsicsRace, ShufflesWithWidths) {
  DeviceArray<int> out(32);
  for (const int width : {2, 4, 8, 16, 32})
    for (const auto kind : {ShuffleKind::index, ShuffleKind::up, ShuffleKind::down, ShuffleKind::exclusive})
      for (const int argument : {0, 1, 3, 16, 31}) {
        ASSERT_EQ(launch_shuffle(kind, argument, width, out.data()), cudaSuccess);
        const auto& result = out.download();
        for (int lane = 0; lane < 32; ++lane)
          ASSERT_EQ(result[static_cast<std::size_t>(lane)],
                    100 + expected_source(kind, lane, argument, width))
              << "kind " << static_cast<int>(kind) << " argument " << argument << " width " << width
              << " lane " << lane;
      }
}

TEST_P(IntrinsicsRace, GroupsOfOneWarpRunApart) {
  constexpr int kWarps = 2;
  DeviceArray<int> out(kWarps * 32);
  ASSERT_EQ(launch_submasks(out.data(), kWarps), cudaSuccess);
  const auto& result = out.download();
  for (int warp = 0; warp < kWarps; ++warp) {
    int sum = 0;
    for (int lane = 0; lane < 16; ++lane) sum += warp * 32 + lane;
    const int maximum = warp * 32 + 31, votes = (sum & 1) * 16 + (maximum & 1) * 16;
    for (int lane = 0; lane < 32; ++lane)
      EXPECT_EQ(result[static_cast<std::size_t>(warp * 32 + lane)], 4 * (lane < 16 ? sum : maximum) + votes);
  }
}

TEST_P(IntrinsicsRace, VotesMatchesAndReductions) {
  for (const unsigned mask : {0xffffffffu, 0x0000ffffu, 0x80000001u, 0x00f0f000u, 0x00000010u}) {
    DeviceArray<int> out(32 * 8);
    ASSERT_EQ(launch_votes(mask, out.data()), cudaSuccess);
    const auto& result = out.download();
    unsigned ballot = 0, matching[5] = {}, exclusive = 0;
    int sum = 0, low = 99, high = -99;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (((mask >> lane) & 1u) == 0) continue;
      const unsigned value = lane % 5;
      ballot |= (value == 1 ? 1u : 0u) << lane;
      matching[value] |= 1u << lane;
      exclusive ^= value;
      sum += static_cast<int>(value) - 2;
      low = std::min(low, static_cast<int>(value) - 2);
      high = std::max(high, static_cast<int>(value) - 2);
    }
    for (unsigned lane = 0; lane < 32; ++lane) {
      if (((mask >> lane) & 1u) == 0) continue;
      const int* own = &result[lane * 8];
      EXPECT_EQ(static_cast<unsigned>(own[0]), ballot);
      EXPECT_EQ(own[1] != 0, high == 2);
      EXPECT_EQ(own[2] != 0, high < 2);
      EXPECT_EQ(static_cast<unsigned>(own[3]), matching[lane % 5]);
      EXPECT_EQ(own[4], sum);
      EXPECT_EQ(own[5], low);
      EXPECT_EQ(own[6], high);
      EXPECT_EQ(static_cast<unsigned>(own[7]), exclusive);
    }
  }
}

TEST_P(IntrinsicsRace, BlocksOfThreeDimensions) {
  for (const dim3 block : {dim3(7, 5, 3), dim3(32, 4, 2), dim3(1, 1, 64), dim3(1, 33, 2)}) {
    const std::size_t threads = block.x * block.y * block.z;
    const auto value = [&](std::size_t i) {
      return static_cast<int>(100 * (i / block.x / block.y) + 10 * (i / block.x % block.y) + i % block.x + 1);
    };
    DeviceArray<int> out(threads);
    out.fill_zero();
    ASSERT_EQ(launch_block_shape(block, false, out.data()), cudaSuccess);
    out.download();
    for (std::size_t i = 0; i < threads; ++i) ASSERT_EQ(out.host[i], 2 * value(i));
    out.fill_zero();
    ASSERT_EQ(launch_block_shape(block, true, out.data()), cudaSuccess);
    out.download();
    for (std::size_t i = 0; i < threads; ++i) ASSERT_EQ(out.host[i], 2 * value(threads - 1 - i));
  }
}

TEST_P(IntrinsicsRace, BarriersThatVote) {
  for (const int threads : {32, 64, 100, 256}) {
    DeviceArray<int> out(static_cast<std::size_t>(threads));
    ASSERT_EQ(launch_barrier_votes(threads, out.data()), cudaSuccess);
    const int expected = (threads + 2) / 3 * 100 + (threads <= 64 ? 10 : 0) + (threads > 63 ? 1 : 0);
    for (const int value : out.download()) EXPECT_EQ(value, expected);
  }
}

TEST_P(IntrinsicsRace, NamedBarriers) {
  constexpr int kRows = 5;
  std::vector<float> rows(32 * kRows);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 11) - 4.0f;
  DeviceArray<float> x(rows), out(128);
  ASSERT_EQ(launch_producer_consumer(x.data(), kRows, out.data()), cudaSuccess);
  out.download();
  for (std::size_t i = 32; i < 128; ++i) {
    float sum = 0;
    for (std::size_t row = 0; row < kRows; ++row) sum += rows[row * 32 + i % 32] * static_cast<float>(i / 32);
    EXPECT_EQ(out.host[i], sum);
  }
}

TEST_P(IntrinsicsRace, BlocksWaitForLowerOnes) {
  constexpr int kBlocks = 40;
  DeviceArray<unsigned> flags(kBlocks);
  DeviceArray<float> values(kBlocks), out(kBlocks);
  flags.fill_zero();
  ASSERT_EQ(launch_chain(kBlocks, flags.data(), values.data(), out.data()), cudaSuccess);
  out.download();
  for (std::size_t i = 0; i < kBlocks; ++i) EXPECT_EQ(out.host[i], static_cast<float>(i + 1));
}

TEST_P(IntrinsicsRace, SpinningThreadLetsOthersRun) {
  DeviceArray<unsigned> flag(std::vector<unsigned>{0});
  DeviceArray<int> out(std::size_t{1});
  ASSERT_EQ(launch_spin_inside_block(flag.data(), out.data()), cudaSuccess);
  EXPECT_EQ(out.download()[0], 1);
}

TEST_P(IntrinsicsRace, Atomics) {
  constexpr unsigned kThreads = 256;
  DeviceArray<unsigned> out(std::vector<unsigned>{0, 1000, 77, 0, 0xffff, 0, 0, 0, 0, 0, 0, 0, 0});
  DeviceArray<float> sum(std::vector<float>{0.0f});
  ASSERT_EQ(launch_atomics(kThreads, out.data(), sum.data()), cudaSuccess);
  const auto& r = out.download();
  EXPECT_EQ(r[0], kThreads * (kThreads - 1) / 2);
  EXPECT_EQ(r[1], 1000 - kThreads);
  EXPECT_EQ(r[2], 5u);
  EXPECT_EQ(r[3], kThreads - 1);
  EXPECT_EQ(r[4], 0xff00u);
  EXPECT_EQ(r[5], 0xffu);
  EXPECT_EQ(r[6], 0u);
  EXPECT_EQ(r[7], kThreads % 10);
  EXPECT_EQ(r[8], (10 - kThreads % 10) % 10);
  EXPECT_EQ(r[10], 1u);
  EXPECT_EQ(r[12], 1u);
  EXPECT_EQ(sum.download()[0], 0.5f * kThreads);
}

TEST_P(IntrinsicsRace, BlockSums) {
  for (const int threads : {32, 96, 256}) {
    DeviceArray<float> out(9);
    ASSERT_EQ(launch_block_sums(9, threads, out.data()), cudaSuccess);
    out.download();
    for (std::size_t b = 0; b < 9; ++b)
      EXPECT_EQ(out.host[b], static_cast<float>(threads * (threads - 1) / 2) + static_cast<float>(b));
  }
}

// The functions are plain C++ in the emulated build.
TEST(DeviceMath, IntegerIntrinsics) {
  EXPECT_EQ(__brev(0x00000001u), 0x80000000u);
  EXPECT_EQ(__brev(0x12345678u), 0x1e6a2c48u);
  EXPECT_EQ(__clz(0), 32);
  EXPECT_EQ(__clz(1), 31);
  EXPECT_EQ(__clzll(1), 63);
  EXPECT_EQ(__ffs(0), 0);
  EXPECT_EQ(__ffs(8), 4);
  EXPECT_EQ(__popc(0xf0f0u), 8);
  EXPECT_EQ(__umulhi(0xffffffffu, 0xffffffffu), 0xfffffffeu);
  EXPECT_EQ(__mulhi(-1, 1), -1);
  EXPECT_EQ(__umul64hi(~0ull, ~0ull), ~0ull - 1);
  EXPECT_EQ(__funnelshift_l(0x80000000u, 0x1u, 1), 0x3u);
  EXPECT_EQ(__funnelshift_r(0x1u, 0x3u, 1), 0x80000000u);
}

TEST(DeviceMath, ConversionsSaturateAsOnTheDevice) {
  EXPECT_EQ(__float2int_rz(-1.9f), -1);
  EXPECT_EQ(__float2int_rd(-1.1f), -2);
  EXPECT_EQ(__float2int_ru(1.1f), 2);
  EXPECT_EQ(__float2int_rn(2.5f), 2);
  EXPECT_EQ(__float2int_rn(3.5f), 4);
  EXPECT_EQ(__float2int_rn(1e20f), 0x7fffffff);
  EXPECT_EQ(__float2int_rn(-1e20f), -0x7fffffff - 1);
  EXPECT_EQ(__float2int_rn(NAN), 0);
  EXPECT_EQ(__float2uint_rn(-5.0f), 0u);
  EXPECT_EQ(__float2uint_rz(5e9f), 0xffffffffu);
  EXPECT_EQ(__saturatef(NAN), 0.0f);
  EXPECT_EQ(__saturatef(7.0f), 1.0f);
}

}  // namespace
}  // namespace gpunn::test
