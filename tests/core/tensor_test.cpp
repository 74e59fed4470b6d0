#include "gpunn/core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gpunn/core/autograd.h"
#include "gpunn/core/runtime.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using testing::DeviceTest;

/// Everything here runs on the CPU and, where there is one, on a (possibly emulated) CUDA device.
class TensorTest : public DeviceTest {
 protected:
  Tensor iota(const Shape& shape, DType dtype = DType::f32) const {
    std::vector<float> v(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
    return Tensor::from(v, shape, {.device = device()}).to(dtype);
  }
};
GPUNN_ON_EVERY_DEVICE(TensorTest);

using Floats = std::vector<float>;

TEST_P(TensorTest, FactoriesAndHostValues) {
  const Tensor x = full({2, 3}, 1.5, {.device = device()});
  EXPECT_EQ(x.to_vector<float>(), Floats(6, 1.5f));
  EXPECT_EQ(zeros({2}, {.dtype = DType::i64, .device = device()}).to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(ones_like(x).to_vector<float>(), Floats(6, 1.0f));
  EXPECT_EQ(x.device(), device());
  EXPECT_EQ(x.nbytes(), 24u);
  EXPECT_DOUBLE_EQ(full({}, 7, {.device = device()}).item(), 7);
  EXPECT_THROW(x.item(), InvalidArgument);
}

TEST_P(TensorTest, EmptyTensors) {
  const Tensor x = zeros({0, 3}, {.device = device()});
  EXPECT_EQ(x.numel(), 0);
  EXPECT_TRUE(x.to_vector<float>().empty());
  EXPECT_TRUE(x.clone().to(DType::f16).to(Device::cpu()).is_contiguous());
  EXPECT_EQ(x.reshape({3, 0}).shape(), Shape({3, 0}));
  x.fill_(1);
  x.copy_(zeros({0, 3}));
}

TEST_P(TensorTest, ImpossibleShapesThrowBeforeAllocating) {
  EXPECT_THROW(empty({-1}, {.device = device()}), InvalidArgument);
  EXPECT_THROW(empty({std::numeric_limits<std::int64_t>::max()}, {.device = device()}), InvalidArgument);
  EXPECT_THROW(empty({std::int64_t{1} << 50}, {.device = device()}), OutOfMemory);
}

TEST_P(TensorTest, ViewsShareStorage) {
  const Tensor x = iota({2, 3});
  const Tensor t = x.t();
  EXPECT_EQ(t.shape(), Shape({3, 2}));
  EXPECT_FALSE(t.is_contiguous());
  EXPECT_EQ(t.to_vector<float>(), (Floats{0, 3, 1, 4, 2, 5}));
  t.select(0, 1).fill_(9);
  EXPECT_EQ(x.to_vector<float>(), (Floats{0, 9, 2, 3, 9, 5}));
  EXPECT_EQ(x.narrow(1, 1, 2).to_vector<float>(), (Floats{9, 2, 9, 5}));
}

TEST_P(TensorTest, ChannelsLastIsAnOrderInMemoryOnly) {
  const Tensor x = iota({2, 3, 1, 2});
  const Tensor y = x.contiguous(Layout::channels_last);
  EXPECT_EQ(y.layout(), Layout::channels_last);
  EXPECT_EQ(y.strides(), Strides({6, 1, 6, 3}));
  EXPECT_EQ(y.to_vector<float>(), x.to_vector<float>());
  EXPECT_TRUE(y.contiguous(Layout::channels_last).is_same(y));
  EXPECT_FALSE(y.is_contiguous());
  EXPECT_TRUE(y.contiguous().is_contiguous());
  EXPECT_EQ(y.contiguous().to_vector<float>(), x.to_vector<float>());
  EXPECT_THROW(x.contiguous(Layout::strided), InvalidArgument);
  EXPECT_THROW(iota({2, 3}).contiguous(Layout::channels_last), InvalidArgument);
}

TEST_P(TensorTest, ViewsKeepChannelsLastWhereTheyCan) {
  const Tensor y = iota({2, 3, 2, 2}).contiguous(Layout::channels_last);
  EXPECT_EQ(y.detach().layout(), Layout::channels_last);
  EXPECT_EQ(y.narrow(0, 1, 1).layout(), Layout::channels_last);
  EXPECT_EQ(y.narrow(1, 1, 2).layout(), Layout::strided);
  EXPECT_EQ(y.permute({0, 2, 3, 1}).layout(), Layout::contiguous);
  // One channel fits both orders; which one a tensor has is what it was made as.
  const Tensor one = iota({2, 1, 2, 2});
  EXPECT_EQ(one.detach().layout(), Layout::contiguous);
  EXPECT_EQ(one.contiguous(Layout::channels_last).detach().layout(), Layout::channels_last);
}

TEST_P(TensorTest, ReshapeIsAViewWhereStridesAllow) {
  const Tensor x = iota({2, 3, 4});
  EXPECT_EQ(&x.reshape({6, 4}).storage(), &x.storage());
  EXPECT_EQ(&x.narrow(0, 1, 1).reshape({12}).storage(), &x.storage());
  EXPECT_EQ(&x.permute({1, 0, 2}).reshape({3, 2, 2, 2}).storage(), &x.storage());
  const Tensor moved = x.permute({2, 0, 1});
  EXPECT_THROW(moved.view({24}), InvalidArgument);
  const Tensor copied = moved.reshape({24});
  EXPECT_NE(&copied.storage(), &x.storage());
  EXPECT_EQ(copied.to_vector<float>(), moved.to_vector<float>());
  EXPECT_EQ(x.reshape({-1, 8}).shape(), Shape({3, 8}));
  EXPECT_THROW(x.reshape({-1, -1}), InvalidArgument);
  EXPECT_THROW(x.reshape({5, -1}), InvalidArgument);
  EXPECT_THROW(x.reshape({25}), InvalidArgument);
}

TEST_P(TensorTest, SqueezeUnsqueezeFlattenSelect) {
  const Tensor x = iota({2, 1, 3});
  EXPECT_EQ(x.squeeze(1).shape(), Shape({2, 3}));
  EXPECT_EQ(x.squeeze(0).shape(), Shape({2, 1, 3}));
  EXPECT_EQ(x.unsqueeze(-1).shape(), Shape({2, 1, 3, 1}));
  EXPECT_TRUE(x.unsqueeze(0).is_contiguous());
  EXPECT_EQ(x.flatten(1).shape(), Shape({2, 3}));
  EXPECT_EQ(full({}, 1, {.device = device()}).flatten().shape(), Shape({1}));
  EXPECT_EQ(x.select(2, -1).to_vector<float>(), (Floats{2, 5}));
  EXPECT_THROW(x.select(2, 3), InvalidArgument);
  EXPECT_THROW(x.narrow(0, 1, 2), InvalidArgument);
  EXPECT_THROW(x.permute({0, 0, 1}), InvalidArgument);
  EXPECT_THROW(x.t(), InvalidArgument);
}

TEST_P(TensorTest, ConversionsBetweenDTypes) {
  const Tensor x = Tensor::from({-1.5f, 0.0f, 2.75f}).to(device());
  EXPECT_EQ(x.to(DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{-1, 0, 2}));
  EXPECT_EQ(x.to(DType::f16).to(DType::f64).to_vector<double>(), (std::vector<double>{-1.5, 0, 2.75}));
  EXPECT_EQ(x.to(DType::boolean).to(DType::f32).to_vector<float>(), (Floats{1, 0, 1}));
  EXPECT_TRUE(x.to(DType::f32).is_same(x));
}

TEST_P(TensorTest, CopiesAcrossLayoutsAndDevices) {
  const Tensor x = iota({3, 4});
  const Tensor y = zeros({4, 3}, {.dtype = DType::f64});
  y.copy_(x.t());
  EXPECT_EQ(y.to_vector<double>(), x.t().to(DType::f64).to_vector<double>());
  EXPECT_THROW(y.copy_(x), InvalidArgument);
  EXPECT_EQ(x.to(Device::cpu()).to(device()).to_vector<float>(), x.to_vector<float>());
}

TEST_P(TensorTest, PinnedCopiesMayBeOverwrittenAtOnce) {
  if (device().is_cpu()) GTEST_SKIP() << "pinned memory belongs to a CUDA device";
  const Tensor host = full({1000}, 1).pin_memory(device());
  EXPECT_TRUE(host.device().is_cpu());
  const Tensor first = host.to(device(), true);
  host.fill_(2);  // waits for the copy
  const Tensor second = host.to(device(), true);
  host.host<float>()[0] = 3;  // waits as well
  EXPECT_EQ(first.to_vector<float>(), Floats(1000, 1.0f));
  EXPECT_EQ(second.to_vector<float>(), Floats(1000, 2.0f));
}

TEST_P(TensorTest, RandomNumbersAreEqualOnEveryDevice) {
  manual_seed(42);
  const auto here = rand({1001}, {.device = device()}).to_vector<float>();
  manual_seed(42);
  EXPECT_EQ(rand({1001}).to_vector<float>(), here);
  EXPECT_NE(rand({1001}).to_vector<float>(), here);
}

TEST(Tensor, NormalHasTheRightMoments) {
  manual_seed(1);
  const auto v = randn({200000}).to_vector<float>();
  double mean = 0, square = 0;
  for (const float x : v) mean += x, square += double{x} * x;
  mean /= 2e5;
  EXPECT_NEAR(mean, 0, 4 / std::sqrt(2e5));
  EXPECT_NEAR(square / 2e5 - mean * mean, 1, 4 * std::sqrt(2.0 / 2e5));
}

TEST(Tensor, UndefinedTensorsSaySo) {
  const Tensor none;
  EXPECT_FALSE(none.defined());
  EXPECT_THROW(none.shape(), InvalidArgument);
  EXPECT_THROW(none.clone(), InvalidArgument);
  EXPECT_EQ(to_string(none), "Tensor(undefined)");
}

TEST(Tensor, HostAccessIsTyped) {
  const Tensor x = Tensor::from({1, 2});
  EXPECT_EQ(x.host<float>()[1], 2);
  EXPECT_THROW(x.host<double>(), InvalidArgument);
  EXPECT_EQ(to_string(x), "Tensor([2], f32, cpu: 1, 2)");
  EXPECT_THROW(Tensor::from(std::vector<float>{1, 2}, {3}), InvalidArgument);
  EXPECT_THROW(Tensor::from({{1, 2}, {3}}), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
