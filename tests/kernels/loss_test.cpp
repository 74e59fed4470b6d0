#include "gpunn/kernels/loss/loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/error.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_loss_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(LossParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_loss_cases); }
#if GPUNN_HAS_CUDA
TEST(LossParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_loss_cases); }
#endif

class Losses : public testing::DeviceTest {
 protected:
  Tensor on_device(const std::vector<float>& values, bool grad = false) const {
    return Tensor::from(values, {static_cast<std::int64_t>(values.size())},
                        {.device = device(), .requires_grad = grad});
  }
};
GPUNN_ON_EVERY_DEVICE(Losses);

TEST_P(Losses, MseByHand) {
  const Tensor x = on_device({1, 2, 4}, true), y = on_device({1, 0, 1}, true);
  EXPECT_THAT(mse_loss(x, y, Reduction::none).to_vector<float>(), ElementsAre(0, 4, 9));
  EXPECT_EQ(mse_loss(x, y, Reduction::sum).item(), 13);
  const Tensor loss = mse_loss(x, y);
  EXPECT_EQ(loss.shape(), Shape{});
  EXPECT_FLOAT_EQ(static_cast<float>(loss.item()), 13.0f / 3);
  loss.backward();
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, FloatNear(4.0f / 3, 1e-6f), FloatNear(2, 1e-6f)));
  EXPECT_THAT(y.grad().to_vector<float>(), ElementsAre(0, FloatNear(-4.0f / 3, 1e-6f), FloatNear(-2, 1e-6f)));
}

TEST_P(Losses, BinaryCrossEntropyByHand) {
  // -ln 0.8, -ln 0.75, and the bound 100 for a certain mistake.
  const Tensor p = on_device({0.8f, 0.25f, 0.0f, 1.0f}), y = on_device({1, 0, 1, 1});
  EXPECT_THAT(binary_cross_entropy(p, y, Reduction::none).to_vector<float>(),
              ElementsAre(FloatNear(0.22314355f, 1e-6f), FloatNear(0.28768207f, 1e-6f), 100.0f, 0.0f));
  const Tensor logits = on_device({std::log(4.0f), -std::log(3.0f), 0, 500});
  EXPECT_THAT(binary_cross_entropy_with_logits(logits, y, Reduction::none).to_vector<float>(),
              ElementsAre(FloatNear(0.22314355f, 1e-6f), FloatNear(0.28768207f, 1e-6f),
                          FloatNear(0.69314718f, 1e-6f), 0.0f));
}

TEST_P(Losses, LossOfHalvesIsFloat) {
  const Tensor x = on_device({1, 2}).to(DType::f16), y = on_device({0, 0}).to(DType::f16);
  const Tensor loss = mse_loss(x, y);
  EXPECT_EQ(loss.dtype(), DType::f32);
  EXPECT_EQ(loss.item(), 2.5);
}

TEST_P(Losses, OverNothing) {
  const Tensor none = on_device({}, true);
  EXPECT_TRUE(std::isnan(mse_loss(none, none).item()));
  EXPECT_EQ(binary_cross_entropy(none, none, Reduction::sum).item(), 0);
  EXPECT_EQ(mse_loss(none, none, Reduction::none).shape(), Shape{0});
}

TEST_P(Losses, RejectBadArguments) {
  const Tensor x = on_device({1, 2});
  EXPECT_THAT([&] { mse_loss(x, on_device({1})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[mse_loss] expected y [2] like x, got [1]")));
  EXPECT_THAT([&] { binary_cross_entropy(x, x.to(DType::f16)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("f16")));
  EXPECT_THAT([&] { binary_cross_entropy_with_logits(x.to(DType::i64), x); },
              ThrowsMessage<InvalidArgument>(HasSubstr("i64")));
  EXPECT_THROW(mse_loss(x, Tensor()), InvalidArgument);
}

TEST_P(Losses, RejectBadParameters) {
  const Tensor x = on_device({1, 2}), y = on_device({1, -1}), learned = on_device({1, 2}, true);
  const auto expect = [](auto f, const char* text) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  expect([&] { smooth_l1_loss(x, y, Reduction::mean, -1); }, "[smooth_l1_loss] expected beta >= 0, got -1");
  expect([&] { smooth_l1_loss(x, y, Reduction::mean, NAN); }, "expected beta >= 0");
  expect([&] { huber_loss(x, y, Reduction::mean, 0); }, "[huber_loss] expected delta > 0, got 0");
  expect([&] { l1_loss(x, on_device({1})); }, "[l1_loss] expected y [2] like x, got [1]");
  expect([&] { binary_cross_entropy(x, x, Reduction::mean, on_device({1, 2, 3})); }, "[2]");
  expect([&] { binary_cross_entropy(x, x, Reduction::mean, learned); }, "expected weight without gradient");
  expect([&] { binary_cross_entropy_with_logits(x, x, Reduction::mean, {}, x.reshape({2, 1})); },
         "expected pos_weight that broadcasts to [2], got [2, 1]");
  expect([&] { kl_div(x.select(0, 0), x.select(0, 0), {.batch_mean = true}); }, "rank >= 1");
  expect([&] { kl_div(x, Tensor()); }, "[kl_div]");
  expect([&] { hinge_embedding_loss(x, learned); }, "expected labels y without gradient");
  expect([&] { margin_ranking_loss(x, on_device({1}), y); }, "[margin_ranking_loss] expected x2 [2]");
  expect([&] { margin_ranking_loss(x, x, on_device({1})); }, "[margin_ranking_loss] expected y [2]");
  expect([&] { cosine_similarity(x, y, 1); }, "[cosine_similarity]");
  expect([&] { cosine_similarity(x, y, 0, 0); }, "expected eps > 0, got 0");
  expect([&] { cosine_embedding_loss(x, x, y, Reduction::mean, 2); }, "expected margin in [-1, 1], got 2");
  expect([&] { cosine_embedding_loss(x, x, y); }, "expected y [] like x, got [2]");
  expect([&] { cosine_embedding_loss(x.reshape({1, 1, 2}), x.reshape({1, 1, 2}), y); },
         "expected x1 [N, D] or [D], got [1, 1, 2]");
  expect([&] { pairwise_distance(x, y, 0.5); }, "expected p in [1, inf), got 0.5");
  expect([&] { triplet_margin_loss(x, y, on_device({1})); }, "expected negative [2] like anchor, got [1]");
  expect([&] { triplet_margin_loss(x, y, y, {.margin = -1}); }, "expected margin >= 0, got -1");
  expect([&] { triplet_margin_loss(x, y, y.to(DType::f16)); }, "f16");
  expect([&] { pairwise_distance(x.to(DType::i64), y); }, "i64");
}

TEST_P(Losses, PairsByHand) {
  const Tensor a = on_device({3, 4, 0, 0}).reshape({2, 2}), b = on_device({4, 3, 1, 0}).reshape({2, 2});
  EXPECT_THAT(cosine_similarity(a, b).to_vector<float>(), ElementsAre(FloatNear(0.96f, 1e-6f), 0.0f));
  EXPECT_THAT(cosine_similarity(a, b, 0).to_vector<float>(),
              ElementsAre(FloatNear(12 / (3 * std::sqrt(17.0f)), 1e-6f), FloatNear(1.0f, 1e-6f)));
  EXPECT_THAT(pairwise_distance(a, b, 2, 0).to_vector<float>(),
              ElementsAre(FloatNear(std::sqrt(2.0f), 1e-6f), FloatNear(1.0f, 1e-6f)));
  EXPECT_THAT(pairwise_distance(a, b, 1, 0).to_vector<float>(), ElementsAre(2.0f, 1.0f));
  EXPECT_EQ(pairwise_distance(a.to(DType::f16), b.to(DType::f16)).dtype(), DType::f16);
  const Tensor none = on_device({}).reshape({0, 3});
  EXPECT_TRUE(std::isnan(triplet_margin_loss(none, none, none).item()));
  EXPECT_EQ(cosine_similarity(none, none).shape(), Shape{0});
  EXPECT_THAT(hinge_embedding_loss(on_device({0.5, 0.25, 3}), on_device({1, -1, -1}), Reduction::none)
                  .to_vector<float>(),
              ElementsAre(0.5f, 0.75f, 0.0f));
}

struct LossCase {
  const char* name;
  Tensor (*loss)(const Tensor&, const Tensor&, Reduction);
  Fill x, y;
};

void check_gradients(const LossCase& l) {
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    const GradFunction f = [&](const Inputs& in) { return l.loss(in[0], in[1], r); };
    const std::vector<GradInput> small{{{3, 4}, l.x}, {{3, 4}, l.y}}, large{{{150}, l.x}, {{150}, l.y}};
    EXPECT_TRUE(gradcheck(f, small)) << l.name << " " << name_of(r);
    EXPECT_TRUE(gradcheck(f, large)) << l.name << " " << name_of(r);
    EXPECT_TRUE(gradgradcheck(f, small)) << l.name << " " << name_of(r);
  }
}

/// Two inputs that differ by more than 0.2 and less than 5: no kink of a loss lies between.
const Fill kAnything = fill::normal(0, 1), kProbability = fill::uniform(0.1, 0.9);
const Fill kBelow = fill::uniform(-2, -1.2), kAbove = fill::uniform(-1, 3);

TEST(LossGradient, FirstAndSecondDerivatives) {
  const LossCase losses[] = {
      {"mse", mse_loss, kAnything, kAnything},
      {"l1", l1_loss, kBelow, kAbove},
      {"bce", [](const Tensor& x, const Tensor& y, Reduction r) { return binary_cross_entropy(x, y, r); },
       kProbability, kProbability},
      {"bce_with_logits",
       [](const Tensor& x, const Tensor& y, Reduction r) {
         return binary_cross_entropy_with_logits(x, y, r);
       },
       fill::avoid(0, 1e-3, kAnything), kProbability},
      {"smooth_l1 inside",
       [](const Tensor& x, const Tensor& y, Reduction r) { return smooth_l1_loss(x, y, r, 8); }, kBelow,
       kAbove},
      {"smooth_l1 outside",
       [](const Tensor& x, const Tensor& y, Reduction r) { return smooth_l1_loss(x, y, r, 0.15); }, kBelow,
       kAbove},
      {"smooth_l1 of 0",
       [](const Tensor& x, const Tensor& y, Reduction r) { return smooth_l1_loss(x, y, r, 0); }, kBelow,
       kAbove},
      {"huber inside", [](const Tensor& x, const Tensor& y, Reduction r) { return huber_loss(x, y, r, 8); },
       kBelow, kAbove},
      {"huber outside",
       [](const Tensor& x, const Tensor& y, Reduction r) { return huber_loss(x, y, r, 0.15); }, kBelow,
       kAbove},
      {"kl_div", [](const Tensor& x, const Tensor& y, Reduction r) { return kl_div(x, y, {.reduction = r}); },
       kAnything, kProbability},
      {"kl_div of logarithms",
       [](const Tensor& x, const Tensor& y, Reduction r) {
         return kl_div(x, y, {.reduction = r, .log_target = true});
       },
       kAnything, kAnything},
      {"kl_div by batch",
       [](const Tensor& x, const Tensor& y, Reduction) { return kl_div(x, y, {.batch_mean = true}); },
       kAnything, kProbability},
  };
  for (const LossCase& l : losses) check_gradients(l);
}

Tensor constant(std::vector<double> values, const Shape& shape) { return Tensor::from(values, shape); }

TEST(LossGradient, WithWeights) {
  const Tensor weight = constant({0.5, 2, 0, 1}, {4}), pos = constant({3, 0.5, 1}, {3, 1});
  const std::vector<GradInput> probabilities{{{3, 4}, kProbability}, {{3, 4}, kProbability}},
      logits{{{3, 4}, fill::avoid(0, 1e-3, kAnything)}, {{3, 4}, kProbability}};
  for (const Reduction r : {Reduction::none, Reduction::mean}) {
    const GradFunction bce = [&](const Inputs& in) { return binary_cross_entropy(in[0], in[1], r, weight); };
    const GradFunction with_logits = [&](const Inputs& in) {
      return binary_cross_entropy_with_logits(in[0], in[1], r, weight, pos);
    };
    EXPECT_TRUE(gradcheck(bce, probabilities));
    EXPECT_TRUE(gradgradcheck(bce, probabilities));
    EXPECT_TRUE(gradcheck(with_logits, logits));
    EXPECT_TRUE(gradgradcheck(with_logits, logits));
  }
}

TEST(LossGradient, Labels) {
  const Tensor y = constant({1, -1, 1, -1, -1, 1}, {6});
  // Apart from the kinks at the margins 1 and 0.3.
  const std::vector<GradInput> one{{{6}, fill::avoid(1, 1e-3, kAnything)}};
  const std::vector<GradInput> two{{{6}, fill::uniform(1, 2)}, {{6}, fill::uniform(-2, 0.5)}};
  const std::vector<GradInput> rows{{{6, 3}, kAnything}, {{6, 3}, fill::uniform(0.3, 1)}};
  for (const Reduction r : {Reduction::none, Reduction::mean}) {
    const GradFunction hinge = [&](const Inputs& in) { return hinge_embedding_loss(in[0], y, r); };
    const GradFunction ranking = [&](const Inputs& in) {
      return margin_ranking_loss(in[0], in[1], y, r, 0.3);
    };
    const GradFunction cosine = [&](const Inputs& in) {
      return cosine_embedding_loss(in[0], in[1], y, r, -0.99);
    };
    EXPECT_TRUE(gradcheck(hinge, one));
    EXPECT_TRUE(gradgradcheck(hinge, one));
    EXPECT_TRUE(gradcheck(ranking, two));
    EXPECT_TRUE(gradgradcheck(ranking, two));
    EXPECT_TRUE(gradcheck(cosine, rows));
    EXPECT_TRUE(gradgradcheck(cosine, rows));
  }
}

TEST(LossGradient, Pairs) {
  const std::vector<GradInput> rows{{{2, 3, 4}, kAnything}, {{2, 3, 4}, kAnything}};
  for (const int dim : {1, 2}) {
    const GradFunction f = [=](const Inputs& in) { return cosine_similarity(in[0], in[1], dim); };
    EXPECT_TRUE(gradcheck(f, rows));
    EXPECT_TRUE(gradgradcheck(f, rows));
  }
  const std::vector<GradInput> apart{{{3, 4}, kBelow}, {{3, 4}, kAbove}};
  for (const double p : {1.0, 2.0, 3.5}) {
    const GradFunction f = [=](const Inputs& in) { return pairwise_distance(in[0], in[1], p); };
    EXPECT_TRUE(gradcheck(f, apart)) << p;
    if (p == 2)
      EXPECT_TRUE(gradgradcheck(f, apart));
    else
      EXPECT_THROW(static_cast<void>(gradgradcheck(f, apart)), Unsupported);
  }
  const std::vector<GradInput> three{
      {{3, 4}, kAnything}, {{3, 4}, fill::normal(3, 1)}, {{3, 4}, fill::normal(-1, 1)}};
  for (const bool swap : {false, true}) {
    const GradFunction f = [=](const Inputs& in) {
      return triplet_margin_loss(in[0], in[1], in[2], {.margin = 20, .swap = swap});
    };
    EXPECT_TRUE(gradcheck(f, three));
    EXPECT_TRUE(gradgradcheck(f, three));
  }
}

}  // namespace
}  // namespace gpunn
