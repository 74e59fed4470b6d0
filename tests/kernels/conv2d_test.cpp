#include "gpunn/kernels/conv2d/conv2d.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#if GPUNN_EMULATED
#include "gpunn/core/emulation/config.h"
#endif

namespace gpunn {
namespace parity {
void add_conv2d_cases(Suite& suite);
void add_conv2d_race_cases(Suite& suite);
}  // namespace parity

namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(Conv2dParity, Cpu) { parity::expect_parity_on_cpu(parity::add_conv2d_cases); }
TEST(Conv2dRace, Cpu) { parity::expect_parity_on_cpu(parity::add_conv2d_race_cases); }
#if GPUNN_HAS_CUDA
TEST(Conv2dParity, Cuda) { parity::expect_parity_on_cuda(parity::add_conv2d_cases); }
TEST(Conv2dRace, Cuda) { parity::expect_parity_on_cuda(parity::add_conv2d_race_cases); }
#endif

class Conv2dOnDevice : public testing::DeviceTest {
 protected:
  Tensor of(const std::vector<float>& values, const Shape& shape, bool grad = false) const {
    return Tensor::from(values, shape, {.device = device(), .requires_grad = grad});
  }
  /// 1 to 9 in three rows, and a filter of 1 to 4.
  Tensor nine(bool grad = false) const { return of({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 1, 3, 3}, grad); }
  Tensor four(bool grad = false) const { return of({1, 2, 3, 4}, {1, 1, 2, 2}, grad); }
  Tensor drawn(const Shape& shape) const { return randn(shape, {.device = device()}); }
};
GPUNN_ON_EVERY_DEVICE(Conv2dOnDevice);

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

TEST_P(Conv2dOnDevice, ByHand) {
  const Tensor x = nine(true), w = four(true), b = of({10}, {1}, true);
  const Tensor y = conv2d(x, w, b);
  EXPECT_EQ(y.shape(), Shape({1, 1, 2, 2}));
  EXPECT_THAT(values(y), ElementsAre(47, 57, 77, 87));
  sum(y).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(1, 3, 2, 4, 10, 6, 3, 7, 4));
  EXPECT_THAT(values(w.grad()), ElementsAre(12, 16, 24, 28));
  EXPECT_THAT(values(b.grad()), ElementsAre(4));
}

TEST_P(Conv2dOnDevice, Windows) {
  EXPECT_THAT(values(conv2d(nine(), four(), {}, {.stride = 2, .padding = 1})), ElementsAre(4, 18, 36, 77));
  // The odd row and column of zeros lie below and to the right.
  EXPECT_THAT(values(conv2d(nine(), four(), {}, {.padding = Padding2d::same()})),
              ElementsAre(37, 47, 21, 67, 77, 33, 23, 26, 9));
  EXPECT_THAT(values(conv2d(nine(), four(), {}, {.dilation = 2})), ElementsAre(1 + 6 + 21 + 36));
  const Tensor wide = conv2d(nine(), four(), {}, {.stride = {2, 1}, .padding = {0, 1}});
  EXPECT_EQ(wide.shape(), Shape({1, 1, 1, 4}));
  EXPECT_THAT(values(wide), ElementsAre(2 + 16, 37, 47, 3 + 18));
  const Tensor pair = of({1, 2, 3, 4}, {1, 2, 1, 2}), filters = of({10, 100}, {2, 1, 1, 1});
  EXPECT_THAT(values(conv2d(pair, filters, {}, {.groups = 2})), ElementsAre(10, 20, 300, 400));
}

TEST_P(Conv2dOnDevice, Relu) {
  const Tensor x = nine(true), w = four(true), b = of({-50}, {1}, true);
  const Tensor y = conv2d(x, w, b, {.relu = true});
  EXPECT_THAT(values(y), ElementsAre(0, 0, 17, 27));
  sum(y).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0, 0, 0, 1, 3, 2, 3, 7, 4));
  EXPECT_THAT(values(w.grad()), ElementsAre(9, 11, 15, 17));
  EXPECT_THAT(values(b.grad()), ElementsAre(2));
}

TEST_P(Conv2dOnDevice, GradientOps) {
  const Tensor dy = of({1, 1, 1, 1}, {1, 1, 2, 2});
  EXPECT_THAT(values(conv2d_dx(dy, four(), 3)), ElementsAre(1, 3, 2, 4, 10, 6, 3, 7, 4));
  EXPECT_THAT(values(conv2d_dw(nine(), dy, 2)), ElementsAre(12, 16, 24, 28));
  // A stride leaves rows that no window sees.
  EXPECT_THAT(values(conv2d_dx(of({5}, {1, 1, 1, 1}), four(), 3, {.stride = 2})),
              ElementsAre(5, 10, 0, 15, 20, 0, 0, 0, 0));
}

TEST_P(Conv2dOnDevice, Transposed) {
  const Tensor x = four(), w = four();
  EXPECT_THAT(values(conv_transpose2d(x, w)), ElementsAre(1, 4, 4, 6, 20, 16, 9, 24, 16));
  EXPECT_THAT(values(conv_transpose2d(x, w, {}, {.stride = 2})),
              ElementsAre(1, 2, 2, 4, 3, 4, 6, 8, 3, 6, 4, 8, 9, 12, 12, 16));
  const Tensor y = conv_transpose2d(x, w, of({7}, {1}), {.padding = 1, .output_padding = 0});
  EXPECT_THAT(values(y), ElementsAre(27));
  const Tensor more = conv_transpose2d(x, w, of({1}, {1}), {.stride = 2, .output_padding = {1, 0}});
  EXPECT_EQ(more.shape(), Shape({1, 1, 5, 4}));
  EXPECT_THAT(values(more.select(2, 4)), Each(1.0f));
}

TEST_P(Conv2dOnDevice, Series) {
  const Tensor x = of({1, 2, 3, 4, 5}, {1, 1, 5}), pair = of({1, 1}, {1, 1, 2});
  EXPECT_THAT(values(conv1d(x, pair, {}, {.dilation = 2})), ElementsAre(4, 6, 8));
  EXPECT_THAT(values(conv1d(x, pair, {}, {.dilation = 2, .same = true})), ElementsAre(2, 4, 6, 8, 4));
  EXPECT_THAT(values(conv1d(x, of({1, 10}, {1, 1, 2}), {}, {.same = true})), ElementsAre(21, 32, 43, 54, 5));
  EXPECT_THAT(values(conv1d(x, pair, of({-6}, {1}), {.stride = 2, .padding = 1, .relu = true})),
              ElementsAre(0, 0, 3));
  const Tensor alone = conv1d(x.reshape({1, 5}), pair);
  EXPECT_EQ(alone.shape(), Shape({1, 4}));
  EXPECT_THAT(values(alone), ElementsAre(3, 5, 7, 9));
}

TEST_P(Conv2dOnDevice, WithoutBatch) {
  const Tensor x = drawn({3, 6, 5}), w = drawn({4, 3, 3, 3}), b = drawn({4}), t = drawn({3, 2, 2, 2});
  EXPECT_EQ(conv2d(x, w, b).shape(), Shape({4, 4, 3}));
  EXPECT_EQ(values(conv2d(x, w, b)), values(conv2d(x.unsqueeze(0), w, b)));
  EXPECT_EQ(conv_transpose2d(x, t).shape(), Shape({2, 7, 6}));
}

TEST_P(Conv2dOnDevice, EmptyBatch) {
  const Tensor x = of({}, {0, 2, 5, 5}, true), w = of(std::vector<float>(54, 1), {3, 2, 3, 3}, true),
               b = of({1, 2, 3}, {3}, true);
  const Tensor y = conv2d(x, w, b, {.relu = true});
  EXPECT_EQ(y.shape(), Shape({0, 3, 3, 3}));
  sum(y).backward();
  EXPECT_EQ(x.grad().shape(), x.shape());
  EXPECT_THAT(values(w.grad()), Each(0.0f));
  EXPECT_THAT(values(b.grad()), ElementsAre(0, 0, 0));
  EXPECT_EQ(conv_transpose2d(y.detach(), w).shape(), Shape({0, 2, 5, 5}));
  EXPECT_EQ(conv1d(of({}, {0, 2, 5}), of({1, 1}, {1, 2, 1})).shape(), Shape({0, 1, 5}));
}

/// Values near those of the other order, and the order of the picture.
TEST_P(Conv2dOnDevice, ChannelsLastStaysSo) {
  const Tensor x = drawn({2, 4, 6, 5}), w = drawn({6, 2, 3, 3}), b = drawn({6}), dy = drawn({2, 6, 6, 5});
  const auto run = [&](Layout layout) {
    const Tensor in = x.contiguous(layout).detach(), filters = w.detach(), bias = b.detach();
    in.requires_grad_(), filters.requires_grad_(), bias.requires_grad_();
    const Tensor y = conv2d(in, filters, bias, {.padding = 1, .groups = 2, .relu = true});
    EXPECT_EQ(y.layout(), layout);
    const std::vector<Tensor> grads =
        autograd::grad(std::vector{y}, std::vector{in, filters, bias}, std::vector{dy});
    EXPECT_EQ(grads[0].layout(), layout);
    return std::vector{y, grads[0], grads[1], grads[2]};
  };
  const std::vector<Tensor> plain = run(Layout::contiguous), last = run(Layout::channels_last);
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_THAT(values(last[i]), ::testing::Pointwise(::testing::FloatNear(2e-5f), values(plain[i]))) << i;
}

TEST_P(Conv2dOnDevice, StridedOperands) {
  const Tensor x = drawn({2, 5, 6, 3}).permute({0, 3, 1, 2}).narrow(3, 1, 4);
  const Tensor w = drawn({3, 3, 4, 3}).permute({2, 3, 0, 1});
  ASSERT_EQ(x.layout(), Layout::strided);
  EXPECT_EQ(values(conv2d(x, w)), values(conv2d(x.contiguous(), w.contiguous())));
}

/// Every call throws, and nothing was started on the device meanwhile.
void expect_refused(const std::function<void()>& call, const char* message) {
#if GPUNN_EMULATED
  const auto before = emu::stats().launches;
#endif
  EXPECT_THAT(call, ThrowsMessage<InvalidArgument>(HasSubstr(message)));
#if GPUNN_EMULATED
  EXPECT_EQ(emu::stats().launches, before) << message;
#endif
}

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

TEST_P(Conv2dOnDevice, RefusesTensorsThatDoNotFit) {
  const Tensor x = drawn({2, 4, 5, 6}), w = drawn({6, 4, 3, 3}), b = drawn({6});
  const Tensor integers = x.to(DType::i64), halves = w.to(DType::f16), flat = drawn({2, 4});
  const Tensor no_channels = drawn({2, 0, 5, 6}), no_filters = drawn({0, 4, 3, 3}),
               no_rows = drawn({2, 4, 0, 6});
  expect_refused([&] { conv2d(flat, w); }, "[conv2d] expected input [N, C, H, W] or [C, H, W]");
  expect_refused([&] { conv2d(x, x.select(0, 0)); }, "expected weight [K, C / groups, R, S]");
  expect_refused([&] { conv2d(Tensor(), w); }, "[conv2d]");
  expect_refused([&] { conv2d(x, Tensor()); }, "[conv2d]");
  expect_refused([&] { conv2d(integers, w); }, "i64");
  expect_refused([&] { conv2d(x, halves); }, "f16");
  expect_refused([&] { conv2d(x, w, flat); }, "expected bias [6], got [2, 4]");
  expect_refused([&] { conv2d(x, w, flat.select(0, 0)); }, "expected bias [6], got [4]");
  expect_refused([&] { conv2d(no_channels, w); },
                 "with sizes (but the batch) in [1, 2^31), got [2, 0, 5, 6]");
  expect_refused([&] { conv2d(no_rows, w); }, "got [2, 4, 0, 6]");
  expect_refused([&] { conv2d(x, no_filters); }, "expected weight");
  expect_refused([&] { conv2d(x, drawn({6, 3, 3, 3})); }, "expected weight of 4 channels");
  expect_refused([&] { conv1d(x, w); }, "[conv1d] expected input [N, C, L] or [C, L]");
  expect_refused([&] { conv1d(flat, flat); }, "[conv1d] expected weight [K, C / groups, S]");
  expect_refused([&] { conv_transpose2d(x, w); }, "[conv_transpose2d] expected weight [4, K / groups, R, S]");
  expect_refused([&] { conv2d_dx(x, w, 5); }, "[conv2d_dx] expected weight");
  expect_refused([&] { conv2d_dw(x, b, 3); }, "[conv2d_dw] expected dy [N, K, P, Q]");
  if (device().type() != DeviceType::cpu) expect_refused([&] { conv2d(x, w.to(Device::cpu())); }, "cpu");
}

TEST_P(Conv2dOnDevice, RefusesBadOptions) {
  const Tensor x = drawn({2, 4, 5, 6}), w = drawn({6, 4, 3, 3}), half = drawn({6, 2, 3, 3});
  expect_refused(
      [&] { conv2d(x, drawn({1, 4, 6, 3})); },
      "expected a filter that fits the padded input, got height 6 of the filter (with dilation) for 5");
  expect_refused([&] { conv2d(x, w, {}, {.padding = {1, 0}, .dilation = {3, 4}}); }, "got width 9");
  expect_refused([&] { conv2d(x, w, {}, {.groups = 3}); },
                 "expected groups that divide the 4 and 6 channels");
  expect_refused([&] { conv2d(x, drawn({7, 2, 3, 3}), {}, {.groups = 2}); },
                 "groups that divide the 4 and 7");
  expect_refused([&] { conv2d(x, half, {}, {.groups = 4}); }, "groups");
  expect_refused([&] { conv2d(x, w, {}, {.groups = 0}); }, "expected groups in [1, 2^31), got 0");
  expect_refused([&] { conv2d(x, w, {}, {.stride = {1, 0}}); }, "expected stride");
  expect_refused([&] { conv2d(x, w, {}, {.padding = {0, -1}}); }, "expected padding");
  expect_refused([&] { conv2d(x, w, {}, {.dilation = 0}); }, "expected dilation");
  expect_refused([&] { conv2d(x, w, {}, {.stride = 2, .padding = Padding2d::same()}); },
                 "expected stride 1 with padding `same`, got 2 and 2");
  expect_refused([&] { conv1d(drawn({1, 2, 3}), drawn({1, 2, 1}), {}, {.padding = 1, .same = true}); },
                 "expected no padding beside `same`");
  expect_refused([&] { conv2d_dx(drawn({2, 6, 3, 4}), w, {5, 7}); },
                 "expected dy [2, 6, 3, 5], got [2, 6, 3, 4]");
  expect_refused([&] { conv2d_dx(drawn({2, 6, 3, 4}), w, {5, 6}, {.relu = true}); }, "without relu");
  expect_refused([&] { conv2d_dw(x, drawn({1, 6, 3, 4}), 3); }, "expected dy [2, 6, 3, 4], got [1, 6, 3, 4]");
  expect_refused([&] { conv2d_dw(x, drawn({2, 6, 3, 4}), {3, 0}); }, "expected width of the filters");
  expect_refused([&] { conv_transpose2d(x, drawn({4, 1, 2, 2}), {}, {.output_padding = 1}); },
                 "expected output padding below stride or dilation, got 1 with 1 and 1");
  expect_refused([&] { conv_transpose2d(x, drawn({4, 1, 2, 2}), {}, {.padding = 3}); },
                 "expected size of the result in [1, 2^31), got 0");
  expect_refused([&] { conv_transpose2d(x, drawn({4, 1, 2, 2}), {}, {.groups = 3}); }, "groups");
}

TEST_P(Conv2dOnDevice, RefusesSizesThatOverflow) {
  const Tensor x = drawn({2, 4, 5, 6}), w = drawn({6, 4, 3, 3}), t = drawn({4, 2, 3, 3});
  expect_refused([&] { conv2d(x, w, {}, {.padding = kHuge}); }, "expected padding in [0, 2^31)");
  expect_refused([&] { conv2d(x, w, {}, {.dilation = kHuge}); }, "expected dilation");
  expect_refused([&] { conv2d(x, w, {}, {.stride = kHuge}); }, "expected stride");
  expect_refused([&] { conv2d(x, w, {}, {.groups = kHuge}); }, "expected groups");
  expect_refused([&] { conv2d(x, w, {}, {.padding = (std::int64_t{1} << 31) - 1}); }, "size of the result");
  expect_refused([&] { conv2d_dx(x, t, {kHuge, 5}); }, "expected height");
  expect_refused([&] { conv2d_dx(x, t, 7, {.groups = kHuge}); }, "expected groups");
  expect_refused([&] { conv2d_dw(x, x, {kHuge, kHuge}); }, "expected height of the filters");
  expect_refused([&] { conv_transpose2d(x, t, {}, {.groups = kHuge}); }, "expected groups");
  expect_refused([&] { conv_transpose2d(x, t, {}, {.stride = (std::int64_t{1} << 31) - 1}); },
                 "size of the result");
  // Each size is in range, their product is not.
  const std::int64_t most = (std::int64_t{1} << 30) - 10;
  expect_refused([&] { conv2d(x, w, {}, {.padding = most}); }, "[conv2d]");
}

struct Settings {
  const char* name;
  Shape x, w;
  Conv2dOptions options;
};

const Settings kSettings[] = {
    {"3x3", {2, 2, 4, 3}, {3, 2, 3, 3}, {.padding = 1}},
    {"stride", {1, 2, 6, 5}, {2, 2, 3, 2}, {.stride = {2, 3}, .padding = {1, 0}}},
    {"dilation", {1, 2, 5, 6}, {2, 2, 2, 3}, {.padding = 1, .dilation = {3, 2}}},
    {"groups", {1, 4, 3, 4}, {2, 2, 2, 2}, {.padding = {0, 1}, .groups = 2}},
    {"depthwise", {2, 3, 4, 4}, {6, 1, 3, 3}, {.stride = 2, .padding = 1, .groups = 3}},
    {"same", {1, 2, 4, 5}, {2, 2, 2, 4}, {.padding = Padding2d::same()}},
};
const Fill kNormal = fill::normal(0, 1);

TEST(Conv2dGradient, Forward) {
  bool relu = false;
  for (const Settings& s : kSettings) {
    Conv2dOptions o = s.options;
    o.relu = relu = !relu;
    const GradFunction f = [&](const Inputs& in) { return conv2d(in[0], in[1], in[2], o); };
    const std::vector<GradInput> inputs{{s.x, kNormal}, {s.w, kNormal}, {{s.w[0]}, kNormal}};
    EXPECT_TRUE(gradcheck(f, inputs)) << s.name << " " << relu;
    EXPECT_TRUE(gradgradcheck(f, inputs)) << s.name << " " << relu;
  }
}

TEST(Conv2dGradient, ChannelsLast) {
  const GradFunction f = [](const Inputs& in) {
    const Tensor x = in[0].contiguous(Layout::channels_last);
    return conv2d(x, in[1], in[2], {.padding = 1, .relu = true});
  };
  const std::vector<GradInput> inputs{{{2, 2, 3, 4}, kNormal}, {{2, 2, 3, 3}, kNormal}, {{2}, kNormal}};
  EXPECT_TRUE(gradcheck(f, inputs));
  EXPECT_TRUE(gradgradcheck(f, inputs));
}

TEST(Conv2dGradient, OfTheGradients) {
  for (const Settings& s : kSettings) {
    const Shape y = conv2d(zeros(s.x), zeros(s.w), {}, s.options).shape();
    const GradFunction dx = [&](const Inputs& in) {
      return conv2d_dx(in[0], in[1], {s.x[2], s.x[3]}, s.options);
    };
    const GradFunction dw = [&](const Inputs& in) {
      return conv2d_dw(in[0], in[1], {s.w[2], s.w[3]}, s.options);
    };
    EXPECT_TRUE(gradcheck(dx, {{y, kNormal}, {s.w, kNormal}})) << s.name;
    EXPECT_TRUE(gradgradcheck(dx, {{y, kNormal}, {s.w, kNormal}})) << s.name;
    EXPECT_TRUE(gradcheck(dw, {{s.x, kNormal}, {y, kNormal}})) << s.name;
    EXPECT_TRUE(gradgradcheck(dw, {{s.x, kNormal}, {y, kNormal}})) << s.name;
  }
}

TEST(Conv2dGradient, TransposedAndSeries) {
  const ConvTranspose2dOptions turned[] = {
      {.stride = 2, .padding = 1, .output_padding = 1},
      {.stride = {1, 3}, .output_padding = {1, 2}, .groups = 2, .dilation = {2, 1}}};
  for (const ConvTranspose2dOptions& o : turned) {
    const GradFunction f = [&](const Inputs& in) { return conv_transpose2d(in[0], in[1], in[2], o); };
    const std::vector<GradInput> inputs{
        {{2, 2, 3, 2}, kNormal}, {{2, 2, 3, 2}, kNormal}, {{2 * o.groups}, kNormal}};
    EXPECT_TRUE(gradcheck(f, inputs));
    EXPECT_TRUE(gradgradcheck(f, inputs));
  }
  const Conv1dOptions series[] = {{.stride = 2, .padding = 2, .dilation = 2, .relu = true},
                                  {.groups = 2, .same = true}};
  for (const Conv1dOptions& o : series) {
    const GradFunction f = [&](const Inputs& in) { return conv1d(in[0], in[1], in[2], o); };
    const std::vector<GradInput> inputs{
        {{2, 2, 7}, kNormal}, {{4, 2 / o.groups, 4}, kNormal}, {{4}, kNormal}};
    EXPECT_TRUE(gradcheck(f, inputs));
    EXPECT_TRUE(gradgradcheck(f, inputs));
  }
}

/// Only what is asked for is computed.
TEST(Conv2dGradient, OfOneOperand) {
  const Tensor x = randn({1, 2, 4, 4}), w = randn({3, 2, 3, 3}, {.requires_grad = true}), b = randn({3});
  sum(conv2d(x, w, b)).backward();
  EXPECT_TRUE(w.grad().defined());
  EXPECT_FALSE(x.grad().defined());
  EXPECT_FALSE(b.grad().defined());
  const Tensor bias = randn({3}, {.requires_grad = true});
  sum(conv2d(x, w.detach(), bias, {.padding = 1})).backward();
  EXPECT_THAT(values(bias.grad()), ElementsAre(16, 16, 16));
}

}  // namespace
}  // namespace gpunn
