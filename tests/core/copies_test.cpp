// Copies on streams of their own: what they overlap with, what waits for them, and when memory comes back.
#include "gpunn/core/copies.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "gpunn/core/memory.h"
#include "gpunn/core/storage.h"
#include "gpunn/core/stream.h"
#include "tests/support/stream_devices.h"
#include "tests/support/stuck_stream.h"

namespace gpunn {
namespace {

using testing::StuckStream;
using Floats = std::vector<float>;

class CopiesTest : public testing::StreamDeviceTest {};
GPUNN_ON_STREAM_DEVICES(CopiesTest);

TEST_P(CopiesTest, PinnedMemoryGoesInBesideTheComputeStream) {
  if (!has_streams()) GTEST_SKIP() << "nothing to copy";
  const Tensor host = pinned(5);
  Tensor there;
  {
    StuckStream stuck(*context_, context_->copy_in_stream());
    there = host.to(device(), true);
    EXPECT_EQ(there.storage().stream(), context_->copy_in_stream());
    // The copy is stuck; the compute stream is not.
    Stream compute = Stream::current(device());
    int ran = 0;
    compute.call([&] { ran = 1; });
    compute.synchronize();
    EXPECT_EQ(ran, 1);
    // An op on the result would wait.
    compute.call([] {}, {there});
    EXPECT_FALSE(compute.query());
  }
  EXPECT_EQ(there.to_vector<float>(), Floats(64, 5.0f));
}

TEST_P(CopiesTest, CopiesIntoPinnedMemoryLeaveBesideTheComputeStream) {
  if (!has_streams()) GTEST_SKIP() << "nothing to copy";
  const Tensor there = pinned(6).to(device());
  Tensor back;
  {
    StuckStream stuck(*context_, context_->copy_out_stream());
    back = there.to(Device::cpu(), true);
    EXPECT_EQ(back.storage().place(), Storage::Place::pinned_host);
    EXPECT_TRUE(back.device().is_cpu());
    Stream compute = Stream::current(device());
    compute.call([] {}, {there});
    compute.synchronize();  // a reader beside the copy
    compute.call([] {}, {}, {there});
    EXPECT_FALSE(compute.query()) << "a writer waits for the copy";
  }
  EXPECT_EQ(back.to_vector<float>(), Floats(64, 6.0f));
  EXPECT_EQ(back.host<float>()[3], 6);
}

TEST_P(CopiesTest, BlockingCopiesAreDoneWhenTheyReturn) {
  if (!has_streams()) GTEST_SKIP() << "nothing to copy";
  const Tensor host = pinned(2);
  const Tensor there = host.to(device());
  static_cast<float*>(host.data())[0] = 9;  // allowed at once, without host()
  const Tensor back = there.to(Device::cpu());
  EXPECT_EQ(static_cast<const float*>(back.data())[0], 2);
  const Tensor buffer = pinned(0);
  const auto* const address = static_cast<const float*>(buffer.data());
  buffer.copy_(there);
  EXPECT_EQ(address[63], 2);
  there.copy_(host);
  static_cast<float*>(host.data())[0] = 10;
  EXPECT_EQ(there.to_vector<float>()[0], 9);
}

TEST_P(CopiesTest, BuffersAreFilledAgainInOrder) {
  if (!has_streams()) GTEST_SKIP() << "nothing to copy";
  const Tensor buffer = pinned(0).to(device());
  const auto allocations = context_->memory().stats().allocations;
  std::vector<Tensor> seen;
  for (int i = 1; i <= 8; ++i) {
    copy_async(buffer, pinned(static_cast<float>(i)));
    seen.push_back(pinned(0));
    copy_async(seen.back(), buffer);
  }
  for (int i = 1; i <= 8; ++i)
    EXPECT_EQ(seen[static_cast<std::size_t>(i - 1)].to_vector<float>(), Floats(64, static_cast<float>(i)));
  EXPECT_EQ(context_->memory().stats().allocations, allocations);
}

TEST_P(CopiesTest, AsynchronousCopiesSayWhatTheyTake) {
  const Tensor here = empty({64}, {.device = device()});
  EXPECT_THROW(copy_async(here, empty({64}, {.device = Device::cpu()})), InvalidArgument);
  if (!has_streams()) return;
  EXPECT_THROW(copy_async(here, empty({64}, {.device = device()})), InvalidArgument);
  EXPECT_THROW(copy_async(pinned(1), pinned(1)), InvalidArgument);
  EXPECT_THROW(copy_async(empty({32}, {.device = device()}), pinned(1)), InvalidArgument);
  EXPECT_THROW(copy_async(empty({64}, {.dtype = DType::i32, .device = device()}), pinned(1)),
               InvalidArgument);
  EXPECT_THROW(copy_async(empty({8, 8}, {.device = device()}).t(), pinned(1).view({8, 8})), InvalidArgument);
  EXPECT_THROW(copy_async(empty({64}, {.device = device(), .requires_grad = true}), pinned(1)), Unsupported);
}

// The result of a copy dies while it is under way: what gets its memory next must not come before it.
TEST_P(CopiesTest, MemoryOfACopyIsNotReusedEarly) {
  if (!has_streams()) GTEST_SKIP() << "nothing to copy";
  const Tensor one = pinned(1), two = pinned(2);
  Tensor back;
  {
    StuckStream stuck(*context_, context_->copy_out_stream());
    {
      const Tensor there = one.to(device(), true);
      back = there.to(Device::cpu(), true);  // stuck: still to read `there`
    }
    const Tensor next = two.to(device());
    EXPECT_EQ(static_cast<int>(next.numel()), 64);
  }
  EXPECT_EQ(back.to_vector<float>(), Floats(64, 1.0f));
}

}  // namespace
}  // namespace gpunn
