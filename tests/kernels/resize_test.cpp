#include "gpunn/kernels/resize/resize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/resize/resize_impl.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_resize_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(ResizeParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_resize_cases); }
#if GPUNN_HAS_CUDA
TEST(ResizeParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_resize_cases); }
#endif

class Resize : public testing::DeviceTest {
 protected:
  Tensor row(const std::vector<float>& values) const {
    return Tensor::from(values, {1, 1, 1, static_cast<std::int64_t>(values.size())}, {.device = device()});
  }
};
GPUNN_ON_EVERY_DEVICE(Resize);

TEST_P(Resize, NumbersByHand) {
  const Tensor x = row({0, 8});
  EXPECT_THAT(interpolate(x, {1, 4}).to_vector<float>(), ElementsAre(0, 0, 8, 8));
  // Sources -0.25 (so 0), 0.25, 0.75 and 1.25 (so the last).
  EXPECT_THAT(interpolate(x, {1, 4}, Interpolation::bilinear).to_vector<float>(), ElementsAre(0, 2, 6, 8));
  EXPECT_THAT(interpolate(x, {1, 5}, Interpolation::bilinear, true).to_vector<float>(),
              ElementsAre(0, 2, 4, 6, 8));
  EXPECT_THAT(interpolate_scale(row({1, 2, 3, 4}), 1, 0.5).to_vector<float>(), ElementsAre(1, 3));
  EXPECT_THAT(interpolate_scale(row({1, 2, 3, 4}), 1, 0.5, Interpolation::bilinear).to_vector<float>(),
              ElementsAre(1.5f, 3.5f));
  // The step is 1 / 1.7, not 2 / 3: column 2 reads at 1.18, and bilinear at 0.97.
  EXPECT_THAT(
      interpolate_scale(row({0, 100}), 1, 1.7, Interpolation::bilinear).to_vector<float>(),
      ElementsAre(0, ::testing::FloatNear(38.235294f, 1e-4f), ::testing::FloatNear(97.058824f, 1e-4f)));
}

TEST_P(Resize, GradientsAddUp) {
  const Tensor x = row({1, 2}).requires_grad_();
  const Tensor y = interpolate(x, {2, 5});
  y.backward(ones_like(y.detach()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(6, 4));
  x.zero_grad();
  const Tensor z = interpolate(x, {1, 4}, Interpolation::bilinear);
  z.backward(row({1, 10, 100, 1000}));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(1 + 7.5f + 25, 2.5f + 75 + 1000));
}

TEST_P(Resize, ShapesAndOrders) {
  const Tensor x = randn({2, 3, 4, 5}, {.device = device()});
  EXPECT_EQ(interpolate(x, {8, 7}).shape(), Shape({2, 3, 8, 7}));
  EXPECT_EQ(interpolate(x.select(0, 0), 6, Interpolation::bilinear).shape(), Shape({3, 6, 6}));
  EXPECT_EQ(interpolate_scale(x, 1.5, 0.7).shape(), Shape({2, 3, 6, 3}));
  const Tensor last = x.contiguous(Layout::channels_last), y = interpolate(last, {8, 7});
  EXPECT_EQ(y.layout(), Layout::channels_last);
  EXPECT_EQ(y.to_vector<float>(), interpolate(x, {8, 7}).to_vector<float>());
  const Tensor turned = x.transpose(2, 3);
  EXPECT_EQ(interpolate(turned, 3).to_vector<float>(),
            interpolate(turned.contiguous(), 3).to_vector<float>());
  EXPECT_EQ(interpolate(x, {4, 5}, Interpolation::bilinear).to_vector<float>(), x.to_vector<float>());
  for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
    const Tensor none = empty({0, 3, 4, 4}, {.device = device()}).contiguous(layout).requires_grad_();
    const Tensor empty = interpolate(none, 8, Interpolation::bilinear);
    EXPECT_EQ(empty.shape(), Shape({0, 3, 8, 8}));
    empty.backward(empty.detach().clone());
    EXPECT_EQ(none.grad().shape(), none.shape());
  }
}

template <class F>
void expect_refused(F f, const char* message) {
  EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(message)));
}

TEST_P(Resize, BadInput) {
  const Tensor x = randn({1, 2, 4, 5}, {.device = device()});
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  expect_refused([&] { interpolate(Tensor(), 2); }, "interpolate");
  expect_refused([&] { interpolate(x, 0); }, "[interpolate] expected a size of 1 to 2^28, got 0");
  expect_refused([&] { interpolate(x, {3, -1}); }, "got -1");
  expect_refused([&] { interpolate(x, (std::int64_t{1} << 28) + 1); }, "expected a size of 1 to 2^28");
  expect_refused([&] { interpolate(x, std::int64_t{1} << 20); }, "fewer than 2^31 pixels");
  expect_refused([&] { interpolate(x, 3, Interpolation::nearest, true); }, "align_corners");
  expect_refused([&] { interpolate(x.reshape({8, 5}), 3); },
                 "expected x [N, C, H, W] or [C, H, W], got [8, 5]");
  expect_refused([&] { interpolate(randn({1, 0, 4, 5}, {.device = device()}), 3); },
                 "with channels and pixels");
  expect_refused([&] { interpolate(zeros({1, 1, 2, 2}, {.dtype = DType::i32, .device = device()}), 3); },
                 "floating");
  for (const double scale : {0.0, -1.0, kInfinity, std::numeric_limits<double>::quiet_NaN()})
    expect_refused([&] { interpolate_scale(x, scale, 1); },
                   "[interpolate_scale] expected a positive finite scale");
  expect_refused([&] { interpolate_scale(x, 1, 0.1); }, "expected a size of 1 to 2^28, got 0");
  expect_refused([&] { interpolate_scale(x, 1e12, 1); }, "expected a size");
}

TEST(ResizeGrad, FirstAndSecondDerivatives) {
  const std::vector<GradInput> small{{{1, 2, 3, 3}, fill::normal(0, 1)}};
  for (const Size2d size : {Size2d(7, 5), Size2d(2, 2)})
    for (const auto& [mode, corners] : {std::pair{Interpolation::nearest, false},
                                        {Interpolation::bilinear, false},
                                        {Interpolation::bilinear, true}})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
        const auto f = [=, mode = mode, corners = corners](const Inputs& in) {
          return interpolate(in[0].contiguous(layout), size, mode, corners);
        };
        EXPECT_TRUE(gradcheck(f, small)) << size.h;
        const auto square = [&](const Inputs& in) {
          const Tensor y = f(in);
          return y * y;
        };
        EXPECT_TRUE(gradgradcheck(square, small)) << size.h;
      }
  const auto scaled = [](const Inputs& in) {
    return interpolate_scale(in[0], 1.7, 0.7, Interpolation::bilinear);
  };
  EXPECT_TRUE(gradcheck(scaled, small));
  EXPECT_TRUE(gradgradcheck(scaled, small));
}

/// Who reads a place, against looking at all: steps that rounding makes uneven, and extents where f32 cannot
/// tell neighbours apart.
TEST(ResizeReaders, AreThoseThatRead) {
  const auto check = [](const ResizeAxis& a, ResizeRule rule, std::int32_t begin, std::int32_t end) {
    for (std::int32_t i = begin; i < end; ++i) {
      const ResizeReaders r = resize_readers(a, rule, i);
      const std::int32_t from = std::max(0, r.first - 40), to = std::min(a.out, r.end + 40);
      for (std::int32_t o = from; o < to; ++o) {
        const ResizeTap t = resize_tap(a, rule, o);
        const bool reads = t.first == i || t.second == i;
        ASSERT_TRUE(!reads || (o >= r.first && o < r.end))
            << a.in << " to " << a.out << ", " << i << " by " << o;
      }
    }
  };
  for (const ResizeRule rule : {ResizeRule::nearest, ResizeRule::bilinear, ResizeRule::corners})
    for (const std::int32_t in : {1, 2, 7, 31, 100})
      for (const std::int32_t out : {1, 3, 7, 30, 211}) {
        const float corners = out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
        const float step = static_cast<float>(in) / static_cast<float>(out);
        check({in, out, rule == ResizeRule::corners ? corners : step}, rule, 0, in);
        check({in, out, 1.3f * step}, rule, 0, in);
      }
  constexpr std::int32_t kLarge = (1 << 26) + 3;
  check({kLarge, kLarge / 3 * 4, 0.75f}, ResizeRule::bilinear, kLarge - 50, kLarge);
  check({kLarge, kLarge, 1.0f}, ResizeRule::nearest, kLarge - 50, kLarge);
}

}  // namespace
}  // namespace gpunn
