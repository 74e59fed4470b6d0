// How often the recurrent kernels are launched, and what happens on a device too small for the persistent
// ones.
#include <gtest/gtest.h>

#include <string_view>

#include "gpunn/core/autograd.h"
#include "gpunn/core/build_info.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "tests/support/rnn_runs.h"

#if GPUNN_HAS_CUDA && GPUNN_EMULATED
#include "gpunn/core/emulation/config.h"

namespace gpunn {
namespace {

using testing::kRnnKinds;
using testing::RnnKind;

struct Launches {
  std::uint64_t forward, backward;
};

Launches launches(const RnnKind& kind, std::int64_t T, std::int64_t B, std::int64_t H) {
  manual_seed(3);
  const Inputs in = testing::rnn_tensors(kind.mode, Shape{T, B, 2}, B, H, Device::cuda(0));
  const std::uint64_t before = emu::stats().launches;
  const Tensor loss = sum(testing::rnn_run(kind, in).y);
  const std::uint64_t between = emu::stats().launches;
  loss.backward();
  return {between - before, emu::stats().launches - between};
}

/// Launches that `kind` takes for three steps more.
Launches of_three_steps(const RnnKind& kind, std::int64_t B, std::int64_t H) {
  const Launches many = launches(kind, 6, B, H), few = launches(kind, 3, B, H);
  return {many.forward - few.forward, many.backward - few.backward};
}

TEST(RnnLaunches, PersistentKernelsTakeOneForAllSteps) {
  for (const RnnKind& kind : kRnnKinds) {
    if (!kind.reset_after) continue;
    const Launches more = of_three_steps(kind, 2, 17);
    EXPECT_EQ(more.forward, 0u) << kind.name;
    EXPECT_EQ(more.backward, 0u) << kind.name;
  }
}

TEST(RnnLaunches, ResetBeforeTheProductTakesTwoAStep) {
  const Launches more = of_three_steps(kRnnKinds[4], 2, 17);
  EXPECT_EQ(more.forward, 6u);
  EXPECT_EQ(more.backward, 6u);
}

// 13 blocks of about 90 KiB: the emulated device holds two on each of its four multiprocessors.
TEST(RnnLaunches, SmallDevicesTakeOneAStep) {
  const RnnKind& lstm = kRnnKinds[2];
  manual_seed(3);
  const Inputs in = testing::rnn_tensors(lstm.mode, Shape{2, 1, 2}, 1, 208, Device::cpu());
  Inputs on_gpu;
  for (const Tensor& t : in) on_gpu.push_back(t.detach().to(Device::cuda(0)));
  const std::uint64_t before = emu::stats().launches;
  const auto got = testing::rnn_run(lstm, on_gpu).y.to_vector<float>();
  const std::uint64_t two = emu::stats().launches - before;
  on_gpu[0] = on_gpu[0].narrow(0, 0, 1);
  testing::rnn_run(lstm, on_gpu);
  EXPECT_EQ(two - (emu::stats().launches - before - two), 1u);
  const auto expected = testing::rnn_run(lstm, in).y.detach().to_vector<float>();
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-5f) << i;
}

RnnForwardProblem sized(RnnMode mode, std::int64_t T, std::int64_t B, std::int64_t H, DType dtype) {
  RnnForwardProblem p{};
  p.dtype = dtype;
  p.sizes = {mode, false, true, T, B, H, T * B};
  return p;
}

TEST(RnnReasons, PersistentKernelsRefuseWhatDoesNotFit) {
  const auto reason = [](const RnnForwardProblem& p) {
    const char* const why = rnn_fwd_persistent_reason(p);
    return std::string_view(why ? why : "");
  };
  EXPECT_EQ(reason(sized(RnnMode::lstm, 35, 20, 1500, DType::bf16)), "");
  EXPECT_EQ(reason(sized(RnnMode::lstm, 35, 20, 1500, DType::f32)),
            "the recurrent weights do not fit in shared memory");
  EXPECT_EQ(reason(sized(RnnMode::tanh, 35, 20, 2113, DType::bf16)), "has more units than 132 blocks of 16");
  EXPECT_EQ(reason(sized(RnnMode::tanh, 35, 129, 2112, DType::bf16)),
            "has more sequences than its blocks take at a time");
  EXPECT_EQ(reason(sized(RnnMode::tanh, 35, 128, 2112, DType::bf16)), "");
  EXPECT_EQ(reason(sized(RnnMode::lstm, 1, 20, 64, DType::bf16)), "a single step needs no barrier");
  EXPECT_EQ(reason(sized(RnnMode::lstm, 35, 20, 64, DType::f64)), "takes f32, f16 and bf16");
  RnnForwardProblem before = sized(RnnMode::gru, 35, 20, 64, DType::bf16);
  before.sizes.reset_after = false;
  EXPECT_EQ(reason(before), "the reset before the product needs two exchanges between blocks a step");
}

}  // namespace
}  // namespace gpunn

#endif
