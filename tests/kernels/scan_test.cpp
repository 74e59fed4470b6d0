#include "gpunn/kernels/scan/scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_scan_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ScanParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_scan_cases); }
#if GPUNN_HAS_CUDA
TEST(ScanParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_scan_cases); }
#endif

class ScanDevice : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ScanDevice);

TEST_P(ScanDevice, AlongEachDimension) {
  const Tensor x = Tensor::from({{1, 2, 3}, {4, 5, 6}}).to(device());
  EXPECT_THAT(cumsum(x, 1).to_vector<float>(), ElementsAre(1, 3, 6, 4, 9, 15));
  EXPECT_THAT(cumsum(x, -2).to_vector<float>(), ElementsAre(1, 2, 3, 5, 7, 9));
  EXPECT_THAT(cumprod(x, 1).to_vector<float>(), ElementsAre(1, 2, 6, 4, 20, 120));
  EXPECT_THAT(cumprod(x.t(), 1).to_vector<float>(), ElementsAre(1, 4, 2, 10, 3, 18));
}

TEST_P(ScanDevice, IntegersAddUpInSixtyFourBits) {
  const Tensor x = full({3}, 2147483647.0, {.dtype = DType::i32, .device = device()});
  EXPECT_EQ(cumsum(x, 0).dtype(), DType::i64);
  EXPECT_EQ(cumsum(x, 0).to_vector<std::int64_t>()[2], 3 * std::int64_t{2147483647});
  const Tensor flags = ones({5}, {.dtype = DType::boolean, .device = device()});
  EXPECT_THAT(cumsum(flags, 0).to_vector<std::int64_t>(), ElementsAre(1, 2, 3, 4, 5));
}

TEST_P(ScanDevice, ScalarsAndEmptyTensors) {
  const Tensor scalar = full({}, 3, {.device = device()});
  EXPECT_EQ(cumsum(scalar, 0).item(), 3);
  EXPECT_EQ(cumprod(scalar, -1).shape(), Shape());
  for (const Shape& shape : {Shape{0}, Shape{3, 0}, Shape{0, 3}}) {
    const Tensor x = zeros(shape, {.device = device()}).requires_grad_();
    EXPECT_EQ(cumsum(x, 0).shape(), shape);
    EXPECT_EQ(cumprod(x, -1).shape(), shape);
    cumprod(x, 0).backward(zeros(shape, {.device = device()}));
    EXPECT_EQ(x.grad().shape(), shape);
  }
}

TEST_P(ScanDevice, GradientOfProductsWithZeros) {
  // dx[k]: the sum over i >= k of the product of the others up to i.
  const Tensor x = Tensor::from({2, 0, 3, 4}).to(device()).requires_grad_();
  cumprod(x, 0).backward(ones({4}, {.device = device()}));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(1, 2 * (1 + 3 + 12), 0, 0));
  const Tensor twice = Tensor::from({0, 5, 0, 7}).to(device()).requires_grad_();
  cumprod(twice, 0).backward(ones({4}, {.device = device()}));
  EXPECT_THAT(twice.grad().to_vector<float>(), ElementsAre(1 + 5, 0, 0, 0));
}

TEST(Scan, RejectsBadArguments) {
  const Tensor x = zeros({2, 3});
  EXPECT_THAT([&] { cumsum(x, 2); }, ThrowsMessage<InvalidArgument>(HasSubstr("[cumsum]")));
  EXPECT_THAT([&] { cumprod(x, -3); }, ThrowsMessage<InvalidArgument>(HasSubstr("[cumprod]")));
  EXPECT_THAT([&] { cumsum(Tensor(), 0); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
  EXPECT_THAT([&] { cumprod(Tensor(), 0); }, ThrowsMessage<InvalidArgument>(HasSubstr("undefined")));
  EXPECT_THAT([&] { cumprod(zeros({2}, {.dtype = DType::i64}), 0); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[cumprod]")));
}

struct Differentiable {
  const char* name;
  GradFunction f;
  Shape shape;
};

TEST(ScanGradient, OfSums) {
  const std::vector<Differentiable> list = {
      {"row", [](const Inputs& in) { return cumsum(in[0] * in[0], 0); }, {7}},
      {"columns", [](const Inputs& in) { return cumsum(in[0], 1) * in[0]; }, {2, 3, 2}},
      {"of a view", [](const Inputs& in) { return cumsum(exp(in[0]).t(), 1); }, {3, 4}},
  };
  for (const Differentiable& d : list) {
    EXPECT_TRUE(gradcheck(d.f, {{d.shape, fill::normal(0, 1)}})) << d.name;
    EXPECT_TRUE(gradgradcheck(d.f, {{d.shape, fill::normal(0, 1)}})) << d.name;
  }
}

TEST(ScanGradient, OfProducts) {
  for (const Fill& x : {fill::normal(0, 1), fill::every(4, 0, fill::normal(0, 1), 2),
                        fill::every(2, 0, fill::normal(0, 1))}) {
    EXPECT_TRUE(gradcheck([](const Inputs& in) { return cumprod(in[0], 0); }, {{{7}, x}}));
    EXPECT_TRUE(gradcheck([](const Inputs& in) { return cumprod(in[0], 1); }, {{{2, 5, 2}, x}}));
  }
  const Tensor x = randn({3}).requires_grad_();
  EXPECT_THROW(cumprod(x, 0).backward(ones({3}), true, true), Unsupported);
}

}  // namespace
}  // namespace gpunn
