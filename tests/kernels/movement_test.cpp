#include "gpunn/kernels/movement/movement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
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
void add_movement_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

TEST(MovementParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_movement_cases); }
#if GPUNN_HAS_CUDA
TEST(MovementParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_movement_cases); }
#endif

class Movement : public testing::DeviceTest {
 protected:
  /// 0, 1, 2, ...
  Tensor counted(const Shape& shape, bool grad = false) const {
    std::vector<float> values(static_cast<std::size_t>(shape.numel()));
    std::iota(values.begin(), values.end(), 0.0f);
    return Tensor::from(values, shape, {.device = device(), .requires_grad = grad});
  }
};
GPUNN_ON_EVERY_DEVICE(Movement);

std::vector<float> values(const Tensor& t) { return t.to_vector<float>(); }

TEST_P(Movement, CatJoinsAlongAnyDimension) {
  const Tensor a = counted({2, 2}), b = counted({2, 1});
  EXPECT_THAT(values(cat({a, b}, 1)), ElementsAre(0, 1, 0, 2, 3, 1));
  EXPECT_THAT(values(cat({a, b.t()}, -2)), ElementsAre(0, 1, 2, 3, 0, 1));
  const Tensor nothing = empty({2, 0}, {.device = device()});
  EXPECT_EQ(values(cat({nothing, a}, 1)), values(a));
  EXPECT_EQ(cat({nothing, nothing}, 1).shape(), Shape({2, 0}));
  EXPECT_EQ(cat({nothing, nothing}, 0).shape(), Shape({4, 0}));
}

TEST_P(Movement, CatOfManyAndOfStridedInputs) {
  const Tensor x = counted({100, 3});
  const std::vector<Tensor> rows = split(x, 1);
  EXPECT_EQ(values(cat(rows)), values(x));
  std::vector<Tensor> columns = split(x, 1, 1);
  EXPECT_EQ(values(cat(columns, 1)), values(x));
  EXPECT_EQ(values(cat({x.t(), x.t()}, 1)), values(cat({x.t().contiguous(), x.t().contiguous()}, 1)));
}

TEST_P(Movement, StackMakesADimension) {
  const Tensor a = counted({3}), b = a + 10;
  EXPECT_THAT(values(stack({a, b})), ElementsAre(0, 1, 2, 10, 11, 12));
  EXPECT_THAT(values(stack({a, b}, 1)), ElementsAre(0, 10, 1, 11, 2, 12));
  EXPECT_EQ(stack({a, b}, -1).shape(), Shape({3, 2}));
  EXPECT_EQ(stack({a.select(0, 1), b.select(0, 2)}).shape(), Shape({2}));
}

TEST_P(Movement, SplitAndChunkAreViews) {
  const Tensor x = counted({5, 2});
  const std::vector<Tensor> parts = split(x, 2);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_THAT(values(parts[2]), ElementsAre(8, 9));
  EXPECT_EQ(&parts[1].storage(), &x.storage());
  const std::vector<Tensor> sized = split(x, std::vector<std::int64_t>{1, 0, 4});
  EXPECT_EQ(sized[1].shape(), Shape({0, 2}));
  EXPECT_THAT(values(sized[0]), ElementsAre(0, 1));
  // 5 in 4: PyTorch cuts pieces of ceil(5 / 4), of which there are three.
  EXPECT_EQ(chunk(x, 4).size(), 3u);
  EXPECT_EQ(chunk(x, 9).size(), 5u);
  EXPECT_EQ(chunk(empty({0, 2}, {.device = device()}), 3).size(), 3u);
  EXPECT_EQ(split(empty({0, 2}, {.device = device()}), 0).size(), 1u);
  const std::vector<Tensor> columns = unbind(x, 1);
  ASSERT_EQ(columns.size(), 2u);
  EXPECT_THAT(values(columns[1]), ElementsAre(1, 3, 5, 7, 9));
  EXPECT_TRUE(unbind(empty({0, 2}, {.device = device()})).empty());
}

TEST_P(Movement, SplitGivesZerosToPartsThatWereNotUsed) {
  const Tensor x = counted({5}, true);
  const std::vector<Tensor> parts = split(x, 2);
  sum(parts[1] * 3.0).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0, 0, 3, 3, 0));
}

TEST_P(Movement, SliceIsAViewWithAStep) {
  const Tensor x = counted({7});
  EXPECT_THAT(values(slice(x, 0, 1, 6, 2)), ElementsAre(1, 3, 5));
  EXPECT_THAT(values(slice(x, 0, -3, kHuge, 2)), ElementsAre(4, 6));
  EXPECT_THAT(values(slice(x, -1, -100, 2)), ElementsAre(0, 1));
  EXPECT_EQ(slice(x, 0, 5, 2).shape(), Shape({0}));
  EXPECT_THAT(values(slice(x, 0, 6, kHuge, kHuge)), ElementsAre(6));
  EXPECT_EQ(&slice(x, 0, 0, 7, 3).storage(), &x.storage());
  const Tensor grad = counted({7}, true);
  sum(slice(grad, 0, 1, 6, 2) * 2.0).backward();
  EXPECT_THAT(values(grad.grad()), ElementsAre(0, 2, 0, 2, 0, 2, 0));
}

TEST_P(Movement, Movedim) {
  const Tensor x = counted({2, 3, 4});
  EXPECT_EQ(movedim(x, {0}, {2}).shape(), Shape({3, 4, 2}));
  EXPECT_EQ(movedim(x, {0, -1}, {1, 0}).shape(), Shape({4, 2, 3}));
  EXPECT_EQ(values(movedim(x, {0}, {2})), values(x.permute({1, 2, 0})));
}

// Expected values as torch.nn.functional.pad documents them.
TEST_P(Movement, PadModes) {
  const Tensor x = counted({1, 3});
  EXPECT_THAT(values(pad(x, {2, 1}, PadMode::constant, 9)), ElementsAre(9, 9, 0, 1, 2, 9));
  EXPECT_THAT(values(pad(x, {2, 1}, PadMode::reflect)), ElementsAre(2, 1, 0, 1, 2, 1));
  EXPECT_THAT(values(pad(x, {2, 1}, PadMode::replicate)), ElementsAre(0, 0, 0, 1, 2, 2));
  EXPECT_THAT(values(pad(x, {2, 1}, PadMode::circular)), ElementsAre(1, 2, 0, 1, 2, 0));
  EXPECT_THAT(values(pad(x, {-1, 1})), ElementsAre(1, 2, 0));
  EXPECT_EQ(pad(x, {0, 0, 1, 2}).shape(), Shape({4, 3}));
  EXPECT_EQ(pad(x, {-1, -2}).shape(), Shape({1, 0}));
  EXPECT_THAT(values(pad(empty({0}, {.device = device()}), {1, 1}, PadMode::constant, 4)), ElementsAre(4, 4));
  EXPECT_THAT(pad(x.to(DType::i32), {1, 0}, PadMode::constant, -7).to_vector<std::int32_t>(),
              ElementsAre(-7, 0, 1, 2));
}

TEST_P(Movement, FlipAndRoll) {
  const Tensor x = counted({2, 3});
  EXPECT_THAT(values(flip(x, {1})), ElementsAre(2, 1, 0, 5, 4, 3));
  EXPECT_THAT(values(flip(x, {0, -1})), ElementsAre(5, 4, 3, 2, 1, 0));
  EXPECT_EQ(values(flip(x, {})), values(x));
  EXPECT_THAT(values(roll(x, {1}, {1})), ElementsAre(2, 0, 1, 5, 3, 4));
  EXPECT_THAT(values(roll(x, {-1, 4}, {0, 1})), ElementsAre(5, 3, 4, 2, 0, 1));
  EXPECT_THAT(values(roll(x, {2})), ElementsAre(4, 5, 0, 1, 2, 3));
  EXPECT_EQ(roll(empty({0, 3}, {.device = device()}), {5}, {0}).shape(), Shape({0, 3}));
}

TEST_P(Movement, RepeatTileAndRepeatInterleave) {
  const Tensor x = counted({2, 2});
  EXPECT_THAT(values(repeat(x, {1, 2})), ElementsAre(0, 1, 0, 1, 2, 3, 2, 3));
  EXPECT_EQ(repeat(x, {3, 1, 2}).shape(), Shape({3, 2, 4}));
  EXPECT_THAT(values(tile(x, {2})), ElementsAre(0, 1, 0, 1, 2, 3, 2, 3));
  EXPECT_EQ(tile(x, {0}).shape(), Shape({2, 0}));
  EXPECT_THAT(values(repeat_interleave(x, 2, 1)), ElementsAre(0, 0, 1, 1, 2, 2, 3, 3));
  EXPECT_THAT(values(repeat_interleave(x, 2, 0)), ElementsAre(0, 1, 0, 1, 2, 3, 2, 3));
  EXPECT_THAT(values(repeat_interleave(x, 2)), ElementsAre(0, 0, 1, 1, 2, 2, 3, 3));
  EXPECT_EQ(repeat_interleave(x, 0, 0).shape(), Shape({0, 2}));
}

TEST_P(Movement, StridedInputs) {
  const Tensor x = counted({4, 6}).t(), dense = x.contiguous();
  EXPECT_EQ(values(pad(x, {1, 2, 3, 0})), values(pad(dense, {1, 2, 3, 0})));
  EXPECT_EQ(values(flip(x, {0})), values(flip(dense, {0})));
  EXPECT_EQ(values(repeat(x, {2, 1})), values(repeat(dense, {2, 1})));
}

// The gradients of the kernels themselves, beside the f64 reference that gradcheck runs.
TEST_P(Movement, GradientsOfTheKernels) {
  const Tensor x = counted({3}, true);
  const Tensor w = counted({6});
  sum(pad(x, {2, 1}, PadMode::reflect) * w).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(2, 1 + 3 + 5, 0 + 4));
  x.zero_grad();
  sum(pad(x, {2, 1}, PadMode::replicate) * w).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(0 + 1 + 2, 3, 4 + 5));
  x.zero_grad();
  sum(repeat(x, {2}) * w).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(3, 5, 7));
  x.zero_grad();
  sum(cat({x, flip(x, {0})}) * w).backward();
  EXPECT_THAT(values(x.grad()), ElementsAre(5, 5, 5));
}

template <class F>
void expect_invalid(F f, const char* text) {
  EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(text)));
}

TEST_P(Movement, RejectsBadArgumentsOfJoining) {
  const Tensor x = counted({2, 3});
  expect_invalid([] { cat(std::vector<Tensor>{}); }, "[cat] expected at least one tensor");
  expect_invalid([] { cat({Tensor()}); }, "undefined");
  expect_invalid([&] { cat({x, Tensor()}); }, "undefined");
  expect_invalid([&] { cat({x, counted({2, 4})}); }, "at position 1, [2, 4]");
  expect_invalid([&] { cat({x, counted({3})}); }, "one shape");
  expect_invalid([&] { cat({x, x.to(DType::f16)}); }, "convert it with .to()");
  expect_invalid([&] { cat({x, x}, 2); }, "[cat]");
  expect_invalid([&] { cat({x.select(0, 0).select(0, 0)}); }, "stack()");
  expect_invalid([&] { stack({x, counted({3, 2})}); }, "[stack] expected tensors of one shape");
  expect_invalid([] { stack(std::vector<Tensor>{}); }, "at least one");
  const Tensor wide = expand(counted({1, 1}), {std::int64_t{1} << 60, 1});
  expect_invalid([&] { cat({wide, wide, wide, wide}); }, "[cat]");
}

TEST_P(Movement, RejectsBadArgumentsOfCutting) {
  const Tensor x = counted({2, 3});
  expect_invalid([&] { split(x, 0); }, "[split] expected a size > 0");
  expect_invalid([&] { split(x, -1); }, "[split]");
  expect_invalid([&] { split(x, std::vector<std::int64_t>{1, 2}); }, "add up to 2, got 3");
  expect_invalid([&] { split(x, std::vector<std::int64_t>{3, -1}); }, "sizes >= 0");
  expect_invalid([&] { split(x, std::vector<std::int64_t>{kHuge, kHuge}); }, "[split]");
  expect_invalid([] { split(Tensor(), 1); }, "undefined");
  expect_invalid([&] { chunk(x, 0); }, "[chunk] expected chunks > 0");
  expect_invalid([&] { unbind(x, 5); }, "[unbind]");
  expect_invalid([&] { slice(x, 0, 0, 2, 0); }, "[slice] expected a step >= 1");
  expect_invalid([&] { slice(x, 3, 0, 2); }, "[slice]");
  expect_invalid([&] { movedim(x, {0}, {0, 1}); }, "[movedim]");
  expect_invalid([&] { movedim(x, {0, 0}, {0, 1}); }, "each dimension once");
}

TEST_P(Movement, RejectsBadArgumentsOfRemapping) {
  const Tensor x = counted({2, 3});
  expect_invalid([] { pad(Tensor(), {1, 1}); }, "[pad] expected a tensor");
  expect_invalid([&] { pad(x, {1}); }, "two widths");
  expect_invalid([&] { pad(x, {1, 1, 1, 1, 1, 1}); }, "at most 2 dimensions");
  expect_invalid([&] { pad(x, {3, 0}, PadMode::reflect); }, "in [0, 2]");
  expect_invalid([&] { pad(x, {4, 0}, PadMode::circular); }, "in [0, 3]");
  expect_invalid([&] { pad(x, {-1, 0}, PadMode::replicate); }, "[pad]");
  expect_invalid([&] { pad(x, {-4, 0}); }, "[pad]");
  expect_invalid([&] { pad(x, {-2, -2}); }, "cut off");
  expect_invalid([&] { pad(x, {kHuge, kHuge}); }, "[pad]");
  expect_invalid([&] { pad(x, {std::int64_t{1} << 60, 0, std::int64_t{1} << 60, 0}); }, "[pad]");
  expect_invalid([&] { pad(empty({0}, {.device = device()}), {1, 0}, PadMode::replicate); }, "non-empty");
  expect_invalid([&] { flip(x, {0, -2}); }, "[flip] expected each dimension once");
  expect_invalid([&] { flip(x, {2}); }, "[flip]");
  expect_invalid([&] { roll(x, {1, 2}); }, "one shift");
  expect_invalid([&] { roll(x, {1}, {0, 1}); }, "a shift per dimension");
  expect_invalid([&] { repeat(x, {2}); }, "[repeat] expected at least 2");
  expect_invalid([&] { repeat(x, {2, -1}); }, "repeats >= 0");
  expect_invalid([&] { tile(x, {kHuge, kHuge}); }, "[tile]");
  expect_invalid([&] { repeat_interleave(x, -1, 0); }, "[repeat_interleave]");
  expect_invalid([&] { repeat_interleave(x, kHuge, 0); }, "[repeat_interleave]");
}

// Every op on an input of its own, cubed so that second derivatives do not vanish.
Tensor cube(const Tensor& x) { return x * x * x; }

const std::vector<std::pair<const char*, GradFunction>>& functions() {
  static const std::vector<std::pair<const char*, GradFunction>> list = {
      {"cat", [](const Inputs& in) { return cube(cat({in[0], in[0] * 2.0, in[0]}, 1)); }},
      {"cat strided", [](const Inputs& in) { return cube(cat({in[0].t(), in[0].t() * 2.0}, 0)); }},
      {"stack", [](const Inputs& in) { return cube(stack({in[0], in[0] * in[0]}, 1)); }},
      {"split",
       [](const Inputs& in) {
         const std::vector<Tensor> parts = split(in[0], 2, 1);
         return cube(cat({parts[2], parts[0] * parts[1].narrow(1, 0, 2)}, 1));
       }},
      {"chunk", [](const Inputs& in) { return cube(chunk(in[0], 2, 1)[1]); }},
      {"unbind", [](const Inputs& in) { return cube(unbind(in[0], 1)[3]); }},
      {"slice", [](const Inputs& in) { return cube(slice(in[0], 1, 1, 4, 2)); }},
      {"movedim", [](const Inputs& in) { return cube(movedim(in[0], {0}, {1})); }},
      {"pad", [](const Inputs& in) { return cube(pad(in[0], {1, 2, -1, 1}, PadMode::constant, 0.5)); }},
      {"pad reflect", [](const Inputs& in) { return cube(pad(in[0], {4, 3, 1, 2}, PadMode::reflect)); }},
      {"pad replicate", [](const Inputs& in) { return cube(pad(in[0], {2, 3, 1, 0}, PadMode::replicate)); }},
      {"pad circular", [](const Inputs& in) { return cube(pad(in[0], {5, 3, 1, 2}, PadMode::circular)); }},
      {"flip", [](const Inputs& in) { return cube(flip(in[0], {0, 1}) + in[0]); }},
      {"roll", [](const Inputs& in) { return cube(roll(in[0], {2, -1}, {1, 0}) * in[0]); }},
      {"repeat", [](const Inputs& in) { return cube(repeat(in[0], {2, 1, 3})); }},
      {"tile", [](const Inputs& in) { return cube(tile(in[0].t(), {2, 2})); }},
      {"repeat_interleave", [](const Inputs& in) { return cube(repeat_interleave(in[0], 3, 0)); }},
  };
  return list;
}

const std::vector<GradInput> kInputs = {{{3, 5}, fill::normal(0, 1)}};

TEST(MovementGradient, FirstDerivatives) {
  for (const auto& [name, f] : functions()) EXPECT_TRUE(gradcheck(f, kInputs)) << name;
}

TEST(MovementGradient, SecondDerivatives) {
  for (const auto& [name, f] : functions()) EXPECT_TRUE(gradgradcheck(f, kInputs)) << name;
}

}  // namespace
}  // namespace gpunn
