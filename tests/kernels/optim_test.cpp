#include "gpunn/kernels/optim/optim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/optim/optim_impl.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"

namespace gpunn {
namespace parity {
void add_optim_cases(Suite& suite);
}

namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(OptimParity, Cpu) { parity::expect_parity_on_cpu(parity::add_optim_cases); }
#if GPUNN_HAS_CUDA
TEST(OptimParity, Cuda) { parity::expect_parity_on_cuda(parity::add_optim_cases); }
#endif

class OptimDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(OptimDevice);

/// PyTorch's documented algorithm on one number, in double, apart from the library's functor.
struct Scalar {
  double param, buffer = 0;
  bool started = false;
  void step(double grad, const SgdOptions& o) {
    double g = o.maximize ? -grad : grad;
    g = g + o.weight_decay * param;
    if (o.momentum != 0) {
      if (started)
        buffer = o.momentum * buffer + (1 - o.dampening) * g;
      else
        buffer = g;
      started = true;
      if (o.nesterov)
        g = g + o.momentum * buffer;
      else
        g = buffer;
    }
    param = param - o.lr * g;
  }
};

const SgdOptions kTrajectories[] = {
    {.lr = 0.1},
    {.lr = 0.1, .weight_decay = 0.05},
    {.lr = 0.1, .momentum = 0.9},
    {.lr = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.05},
    {.lr = 0.05, .momentum = 0.8, .weight_decay = 0.01, .nesterov = true},
    {.lr = 0.01, .momentum = 0.5, .maximize = true},
};

TEST_P(OptimDevice, FollowsTheFormulaForTwentySteps) {
  for (SgdOptions o : kTrajectories) {
    const std::vector<float> start = {1.5f, -2.0f, 0.25f, 3.0f, -0.75f};
    std::vector<Scalar> expected;
    for (const float v : start) expected.push_back({static_cast<double>(v)});
    const Tensor w = Tensor::from(start, {5}).to(device());
    const Tensor buffer = empty_like(w);
    for (int step = 0; step < 20; ++step) {
      // The gradient of w^2 / 2 + w, at the tensor's own values.
      const Tensor grad = w + 1;
      o.first_step = step == 0;
      sgd_step(std::vector<SgdTensor>{{w, grad, buffer}}, o);
      for (Scalar& s : expected) s.step(s.param + 1, o);
    }
    const std::vector<float> got = w.to_vector<float>();
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], expected[i].param, 1e-5 * std::max(1.0, std::abs(expected[i].param)));
  }
}

TEST_P(OptimDevice, MoreTensorsThanATableHolds) {
  std::vector<SgdTensor> tensors;
  for (int i = 0; i < 2 * kSgdTensors + 7; ++i)
    tensors.push_back(
        {full({i % 5 + 1}, i, {.device = device()}), ones({i % 5 + 1}, {.device = device()}), Tensor()});
  tensors[3].grad = Tensor();  // no gradient: left alone
  tensors.push_back({zeros({0}, {.device = device()}), zeros({0}, {.device = device()}), Tensor()});
  sgd_step(tensors, {.lr = 0.5});
  for (int i = 0; i < 2 * kSgdTensors + 7; ++i)
    for (const float v : tensors[static_cast<std::size_t>(i)].param.to_vector<float>())
      EXPECT_EQ(v, static_cast<float>(i) - (i == 3 ? 0.0f : 0.5f)) << i;
}

TEST_P(OptimDevice, WritesInPlaceAndCountsAsAWrite) {
  const Tensor w = ones({4}, {.device = device(), .requires_grad = true});
  const Tensor loss = sum(w * w);
  const std::uint32_t version = w.storage().version();
  sgd_step(std::vector<SgdTensor>{{w, ones({4}, {.device = device()}), Tensor()}}, {.lr = 0.5});
  EXPECT_NE(w.storage().version(), version);
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(4, 0.5f));
  EXPECT_TRUE(w.is_leaf());
  // The graph above saved w: its backward must notice.
  EXPECT_THAT([&] { loss.backward(); }, ThrowsMessage<InvalidArgument>(HasSubstr("overwritten")));
}

TEST_P(OptimDevice, DoesNotReadTheBufferInTheFirstStep) {
  const Tensor w = zeros({9}, {.device = device()});
  const Tensor buffer = full({9}, std::nan(""), {.device = device()});
  sgd_step(std::vector<SgdTensor>{{w, ones({9}, {.device = device()}), buffer}},
           {.lr = 1, .momentum = 0.9, .first_step = true});
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(9, -1.0f));
  EXPECT_EQ(buffer.to_vector<float>(), std::vector<float>(9, 1.0f));
}

TEST(Optim, RejectsBadArguments) {
  const Tensor w = zeros({2, 3}), g = zeros({2, 3});
  const auto step = [](const SgdTensor& t, const SgdOptions& o) { sgd_step(std::vector<SgdTensor>{t}, o); };
  EXPECT_THAT([&] { step({w, zeros({3, 2}), {}}, {}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[sgd_step] expected grad of shape")));
  EXPECT_THAT([&] { step({w, zeros({3, 2}).t(), {}}, {}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("contiguous grad")));
  EXPECT_THAT([&] { step({w.t(), g.t(), {}}, {}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("contiguous param")));
  EXPECT_THAT([&] { step({w, g.to(DType::f16), {}}, {}); },
              ThrowsMessage<InvalidArgument>(HasSubstr(".to()")));
  EXPECT_THAT([&] { step({w, g, {}}, {.momentum = 0.9}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("buffer")));
  EXPECT_THAT([&] { step({w, g, zeros({6})}, {.momentum = 0.9}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("momentum_buffer")));
  EXPECT_THAT([&] { step({Tensor(), g, {}}, {}); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
  EXPECT_THAT([&] { step({w, g, {}}, {.lr = -1}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("learning rate")));
  EXPECT_THAT([&] { step({w, g, {}}, {.lr = std::nan("")}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("learning rate")));
  EXPECT_THAT([&] { step({w, g, {}}, {.weight_decay = -1}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("weight_decay")));
  EXPECT_THAT([&] { step({w, g, g}, {.nesterov = true}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("nesterov")));
  const Tensor whole = zeros({2}, {.dtype = DType::i64});
  EXPECT_THAT([&] { step({whole, whole, {}}, {}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("floating param")));
  sgd_step({}, {});  // nothing to do
}

}  // namespace
}  // namespace gpunn
