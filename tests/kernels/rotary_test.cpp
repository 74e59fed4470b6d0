#include "gpunn/kernels/rotary/rotary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_rotary_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(RotaryParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_rotary_cases); }
#if GPUNN_HAS_CUDA
TEST(RotaryParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_rotary_cases); }
#endif

class RotaryTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(RotaryTest);

Tensor positions_of(const std::vector<std::int64_t>& at, const Shape& shape, Device device) {
  return Tensor::from(at, shape, {.device = device});
}

TEST_P(RotaryTest, KnownValues) {
  // Two pairs; their angles at position t are t and t / 100.
  const RotaryTable table = rotary_table(3, 4, 10000, {.device = device()});
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4}, {1, 1, 4}, {.device = device()});
  const Tensor two = positions_of({2}, {1}, device());
  const auto c = static_cast<float>(std::cos(2.0)), s = static_cast<float>(std::sin(2.0));
  const auto c1 = static_cast<float>(std::cos(0.02)), s1 = static_cast<float>(std::sin(0.02));
  EXPECT_THAT(rotary(x, table, {.positions = two}).to_vector<float>(),
              ElementsAre(FloatNear(c - 3 * s, 1e-6f), FloatNear(2 * c1 - 4 * s1, 1e-6f),
                          FloatNear(3 * c + s, 1e-6f), FloatNear(4 * c1 + 2 * s1, 1e-6f)));
  EXPECT_THAT(rotary(x, table, {.positions = two, .interleaved = true}).to_vector<float>(),
              ElementsAre(FloatNear(c - 2 * s, 1e-6f), FloatNear(2 * c + s, 1e-6f),
                          FloatNear(3 * c1 - 4 * s1, 1e-6f), FloatNear(4 * c1 + 3 * s1, 1e-6f)));
  EXPECT_EQ(rotary(x, table).to_vector<float>(), x.to_vector<float>());  // position 0
}

TEST_P(RotaryTest, ProductsDependOnTheDistanceOnly) {
  const RotaryTable table = rotary_table(200, 16, 10000, {.device = device()});
  const Tensor q = randn({1, 1, 16}, {.device = device()}), k = randn({1, 1, 16}, {.device = device()});
  for (const bool interleaved : {false, true}) {
    const auto product = [&](std::int64_t i, std::int64_t j) {
      const auto turned = [&](const Tensor& x, std::int64_t at) {
        return rotary(x, table, {.positions = positions_of({at}, {1}, device()), .interleaved = interleaved});
      };
      return sum(turned(q, i) * turned(k, j)).item();
    };
    EXPECT_NEAR(product(7, 3), product(190, 186), 1e-4);
    EXPECT_GT(std::abs(product(7, 3) - product(7, 5)), 1e-3);
  }
}

TEST_P(RotaryTest, ViewsAreReadInPlace) {
  const Tensor qkv = randn({2, 5, 3, 4, 8}, {.device = device()});
  const RotaryTable table = rotary_table(5, 8, 10000, {.device = device()});
  const Tensor part = qkv.select(2, 1);
  EXPECT_EQ(rotary(part, table).to_vector<float>(), rotary(part.contiguous(), table).to_vector<float>());
}

TEST(RotaryGradient, FirstAndSecond) {
  const TensorOptions f64{.dtype = DType::f64, .device = Device::cpu()};
  const RotaryTable table = rotary_table(6, 4, 100, f64);
  for (const bool interleaved : {false, true})
    for (const bool placed : {false, true}) {
      RotaryOptions options{.interleaved = interleaved};
      if (placed) options.positions = positions_of({5, 0, 2, 2, 3, 1}, {2, 3}, Device::cpu());
      const auto f = [&](const std::vector<Tensor>& in) {
        const Tensor y = rotary(in[0], table, options);
        return y * y * y;
      };
      EXPECT_TRUE(gradcheck(f, {{{2, 3, 2, 6}, fill::normal(0, 1)}}));
      EXPECT_TRUE(gradgradcheck(f, {{{2, 3, 2, 6}, fill::normal(0, 1)}}));
    }
}

TEST_P(RotaryTest, EmptyTensors) {
  const RotaryTable table = rotary_table(5, 8, 10000, {.device = device()});
  EXPECT_EQ(rotary(zeros({0, 5, 2, 8}, {.device = device()}), table).shape(), (Shape{0, 5, 2, 8}));
  EXPECT_EQ(rotary(zeros({2, 0, 2, 8}, {.device = device()}), table).shape(), (Shape{2, 0, 2, 8}));
}

TEST_P(RotaryTest, HalvesRoundTheFloatResult) {
  const RotaryTable table = rotary_table(9, 8, 10000, {.device = device()});
  const Tensor x = randn({1, 9, 2, 8}, {.device = device()}).to(DType::bf16);
  const Tensor expected = rotary(x.to(DType::f32), table).to(DType::bf16);
  EXPECT_EQ(rotary(x, table).to(DType::f32).to_vector<float>(), expected.to(DType::f32).to_vector<float>());
}

TEST_P(RotaryTest, BadArguments) {
  const TensorOptions on{.device = device()};
  const RotaryTable table = rotary_table(4, 8, 10000, on);
  const auto expect = [](auto f, const char* text) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
  };
  const Tensor x = zeros({2, 3, 1, 8}, on);
  expect([&] { rotary(zeros({3, 8}, on), table); }, "[B, T, H, D]");
  expect([&] { rotary(zeros({2, 3, 1, 6}, on), table); }, "at most 6 features");
  expect([&] { rotary(zeros({2, 5, 1, 8}, on), table); }, "at most 4 positions");
  expect([&] { rotary(x, {}); }, "undefined");
  expect([&] { rotary(x, table, {.positions = zeros({2, 3}, on)}); }, "positions i64");
  expect([&] { rotary(x, table, {.positions = positions_of({0, 1}, {2}, device())}); }, "positions [3]");
  expect([&] { rotary(x, table, {.positions = positions_of({0, 1, 4}, {3}, device())}); }, "got 4");
  expect([&] { rotary(x, table, {.positions = positions_of({0, -1, 2}, {3}, device())}); }, "got -1");
  expect([&] { rotary(x.to(DType::bf16), {table.cos.to(DType::bf16), table.sin.to(DType::bf16)}); },
         "table of f32");
  expect([] { rotary_table(3, 5); }, "even number");
  expect([] { rotary_table(0, 4); }, "at least one position");
  expect([] { rotary_table(3, 4, 0); }, "base above 0");
}

#if GPUNN_HAS_CUDA
TEST(RotaryUnchecked, BadPositionsMakeNan) {
  const Device gpu = Device::cuda(0);
  const Tensor x = ones({1, 2, 1, 10}, {.device = gpu});
  const RotaryTable table = rotary_table(4, 8, 10000, {.device = gpu});
  const Tensor bad = positions_of({1, 1 << 30}, {2}, gpu);
  const std::vector<float> y =
      rotary(x, table, {.positions = bad, .check_positions = false}).to_vector<float>();
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(y[i]), i >= 10 && i < 18) << i;
}
#endif

}  // namespace
}  // namespace gpunn
