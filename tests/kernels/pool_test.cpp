#include "gpunn/kernels/pool/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "hwy/targets.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#include "tests/support/simd_target.h"

namespace gpunn {
namespace parity {
void add_pool_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(PoolParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_pool_cases); }
#if GPUNN_HAS_CUDA
TEST(PoolParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_pool_cases); }
#endif

class Pool : public testing::DeviceTest {
 protected:
  Tensor picture(const std::vector<float>& values, std::int64_t H, std::int64_t W) const {
    return Tensor::from(values, {1, 1, H, W}, {.device = device()});
  }
  /// 1, 2, 3, ...
  Tensor numbers(std::int64_t H, std::int64_t W) const {
    std::vector<float> v;
    for (std::int64_t i = 0; i < H * W; ++i) v.push_back(static_cast<float>(i + 1));
    return picture(v, H, W);
  }
  Tensor random(const Shape& shape) const { return randn(shape, {.device = device()}); }
};
GPUNN_ON_EVERY_DEVICE(Pool);

TEST_P(Pool, NumbersByHand) {
  const Tensor x = numbers(3, 3);  // 1 2 3 / 4 5 6 / 7 8 9
  EXPECT_THAT(max_pool2d(x, 2, {.stride = 1}).to_vector<float>(), ElementsAre(5, 6, 8, 9));
  EXPECT_THAT(avg_pool2d(x, 2, {.stride = 1}).to_vector<float>(), ElementsAre(3, 4, 6, 7));
  EXPECT_THAT(avg_pool2d(x, 2, {.ceil_mode = true}).to_vector<float>(), ElementsAre(3, 4.5f, 7.5f, 9));
  const PoolOptions padded{.stride = 2, .padding = 1};
  EXPECT_THAT(avg_pool2d(x, 2, padded).to_vector<float>(), ElementsAre(0.25f, 1.25f, 2.75f, 7));
  PoolOptions inside = padded;
  inside.count_include_pad = false;
  EXPECT_THAT(avg_pool2d(x, 2, inside).to_vector<float>(), ElementsAre(1, 2.5f, 5.5f, 7));
  EXPECT_THAT(avg_pool2d(x, 2, {.stride = 1, .divisor_override = 2}).to_vector<float>(),
              ElementsAre(6, 8, 12, 14));
  EXPECT_THAT(adaptive_avg_pool2d(x, 2).to_vector<float>(), ElementsAre(3, 4, 6, 7));
  EXPECT_THAT(adaptive_max_pool2d(x, {1, 2}).to_vector<float>(), ElementsAre(8, 9));
  EXPECT_THAT(global_avg_pool2d(x).to_vector<float>(), ElementsAre(5));
  // 3, 4 and the root of their squares.
  EXPECT_THAT(lp_pool2d(picture({3, 4}, 1, 2), 2, {1, 2}).to_vector<float>(),
              ElementsAre(::testing::FloatNear(5, 1e-6f)));
  EXPECT_THAT(max_pool2d(x, 2, {.stride = 1, .dilation = 2}).to_vector<float>(), ElementsAre(9));
}

TEST_P(Pool, IndicesAreTheFirstMaximumAndNanWins) {
  const auto pool = [&](const std::vector<float>& row) {
    const auto n = static_cast<std::int64_t>(row.size());
    return max_pool2d_with_indices(picture(row, 1, n), {1, n});
  };
  EXPECT_EQ(pool({1, 3, 3, 2}).indices.to_vector<std::int64_t>()[0], 1);
  EXPECT_EQ(pool({-kInfinity, -kInfinity}).indices.to_vector<std::int64_t>()[0], 0);
  EXPECT_EQ(pool({-kInfinity, -kInfinity}).values.to_vector<float>()[0], -kInfinity);
  const MaxPoolResult nan = pool({1, kNan, 9, kNan, kInfinity});
  EXPECT_TRUE(std::isnan(nan.values.to_vector<float>()[0]));
  EXPECT_EQ(nan.indices.to_vector<std::int64_t>()[0], 3);  // PyTorch's: the last of several
  EXPECT_EQ(nan.indices.dtype(), DType::i64);
  EXPECT_TRUE(std::isnan(avg_pool2d(picture({1, kNan}, 1, 2), {1, 2}).to_vector<float>()[0]));
  EXPECT_EQ(avg_pool2d(picture({1, kInfinity}, 1, 2), {1, 2}).to_vector<float>()[0], kInfinity);
}

TEST_P(Pool, MaxKeepsIndicesOnlyForWhoAsks) {
  const Tensor x = random({2, 3, 8, 8});
  EXPECT_FALSE(max_pool2d(x, 2).requires_grad());
  const Tensor leaf = x.clone().requires_grad_();
  const Tensor y = max_pool2d(leaf, 2);
  y.backward(ones_like(y.detach()));
  float total = 0;
  for (const float v : leaf.grad().to_vector<float>()) {
    EXPECT_TRUE(v == 0 || v == 1);
    total += v;
  }
  EXPECT_EQ(total, 2 * 3 * 16);
}

TEST_P(Pool, BackwardOfOverlappingWindowsAddsUp) {
  const Tensor x = numbers(3, 3).requires_grad_();
  const Tensor y = max_pool2d(x, 3, {.stride = 1, .padding = 1});
  y.backward(ones_like(y.detach()));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 0, 0, 0, 1, 2, 0, 2, 4));
  x.zero_grad();
  const Tensor mean = avg_pool2d(x, 2, {.stride = 1});
  mean.backward(ones_like(mean.detach()));
  EXPECT_THAT(x.grad().to_vector<float>(),
              ElementsAre(0.25f, 0.5f, 0.25f, 0.5f, 1, 0.5f, 0.25f, 0.5f, 0.25f));
}

TEST_P(Pool, UnpoolUndoesPool) {
  const Tensor x = numbers(4, 4).requires_grad_();
  const MaxPoolResult y = max_pool2d_with_indices(x, 2);
  EXPECT_THAT(y.values.to_vector<float>(), ElementsAre(6, 8, 14, 16));
  EXPECT_THAT(y.indices.to_vector<std::int64_t>(), ElementsAre(5, 7, 13, 15));
  const Tensor back = max_unpool2d(y.values, y.indices, 2);
  EXPECT_EQ(back.shape(), Shape({1, 1, 4, 4}));
  EXPECT_THAT(back.to_vector<float>(), ElementsAre(0, 0, 0, 0, 0, 6, 0, 8, 0, 0, 0, 0, 0, 14, 0, 16));
  back.backward(numbers(4, 4));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(0, 0, 0, 0, 0, 6, 0, 8, 0, 0, 0, 0, 0, 14, 0, 16));
  const Tensor values = random({2, 3, 5, 5}).contiguous(Layout::channels_last);
  const MaxPoolResult z = max_pool2d_with_indices(values, 2);
  const Tensor larger = max_unpool2d(z.values, z.indices, 2, {.output_size = Size2d(5)});
  EXPECT_EQ(larger.shape(), Shape({2, 3, 5, 5}));
  EXPECT_EQ(larger.layout(), Layout::channels_last);
  EXPECT_EQ(max_pool2d(larger.select(0, 0) + 100.0, 2).shape(), Shape({3, 2, 2}));
}

template <class F>
void expect_refused(F f, const char* message) {
  EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(message)));
}

TEST_P(Pool, SeriesAndSinglePictures) {
  const Tensor series = Tensor::from(std::vector<float>{1, 5, 2, 8, 3, 4}, {1, 1, 6}, {.device = device()});
  EXPECT_THAT(max_pool1d(series, 2).to_vector<float>(), ElementsAre(5, 8, 4));
  EXPECT_THAT(max_pool1d_with_indices(series, 3, {.stride = 2}).indices.to_vector<std::int64_t>(),
              ElementsAre(1, 3));
  const MaxPoolResult pairs = max_pool1d_with_indices(series, 2);
  EXPECT_THAT(max_unpool1d(pairs.values, pairs.indices, 2).to_vector<float>(), ElementsAre(0, 5, 0, 8, 0, 4));
  const Tensor longer =
      max_unpool1d(pairs.values, pairs.indices, 2, {.stride = 3, .padding = 1, .output_size = 8});
  EXPECT_THAT(longer.to_vector<float>(), ElementsAre(0, 5, 0, 8, 0, 4, 0, 0));
  expect_refused([&] { max_unpool1d(pairs.values, pairs.indices, 2, {.output_size = 9}); },
                 "output_size between 4 and 8, got 9");
  expect_refused([&] { max_unpool1d(pairs.values, series, 2); }, "the shape [1, 1, 3]");
  EXPECT_THAT(avg_pool1d(series, 2).to_vector<float>(), ElementsAre(3, 5, 3.5f));
  EXPECT_THAT(adaptive_avg_pool1d(series, 2).to_vector<float>(),
              ElementsAre(::testing::FloatNear(8 / 3.0f, 1e-6f), 5));
  EXPECT_THAT(adaptive_max_pool1d(series, 2).to_vector<float>(), ElementsAre(5, 8));
  EXPECT_THAT(adaptive_max_pool1d_with_indices(series, 2).indices.to_vector<std::int64_t>(),
              ElementsAre(1, 3));
  EXPECT_THAT(lp_pool1d(series, 1, 3).to_vector<float>(), ElementsAre(8, 15));
  EXPECT_EQ(max_pool1d(series.squeeze(0), 2).shape(), Shape({1, 3}));
  const Tensor picture = random({3, 7, 6});
  EXPECT_EQ(max_pool2d(picture, 2).shape(), Shape({3, 3, 3}));
  EXPECT_EQ(avg_pool2d(picture, 2).to_vector<float>(),
            avg_pool2d(picture.unsqueeze(0), 2).to_vector<float>());
  EXPECT_EQ(global_avg_pool2d(picture).shape(), Shape({3, 1, 1}));
}

TEST_P(Pool, BothOrdersAndViewsAgree) {
  const Tensor x = random({2, 5, 9, 7});
  const Tensor last = x.contiguous(Layout::channels_last);
  const PoolOptions o{.stride = 2, .padding = 1, .ceil_mode = true};
  EXPECT_EQ(max_pool2d(last, 3, o).layout(), Layout::channels_last);
  EXPECT_EQ(max_pool2d(x, 3, o).layout(), Layout::contiguous);
  EXPECT_EQ(max_pool2d(x, 3, o).to_vector<float>(), max_pool2d(last, 3, o).to_vector<float>());
  EXPECT_EQ(max_pool2d_with_indices(x, 3, o).indices.to_vector<std::int64_t>(),
            max_pool2d_with_indices(last, 3, o).indices.to_vector<std::int64_t>());
  EXPECT_EQ(global_avg_pool2d(last).layout(), Layout::channels_last);
  EXPECT_EQ(lp_pool2d(last, 2, 2).layout(), Layout::channels_last);
  const Tensor turned = x.transpose(2, 3);
  EXPECT_EQ(max_pool2d(turned, {2, 3}).to_vector<float>(),
            max_pool2d(turned.contiguous(), {2, 3}).to_vector<float>());
}

TEST_P(Pool, EmptyBatch) {
  for (const Layout layout : {Layout::contiguous, Layout::channels_last}) {
    const Tensor x = empty({0, 3, 8, 8}, {.device = device()}).contiguous(layout).requires_grad_();
    for (const Tensor& y : {max_pool2d(x, 2), avg_pool2d(x, 2), adaptive_avg_pool2d(x, 4), lp_pool2d(x, 2, 2),
                            max_pool2d_with_indices(x, 2).values}) {
      EXPECT_EQ(y.shape(), Shape({0, 3, 4, 4}));
      y.backward(y.detach().clone());
      EXPECT_EQ(x.grad().shape(), x.shape());
      x.zero_grad();
    }
  }
  const Tensor none = empty({0, 1, 2, 2}, {.device = device()});
  EXPECT_EQ(max_unpool2d(none, zeros({0, 1, 2, 2}, {.dtype = DType::i64, .device = device()}), 2).shape(),
            Shape({0, 1, 4, 4}));
}

TEST_P(Pool, BadInput) {
  const Tensor x = random({1, 2, 6, 5});
  expect_refused([&] { max_pool2d(Tensor(), 2); }, "max_pool2d");
  expect_refused([&] { max_pool2d(x, 0); }, "expected a kernel of 1 to 2^28, got 0");
  expect_refused([&] { max_pool2d(x, 2, {.stride = -1}); }, "expected a stride");
  expect_refused([&] { max_pool2d(x, 2, {.dilation = 0}); }, "expected a dilation");
  expect_refused([&] { max_pool2d(x, 3, {.padding = 2}); }, "half the kernel 3, got 2");
  expect_refused([&] { avg_pool2d(x, 2, {.padding = -1}); }, "half the kernel");
  expect_refused([&] { avg_pool2d(x, 7); }, "expected a kernel that fits");
  expect_refused([&] { max_pool2d(x, {2, 4}, {.dilation = 2}); }, "expected a kernel that fits");
  expect_refused([&] { max_pool2d(x, 2, {.divisor_override = 2}); }, "divisor_override");
  expect_refused([&] { avg_pool2d(x, 2, {.dilation = 2}); }, "dilation");
  expect_refused([&] { max_pool2d(random({6, 5}), 2); }, "expected x [N, C, H, W] or [C, H, W], got [6, 5]");
  expect_refused([&] { max_pool1d(x, 2); }, "[max_pool1d] expected x [N, C, L]");
  expect_refused([&] { max_pool2d(random({1, 0, 6, 5}), 2); }, "with channels and pixels");
  expect_refused([&] { avg_pool2d(random({2, 0, 5}), 2); }, "with channels and pixels");
  expect_refused([&] { adaptive_avg_pool2d(x, {0, 2}); }, "expected 1 to 2^28");
  expect_refused([&] { adaptive_max_pool2d(x, {2, -1}); }, "expected 1 to 2^28");
  expect_refused([&] { lp_pool2d(x, 0, 2); }, "norm_type");
  expect_refused([&] { max_pool2d(zeros({1, 1, 4, 4}, {.dtype = DType::i64, .device = device()}), 2); },
                 "floating");
  // The only window sees columns -1, 1 and 3 of one column.
  expect_refused(
      [&] {
        max_pool2d(random({1, 1, 4, 1}), {1, 3},
                   {.stride = 4, .padding = {0, 1}, .dilation = {1, 2}, .ceil_mode = true});
      },
      "expected windows that see the picture");
  // Nothing that a small tensor's numbers could not say: sizes are checked before memory is asked for.
  expect_refused([&] { adaptive_avg_pool2d(x, std::int64_t{1} << 28); }, "fewer than 2^31 pixels");
}

TEST_P(Pool, UnpoolRefuses) {
  const Tensor x = random({1, 1, 2, 2});
  const auto indices = [&](std::int64_t last) {
    return Tensor::from(std::vector<std::int64_t>{0, 1, 2, last}, {1, 1, 2, 2}, {.device = device()});
  };
  EXPECT_EQ(max_unpool2d(x, indices(15), 2).numel(), 16);
  expect_refused([&] { max_unpool2d(x, indices(16), 2); },
                 "expected indices in [0, 16), got 16 at position 3");
  expect_refused([&] { max_unpool2d(x, indices(-1), 2); }, "got -1 at position 3");
  expect_refused([&] { max_unpool2d(x, indices(0).to(DType::i32), 2); }, "indices of i64");
  expect_refused([&] { max_unpool2d(x, indices(0).reshape({1, 2, 1, 2}), 2); }, "the shape [1, 1, 2, 2]");
  expect_refused([&] { max_unpool2d(x, indices(0), 2, {.output_size = Size2d(6, 4)}); },
                 "output_size between 2 and 6, got 6");
  expect_refused([&] { max_unpool2d(x, indices(0), 0); }, "expected kernel and stride");
  expect_refused([&] { max_unpool2d(x.reshape({4, 1}), indices(0).reshape({4, 1}), 2); },
                 "expected x [N, C, P, Q]");
}

/// Distinct values, so that no maximum changes under finite differences.
Fill distinct() {
  return [](std::int64_t i, PhiloxStream& random) {
    return static_cast<double>(i * 37 % 101) + 0.2 * random.uniform();
  };
}

TEST(PoolGrad, FirstAndSecondDerivatives) {
  const PoolOptions padded{.stride = 2, .padding = 1, .ceil_mode = true};
  const PoolOptions over{.stride = {1, 2}, .padding = 1, .count_include_pad = false};
  const std::vector<std::pair<const char*, GradFunction>> functions{
      {"max", [](const Inputs& in) { return max_pool2d(in[0], 2); }},
      {"max overlapping", [=](const Inputs& in) { return max_pool2d(in[0], 3, padded); }},
      {"max indices",
       [](const Inputs& in) { return max_pool2d_with_indices(in[0], 2, {.dilation = 2}).values; }},
      {"avg", [=](const Inputs& in) { return avg_pool2d(in[0], 3, padded); }},
      {"avg inside", [=](const Inputs& in) { return avg_pool2d(in[0], {2, 3}, over); }},
      {"adaptive avg", [](const Inputs& in) { return adaptive_avg_pool2d(in[0], {2, 6}); }},
      {"adaptive max", [](const Inputs& in) { return adaptive_max_pool2d(in[0], {2, 3}); }},
      {"global", [](const Inputs& in) { return global_avg_pool2d(in[0]); }},
      {"unpool",
       [](const Inputs& in) {
         const MaxPoolResult y = max_pool2d_with_indices(in[0], 2);
         return max_unpool2d(y.values * y.values, y.indices, 2);
       }},
  };
  for (const auto& [name, f] : functions) {
    const std::vector<GradInput> small{{{2, 2, 5, 4}, distinct()}};
    EXPECT_TRUE(gradcheck(f, small)) << name;
    // Squared, so that the gradient depends on x.
    const auto square = [&f = f](const Inputs& in) {
      const Tensor y = f(in);
      return y * y;
    };
    EXPECT_TRUE(gradgradcheck(square, small, {.atol = 1e-4})) << name;
    const auto last = [&f = f](const Inputs& in) { return f({in[0].contiguous(Layout::channels_last)}); };
    EXPECT_TRUE(gradcheck(last, small)) << name << ", channels-last";
    EXPECT_TRUE(gradgradcheck(last, small, {.atol = 1e-4})) << name << ", channels-last";
  }
  const std::vector<GradInput> positive{{{1, 2, 4, 4}, fill::uniform(0.5, 2)}};
  for (const double p : {1.0, 2.0, 3.0}) {
    const auto lp = [p](const Inputs& in) { return lp_pool2d(in[0], p, 2, {1, 2}); };
    EXPECT_TRUE(gradcheck(lp, positive)) << p;
    EXPECT_TRUE(gradgradcheck(lp, positive)) << p;
  }
}

TEST(PoolCpu, EverySimdTargetEqualsTheReference) {
  int seen = 0;
  const PoolOptions options[] = {
      {}, {.stride = 1}, {.stride = 2, .padding = 1}, {.stride = 2, .ceil_mode = true}};
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    const testing::SimdTarget scope(target);
    ++seen;
    for (const std::int64_t width : {2, 5, 16, 33})
      for (const Layout layout : {Layout::contiguous, Layout::channels_last})
        for (const PoolOptions& o : options) {
          Tensor x = randn({2, 5, 6, width}).contiguous(layout);
          if (width == 33) x = pow(x, 0.5);  // not a number where it was negative
          x.requires_grad_();
          const Tensor wide = x.detach().to(DType::f64).requires_grad_();
          for (const bool max : {true, false}) {
            const auto pool = [&](const Tensor& v) {
              return max ? max_pool2d(v, 2, o) : avg_pool2d(v, 2, o);
            };
            const Tensor y = pool(x), expected = pool(wide);
            y.backward(y.detach());
            expected.backward(y.detach().to(DType::f64));
            const auto check = [&](const Tensor& a, const Tensor& b) {
              const auto got = a.to_vector<float>();
              const auto truth = b.to_vector<double>();
              for (std::size_t i = 0; i < got.size(); ++i)
                ASSERT_TRUE(std::abs(got[i] - truth[i]) < 2e-6 ||
                            (std::isnan(got[i]) && std::isnan(truth[i])))
                    << hwy::TargetName(target) << " " << width << " " << max << ": " << got[i] << " "
                    << truth[i];
            };
            check(y, expected);
            check(x.grad(), wide.grad());
            x.zero_grad();
            wide.zero_grad();
          }
        }
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace gpunn
