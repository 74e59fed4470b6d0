// What the emulator says when a kernel breaks CUDA's rules, and that it goes on afterwards.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gpunn/core/emulation/config.h"
#include "gpunn/core/emulation/ptx.h"
#include "gpunn/core/kernel_macros.cuh"
#include "gpunn/core/launch_kernel.cuh"
#include "tests/emulation/bug_kernels.h"
#include "tests/emulation/device_array.h"

namespace gpunn::test {
namespace {

using testing::HasSubstr;

class Reports : public testing::Test {
 protected:
  void SetUp() override {
    saved_ = emu::config();
    emu::Config changed = saved_;
    changed.watchdog_ms = 200;
    emu::set_config(changed);
  }
  void TearDown() override {
    emu::reset_device();
    emu::set_config(saved_);
  }

  // Runs a kernel of one block that must be reported, and a correct one after it. The launch itself may
  // already return the error, or not: the kernel runs beside the host.
  template <class Kernel>
  std::string report_of(Kernel kernel, unsigned threads, std::size_t shared_bytes = 0) {
    static_cast<void>(launch_kernel("reported_kernel", kernel, {1, threads, shared_bytes}, x_.data()));
    return outcome();
  }

  std::string outcome() {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    const std::string text = emu::last_report();
    emu::reset_device();
    EXPECT_EQ(emu::last_report(), "");
    EXPECT_EQ(launch_divergent_barrier(true, x_.data(), x_.data()), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    return text;
  }

  DeviceArray<float> x_{std::vector<float>(1024, 1.0f)};

 private:
  emu::Config saved_;
};

TEST_F(Reports, DivergentBarrierNamesKernelBlockThreadAndWaits) {
  static_cast<void>(launch_divergent_barrier(false, x_.data(), x_.data()));
  const std::string text = outcome();
  EXPECT_THAT(text, HasSubstr("thread ended while others wait at __syncthreads"));
  EXPECT_THAT(text, HasSubstr("kernel divergent_barrier, block (0,0,0), thread ("));
  EXPECT_THAT(text, HasSubstr("40 threads wait for __syncthreads (first: thread 0)"));
  EXPECT_THAT(text, HasSubstr("of 64 threads have ended"));
}

TEST_F(Reports, DeadlockOfTwoBarriers) {
  const auto kernel = +[](float*) {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      emu::barrier_sync(1, 64);
    }
  };
  const std::string text = report_of(kernel, 64);
  EXPECT_THAT(text, HasSubstr("deadlock"));
  EXPECT_THAT(text, HasSubstr("32 threads wait for __syncthreads (first: thread 0)"));
  EXPECT_THAT(text, HasSubstr("32 threads wait for a named barrier (first: thread 32)"));
}

TEST_F(Reports, WarpOperations) {
  static_cast<void>(launch_half_shuffle(false, x_.data(), x_.data()));
  EXPECT_THAT(outcome(), HasSubstr("names lanes that have ended"));
  EXPECT_THAT(report_of(+[](float*) { __syncwarp(0x1u); }, 32), HasSubstr("not in the mask of its own"));
  EXPECT_THAT(
      report_of(+[](float* x) { x[threadIdx.x] = __shfl_sync(~0u, 1.0f, 0, 5); }, 32), HasSubstr("width 5"));
  const auto mixed = +[](float*) {
    if (threadIdx.x < 16) {
      __syncwarp();
    } else {
      __ballot_sync(~0u, 1);
    }
  };
  EXPECT_THAT(report_of(mixed, 32), HasSubstr("different warp operations"));
}

TEST_F(Reports, NotStrictLetsThreadsEndEarly) {
  emu::Config config = emu::config();
  config.strict = false;
  emu::set_config(config);
  ASSERT_EQ(launch_early_exit(false, x_.data(), x_.data(), 50), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

TEST_F(Reports, Livelock) {
  DeviceArray<unsigned> flag(std::vector<unsigned>{0});
  ASSERT_EQ(launch_spin(flag.data()), cudaSuccess);
  const std::string text = outcome();
  EXPECT_THAT(text, HasSubstr("livelock"));
  EXPECT_THAT(text, HasSubstr("wait for its next turn (spinning)"));
}

TEST_F(Reports, Trap) {
  EXPECT_THAT(report_of(
                  +[](float*) {
                    if (threadIdx.x == 5) __trap();
                  },
                  32),
              HasSubstr("thread (5,0,0)"));
}

TEST_F(Reports, SharedMemory) {
  const auto too_much = +[](float* x) {
    GPUNN_SHARED(tile, float[13 * 1024]);
    tile[threadIdx.x] = x[threadIdx.x];
  };
  EXPECT_THAT(report_of(too_much, 32), HasSubstr("48 KiB"));
  const auto with_dynamic = +[](float* x) {
    GPUNN_SHARED(tile, float[1024]);
    tile[threadIdx.x] = x[threadIdx.x];
  };
  EXPECT_THAT(report_of(with_dynamic, 32, 225 * 1024), HasSubstr("227 KiB"));
  const auto foreign = +[](float* x) {
    std::uint32_t r[1];
    emu::ldmatrix(r, x, 1, false);
  };
  EXPECT_THAT(report_of(foreign, 32), HasSubstr("not in shared memory"));
}

TEST_F(Reports, AsynchronousCopies) {
  const auto pending = +[](float* x) {
    GPUNN_SHARED(tile, float[4]);
    emu::cp_async(tile, x, 16, 16);
  };
  EXPECT_THAT(report_of(pending, 1), HasSubstr("cp.async in flight"));
  const auto misaligned = +[](float* x) {
    GPUNN_SHARED(tile, float[8]);
    emu::cp_async(tile + 1, x, 16, 16);
  };
  EXPECT_THAT(report_of(misaligned, 1), HasSubstr("not aligned"));
}

TEST_F(Reports, Mbarriers) {
  const auto uninitialised = +[](float*) {
    GPUNN_SHARED(barrier, std::uint64_t);
    barrier = 0;
    emu::mbarrier_arrive(&barrier);
  };
  EXPECT_THAT(report_of(uninitialised, 1), HasSubstr("before mbarrier.init"));
  const auto missing = +[](float*) {
    GPUNN_SHARED(barrier, std::uint64_t);
    if (threadIdx.x == 0) emu::mbarrier_init(&barrier, 2);
    __syncthreads();
    if (threadIdx.x == 0) emu::mbarrier_arrive(&barrier);
    emu::mbarrier_wait_parity(&barrier, 0);
  };
  EXPECT_THAT(report_of(missing, 32), HasSubstr("32 threads wait for an mbarrier"));
}

TEST_F(Reports, UninitialisedSharedMemoryIsPoison) {
  const auto kernel = +[](float* x) {
    GPUNN_SHARED(tile, float[32]);
    x[threadIdx.x] = tile[threadIdx.x];
  };
  ASSERT_EQ(launch_kernel("uninitialised", kernel, {1, 32}, x_.data()), cudaSuccess);
  x_.download();
  for (std::size_t i = 0; i < 32; ++i) EXPECT_TRUE(std::isnan(x_.host[i]));
}

TEST_F(Reports, SeedDecidesTheOrder) {
  emu::Config config = emu::config();
  config.schedule = emu::Schedule::random;
  DeviceArray<unsigned> next(std::size_t{1});
  DeviceArray<float> turns(64);
  const auto kernel =
      +[](unsigned* counter, float* turn) { turn[threadIdx.x] = static_cast<float>(atomicAdd(counter, 1u)); };
  const auto run = [&](std::uint64_t seed) {
    config.seed = seed;
    emu::set_config(config);
    next.fill_zero();
    EXPECT_EQ(launch_kernel("turns", kernel, {1, 64}, next.data(), turns.data()), cudaSuccess);
    return turns.download();
  };
  const auto first = run(11), other = run(12), again = run(11);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

}  // namespace
}  // namespace gpunn::test
