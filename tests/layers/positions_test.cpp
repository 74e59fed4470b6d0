// Positions: the sinusoids' formula and its linearity, learnt rows, ALiBi's slopes, and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/positions.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/hashed_values.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using testing::hashed;
using ::testing::HasSubstr;
using testing::message_of;

TEST(Positions, SinusoidsFollowTheFormula) {
  for (const std::int64_t D : {6, 5, 1}) {
    SinusoidalPositions positions(D, 40);
    const std::vector<double> table = positions.pe.to_vector<double>();
    ASSERT_EQ(positions.pe.shape(), (Shape{40, D}));
    for (std::int64_t pos = 0; pos < 40; ++pos)
      for (std::int64_t i = 0; i < D; ++i) {
        const double angle = static_cast<double>(pos) /
                             std::pow(10000.0, 2.0 * static_cast<double>(i / 2) / static_cast<double>(D));
        EXPECT_NEAR(table[static_cast<std::size_t>(pos * D + i)], i % 2 ? std::cos(angle) : std::sin(angle),
                    1e-7);
      }
  }
}

// PE(pos + k) = R(k) PE(pos), R rotating each pair by an angle that does not depend on pos.
TEST(Positions, AShiftIsLinear) {
  constexpr std::int64_t kD = 8, kShift = 7;
  SinusoidalPositions positions(kD, 200);
  const std::vector<double> table = positions.pe.to_vector<double>();
  const auto at = [&](std::int64_t pos, std::int64_t i) {
    return table[static_cast<std::size_t>(pos * kD + i)];
  };
  for (std::int64_t i = 0; i < kD; i += 2) {
    // R(k) as the table itself has it at position k.
    const double s = at(kShift, i), c = at(kShift, i + 1);
    for (const std::int64_t pos : {0, 1, 50, 192}) {
      EXPECT_NEAR(at(pos + kShift, i), c * at(pos, i) + s * at(pos, i + 1), 1e-6);
      EXPECT_NEAR(at(pos + kShift, i + 1), c * at(pos, i + 1) - s * at(pos, i), 1e-6);
    }
  }
}

class PositionsTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(PositionsTest);

TEST_P(PositionsTest, AreAddedAlongTime) {
  LearnedPositions first(6, 3), batch_first(6, 3, true);
  batch_first.load_state_dict(first.state_dict());
  first.to(device());
  batch_first.to(device());
  const Tensor x = hashed({4, 2, 3}, 1).to(device());
  const std::vector<float> w = first.weight.to_vector<float>(), in = x.to_vector<float>();
  const std::vector<float> got = first(x, 2).detach().to_vector<float>();
  for (std::size_t t = 0; t < 4; ++t)
    for (std::size_t i = 0; i < 6; ++i)
      EXPECT_EQ(got[6 * t + i], in[6 * t + i] + w[3 * (t + 2) + i % 3]) << t << " " << i;
  const Tensor swapped = batch_first(x.transpose(0, 1), 2);
  EXPECT_EQ(swapped.detach().transpose(0, 1).contiguous().to_vector<float>(), got);
  EXPECT_EQ(first(x.select(1, 1)).detach().to_vector<float>(),
            first(x).detach().select(1, 1).contiguous().to_vector<float>());
  // Each row's gradient is the sum over the batch.
  sum(first(x, 2)).backward();
  EXPECT_THAT(first.weight.grad().select(1, 0).contiguous().to_vector<float>(),
              ElementsAre(0, 0, 2, 2, 2, 2));
  const Tensor ids = Tensor::from(std::vector<std::int64_t>{5, 0}, {2}).to(device());
  EXPECT_THAT(first.at(ids).detach().to_vector<float>(), ElementsAre(w[15], w[16], w[17], w[0], w[1], w[2]));
}

TEST(Positions, KeysAndCopies) {
  SinusoidalPositions table(4, 10);
  EXPECT_EQ(table.parameters().size(), 0u);
  ASSERT_EQ(table.state_dict().size(), 1u);
  EXPECT_EQ(table.state_dict()[0].first, "pe");
  SinusoidalPositions copy = table;
  EXPECT_EQ(copy(zeros({2, 4})).to_vector<float>(), table(zeros({2, 4})).to_vector<float>());
  LearnedPositions learnt(3, 4);
  EXPECT_EQ(learnt.named_parameters()[0].first, "weight");
  EXPECT_EQ(learnt.copy_module()->type_name(), "LearnedPositions");
}

TEST(Positions, AlibiSlopes) {
  EXPECT_THAT(alibi_slopes(1).to_vector<float>(), ElementsAre(std::exp2(-8.0f)));
  EXPECT_THAT(alibi_slopes(4).to_vector<float>(), ElementsAre(0.25f, 0.0625f, 0.015625f, 0.00390625f));
  const std::vector<float> eight = alibi_slopes(8).to_vector<float>(),
                           twelve = alibi_slopes(12).to_vector<float>();
  ASSERT_EQ(twelve.size(), 12u);
  for (std::size_t h = 0; h < 8; ++h) {
    EXPECT_EQ(eight[h], std::ldexp(1.0f, -static_cast<int>(h) - 1));
    EXPECT_EQ(twelve[h], eight[h]);
  }
  // The first, third, ... of sixteen.
  for (std::size_t h = 8; h < 12; ++h)
    EXPECT_FLOAT_EQ(twelve[h], std::exp2(-0.5f * static_cast<float>(2 * (h - 8) + 1)));
}

TEST(Positions, Refuse) {
  SinusoidalPositions table(4, 10);
  const std::vector<std::int64_t> starts{0, -1};
  const std::map<std::string, std::function<void()>> refused{
      {"[positions] expected d_model and max_len of at least 1, got 0 and 10",
       [] { SinusoidalPositions(0, 10); }},
      {"expected d_model and max_len of at least 1, got 4 and 0", [] { LearnedPositions(0, 4); }},
      {"expected input [T, B, 4] or [T, 4], got [3, 5]", [&] { table(zeros({3, 5})); }},
      {"expected input [T, B, 4] or [T, 4], got [4]", [&] { table(zeros({4})); }},
      {"expected positions below 10, got 11 from 0 on", [&] { table(zeros({11, 4})); }},
      {"expected positions below 10, got 3 from 8 on", [&] { table(zeros({3, 4}), 8); }},
      {"expected positions below 10, got 3 from -1 on", [&] { table(zeros({3, 4}), -1); }},
      {"expected starts of at least 0, got -1", [&] { positions_behind(starts, 2, 4, Device::cpu()); }},
      {"expected at least one head, got 0", [] { alibi_slopes(0); }},
  };
  for (const auto& [text, run] : refused) EXPECT_THAT(message_of(run), HasSubstr(text));
}

}  // namespace
}  // namespace gpunn
