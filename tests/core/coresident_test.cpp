// launch_coresident() and its barrier: on the emulated GPU, and on a real one where there is one.
#if GPUNN_HAS_CUDA

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/storage.h"
#include "tests/core/coresident_kernels.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using testing::kRotateThreads;
using testing::launch_rotate;
using testing::rotate_blocks;

class CoresidentLaunchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
    runtime_ = std::make_unique<Runtime>(RuntimeOptions{.threads = 1, .forced = {}});
    context_ = &runtime_->cuda(0);
  }
  Exec exec() const {
    return {.stream = context_->current_stream(), .pool = &runtime_->pool(), .device = context_};
  }
  Ref<Storage> on_device(std::size_t count) { return Storage::allocate(*context_, count * sizeof(float)); }
  // Pinned memory is the host's and the device's.
  Ref<Storage> pinned(std::size_t count) {
    return Storage::allocate(*context_, count * sizeof(float), Storage::Place::pinned_host);
  }
  static float* floats(const Ref<Storage>& s) { return static_cast<float*>(s->data()); }

  std::unique_ptr<Runtime> runtime_;
  DeviceContext* context_ = nullptr;
};

// As many blocks as fit, in one launch after the other with one counter: an odd and an even number of rounds.
TEST_F(CoresidentLaunchTest, AllBlocksOfAFullDeviceMeet) {
  const int blocks = std::min(rotate_blocks(0, exec()), 96);
  ASSERT_GT(blocks, 1);
  const auto n = static_cast<std::size_t>(blocks * kRotateThreads);
  auto x = pinned(n), y = pinned(n), values = on_device(n), counter = on_device(32);
  for (std::size_t i = 0; i < n; ++i) floats(x)[i] = static_cast<float>(i);
  bool first = true;
  for (const int rounds : {3, 1, 4}) {
    std::memset(y->data(), 0xff, n * sizeof(float));
    launch_rotate(floats(x), floats(values), floats(y), static_cast<unsigned*>(counter->data()), blocks,
                  rounds, first, exec());
    context_->synchronize();
    for (std::size_t i = 0; i < n; ++i)
      ASSERT_EQ(floats(y)[i], floats(x)[(i + static_cast<std::size_t>(rounds * kRotateThreads)) % n])
          << rounds << " rounds, element " << i;
    first = false;
  }
  EXPECT_STREQ(flight_recorder().snapshot().back().kernel, "rotate_kernel");
}

TEST_F(CoresidentLaunchTest, AGridThatDoesNotFitIsRefusedAndTheDeviceGoesOn) {
  const int fits = rotate_blocks(0, exec());
  auto memory = on_device(static_cast<std::size_t>((fits + 1) * kRotateThreads));
  const auto launch = [&](int blocks) {
    launch_rotate(floats(memory), floats(memory), floats(memory), static_cast<unsigned*>(memory->data()),
                  blocks, 0, false, exec());
  };
  OpScope op("rotate");
  try {
    launch(fits + 1);
    FAIL() << "no exception";
  } catch (const DeviceLost& e) {
    FAIL() << "a grid that is too large loses no device: " << e.what();
  } catch (const CudaError& e) {
    EXPECT_EQ(e.code(), 720);
    EXPECT_THAT(e.what(), HasSubstr("[rotate] rotate_kernel with grid (" + std::to_string(fits + 1)));
    EXPECT_THAT(e.what(), HasSubstr("the device holds " + std::to_string(fits) + " at once"));
  }
  launch(fits);
  context_->synchronize();
}

TEST_F(CoresidentLaunchTest, SharedMemoryLimitsTheBlocks) {
  const DeviceInfo& info = context_->api().info();
  const int all = rotate_blocks(0, exec()), large = rotate_blocks(info.shared_bytes_optin, exec());
  EXPECT_EQ(all % info.multiprocessors, 0);
  EXPECT_EQ(large, info.multiprocessors);
  EXPECT_GT(all, large);
  EXPECT_EQ(rotate_blocks(info.shared_bytes_optin + 1024, exec()), 0);
}

TEST_F(CoresidentLaunchTest, AnEmptyGridIsNotLaunched) {
  const auto before = flight_recorder().snapshot().size();
  launch_rotate(nullptr, nullptr, nullptr, nullptr, 0, 1, false, exec());
  context_->synchronize();
  EXPECT_EQ(flight_recorder().snapshot().size(), before);
}

}  // namespace
}  // namespace gpunn

#endif
