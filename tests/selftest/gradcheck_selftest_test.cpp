// The gradient checks must reject wrong rules.
#include <gtest/gtest.h>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace {

const std::vector<GradInput> kSmall{{{2, 3}, fill::normal(0, 1)}};
const std::vector<GradInput> kLarge{{{200}, fill::normal(0, 1)}};

/// x^2 with the derivative `slope` x; the second one from a detached x when `frozen`.
Tensor square(const Tensor& x, double slope, bool frozen = false) {
  Tensor y = [&] {
    NoGrad off;
    return mul(x, x);
  }();
  if (autograd::wanted(x))
    autograd::record(y, "square", {&x}, [x = Saved(x), slope, frozen](const Backward& b) -> Gradients {
      const Tensor saved = x(b);
      return {mul(mul(frozen ? saved.detach() : saved, slope), b.grad())};
    });
  return y;
}

TEST(GradcheckSelftest, RightRulesPass) {
  for (const auto& inputs : {kSmall, kLarge}) {
    EXPECT_TRUE(gradcheck([](const Inputs& in) { return square(in[0], 2); }, inputs));
    EXPECT_TRUE(gradgradcheck([](const Inputs& in) { return square(in[0], 2); }, inputs));
  }
}

TEST(GradcheckSelftest, OnePercentOffIsRejected) {
  for (const auto& inputs : {kSmall, kLarge})
    EXPECT_FALSE(gradcheck([](const Inputs& in) { return square(in[0], 2.02); }, inputs));
}

TEST(GradcheckSelftest, MissingGradientIsRejected) {
  EXPECT_FALSE(gradcheck([](const Inputs& in) { return add(in[0], mul(in[0].detach(), 3.0)); }, kSmall));
}

TEST(GradcheckSelftest, FrozenTensorIsRejectedInSecondDerivatives) {
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return square(in[0], 2, true); }, kSmall));
  EXPECT_FALSE(gradgradcheck([](const Inputs& in) { return square(in[0], 2, true); }, kSmall));
}

TEST(GradcheckSelftest, WrongShapeIsRejected) {
  const GradFunction f = [](const Inputs& in) {
    Tensor y = in[0].detach().clone();
    autograd::record(y, "reshaped", {&in[0]},
                     [](const Backward& b) -> Gradients { return {b.grad().reshape({3, 2})}; });
    return y;
  };
  EXPECT_ANY_THROW({
    if (!gradcheck(f, kSmall)) throw 1;
  });
}

TEST(GradcheckSelftest, FloatResultIsRejected) {
  EXPECT_FALSE(gradcheck([](const Inputs& in) { return sum(in[0].to(DType::f32)); }, kSmall));
}

}  // namespace
}  // namespace gpunn
