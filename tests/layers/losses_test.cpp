// The losses as modules: arguments reach the op, weights are state.
#include "gpunn/layers/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/softmax/softmax.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

class LossModules : public testing::DeviceTest {
 protected:
  Tensor on_device(const std::vector<float>& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.device = device()});
  }
};
GPUNN_ON_EVERY_DEVICE(LossModules);

TEST_P(LossModules, PassTheirOptionsOn) {
  const Tensor x = on_device({0.5, -2, 3, 1}, {2, 2}), y = on_device({0, 0, 1, 1}, {2, 2});
  EXPECT_EQ(L1Loss(Reduction::sum)(x, y).item(), l1_loss(x, y, Reduction::sum).item());
  EXPECT_EQ(SmoothL1Loss(Reduction::mean, 3)(x, y).item(), smooth_l1_loss(x, y, Reduction::mean, 3).item());
  EXPECT_EQ(HuberLoss(Reduction::sum, 0.5)(x, y).item(), huber_loss(x, y, Reduction::sum, 0.5).item());
  EXPECT_EQ(KLDivLoss({.batch_mean = true})(x, y).item(), kl_div(x, y, {.batch_mean = true}).item());
  const Tensor labels = on_device({1, -1}, {2});
  const Tensor a = x.select(1, 0), b = x.select(1, 1);
  EXPECT_EQ(HingeEmbeddingLoss(2)(a, labels).item(),
            hinge_embedding_loss(a, labels, Reduction::mean, 2).item());
  EXPECT_EQ(MarginRankingLoss(0.5)(a, b, labels).item(),
            margin_ranking_loss(a, b, labels, Reduction::mean, 0.5).item());
  EXPECT_EQ(CosineEmbeddingLoss(-0.5, Reduction::sum)(x, y, labels).item(),
            cosine_embedding_loss(x, y, labels, Reduction::sum, -0.5).item());
  EXPECT_EQ(TripletMarginLoss({.margin = 3, .swap = true})(x, y, y * 2.0).item(),
            triplet_margin_loss(x, y, y * 2.0, {.margin = 3, .swap = true}).item());
}

TEST_P(LossModules, WeightsAreBuffers) {
  const Tensor weight = on_device({1, 3}, {2});
  CrossEntropyLoss loss({.weight = weight, .label_smoothing = 0.1});
  ASSERT_EQ(loss.state_dict().size(), 1u);
  EXPECT_EQ(loss.state_dict()[0].first, "weight");
  EXPECT_EQ(CrossEntropyLoss().state_dict().size(), 0u);
  const Tensor x = on_device({1, 2, 3, -1}, {2, 2});
  const Tensor t = Tensor::from(std::vector<std::int64_t>{0, 1}, {2}, {.device = device()});
  const double expected = cross_entropy(x, t, {.weight = weight, .label_smoothing = 0.1}).item();
  EXPECT_EQ(loss(x, t).item(), expected);
  CrossEntropyLoss copy = loss;
  EXPECT_EQ(copy(x, t).item(), expected);
  {
    NoGrad off;
    copy.weight.fill_(1);
  }
  EXPECT_NE(copy(x, t).item(), expected);
  EXPECT_EQ(loss(x, t).item(), expected);
  NLLLoss nll({.weight = weight});
  EXPECT_EQ(nll(log_softmax(x, 1), t).item(), nll_loss(log_softmax(x, 1), t, {.weight = weight}).item());
  BCEWithLogitsLoss bce(Reduction::mean, {}, weight);
  EXPECT_EQ(bce.state_dict()[0].first, "pos_weight");
  const Tensor y = on_device({1, 0, 0, 1}, {2, 2});
  EXPECT_EQ(bce(x, y).item(), binary_cross_entropy_with_logits(x, y, Reduction::mean, {}, weight).item());
}

TEST_P(LossModules, CtcTakesFourTensors) {
  const Tensor x = log_softmax(on_device({1, 2, 3, 0, -1, 1}, {2, 1, 3}), 2);
  const auto i64 = [&](std::int64_t v) {
    return Tensor::from(std::vector<std::int64_t>{v}, {1}, {.device = device()});
  };
  const CtcLossOptions options{.blank = 2, .reduction = Reduction::sum};
  EXPECT_EQ(CTCLoss(options)(x, i64(1), i64(2), i64(1)).item(),
            ctc_loss(x, i64(1), i64(2), i64(1), options).item());
}

TEST(LossModulesCpu, ErrorsNameTheOp) {
  try {
    TripletMarginLoss()(zeros({2}), zeros({2}), zeros({3}));
    FAIL() << "expected an error";
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("triplet_margin_loss"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace gpunn
