#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "tests/support/devices.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rnn_runs.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kRnnKinds;
using testing::rnn_run;
using testing::rnn_tensors;
using testing::RnnKind;
using ::testing::ThrowsMessage;
using Lengths = std::vector<std::int64_t>;

class RnnPackedOnDevice : public testing::DeviceTest {
 protected:
  /// The element is 100 b + 10 t + feature.
  Tensor counted(std::int64_t B, std::int64_t T, std::int64_t F) const {
    std::vector<float> values;
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t t = 0; t < T; ++t)
        for (std::int64_t f = 0; f < F; ++f) values.push_back(static_cast<float>(100 * b + 10 * t + f));
    return Tensor::from(values, {B, T, F}).to(device());
  }
};
GPUNN_ON_EVERY_DEVICE(RnnPackedOnDevice);

TEST_P(RnnPackedOnDevice, APackingSaysWhichRowIsWhose) {
  const Packing p(Lengths{4, 2, 2, 1}, device());
  EXPECT_EQ(p.steps(), 4);
  EXPECT_EQ(p.batch(), 4);
  EXPECT_EQ(p.rows(), 9);
  EXPECT_THAT(p.first_rows(), ElementsAre(0, 4, 7, 8, 9));
  EXPECT_THAT(p.lengths(), ElementsAre(4, 2, 2, 1));
  EXPECT_THAT(p.first_rows_on_device().to_vector<std::int64_t>(), ElementsAre(0, 4, 7, 8, 9));
  EXPECT_THAT(p.last_rows_on_device().to_vector<std::int64_t>(), ElementsAre(8, 5, 6, 3));
  EXPECT_THAT(p.previous_rows_on_device().to_vector<std::int64_t>(), ElementsAre(0, 1, 2, 4, 7));
  EXPECT_EQ(p.first_rows_on_device().device(), device());
  EXPECT_EQ(p.batch_size(0), 4);
  EXPECT_EQ(p.batch_size(2), 1);
  EXPECT_THAT([&] { static_cast<void>(p.batch_size(4)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[0, 4)")));
}

TEST_P(RnnPackedOnDevice, PacksStepByStep) {
  const Tensor x = counted(3, 3, 1);
  for (const bool batch_first : {true, false}) {
    const PackedSequence p =
        pack_padded_sequence(batch_first ? x : x.transpose(0, 1), Lengths{3, 2, 1}, batch_first);
    EXPECT_EQ(p.data.shape(), Shape({6, 1}));
    EXPECT_THAT(p.data.to_vector<float>(), ElementsAre(0, 100, 200, 10, 110, 20));
    EXPECT_FALSE(p.sorted_indices.defined() || p.unsorted_indices.defined());
  }
}

TEST_P(RnnPackedOnDevice, SortsOnRequestAndBack) {
  const Tensor x = counted(4, 3, 2);
  const Lengths lengths{1, 3, 2, 3};
  const PackedSequence p = pack_padded_sequence(x, lengths, true, false);
  // The longest first, equal ones in their order.
  EXPECT_THAT(p.sorted_indices.to_vector<std::int64_t>(), ElementsAre(1, 3, 2, 0));
  EXPECT_THAT(p.unsorted_indices.to_vector<std::int64_t>(), ElementsAre(3, 0, 2, 1));
  EXPECT_THAT(p.packing.lengths(), ElementsAre(3, 3, 2, 1));
  EXPECT_THAT(p.data.select(1, 0).to_vector<float>(), ElementsAre(100, 300, 200, 0, 110, 310, 210, 120, 320));
  for (const bool batch_first : {true, false}) {
    const PaddedSequence back = pad_packed_sequence(p, batch_first, -1, 4);
    EXPECT_EQ(back.lengths, lengths);
    const Tensor data = batch_first ? back.data : back.data.transpose(0, 1);
    EXPECT_EQ(data.shape(), Shape({4, 4, 2}));
    for (std::int64_t b = 0; b < 4; ++b)
      for (std::int64_t t = 0; t < 4; ++t) {
        const bool inside = t < lengths[static_cast<std::size_t>(b)];
        const float expected = inside ? static_cast<float>(100 * b + 10 * t) : -1.0f;
        EXPECT_EQ(data.select(0, b).select(0, t).narrow(0, 0, 1).item(), expected) << b << ", " << t;
      }
  }
}

TEST_P(RnnPackedOnDevice, PadsAndPacksLists) {
  const Tensor x = counted(3, 3, 2);
  std::vector<Tensor> list;
  const Lengths lengths{2, 3, 1};
  for (std::int64_t b = 0; b < 3; ++b)
    list.push_back(x.select(0, b).narrow(0, 0, lengths[static_cast<std::size_t>(b)]));
  const Tensor padded = pad_sequence(list, true, 9);
  EXPECT_EQ(padded.shape(), Shape({3, 3, 2}));
  EXPECT_THAT(padded.select(2, 1).to_vector<float>(), ElementsAre(1, 11, 9, 101, 111, 121, 201, 9, 9));
  EXPECT_EQ(pad_sequence(list, false, 9).transpose(0, 1).contiguous().to_vector<float>(),
            padded.to_vector<float>());
  const PackedSequence packed = pack_sequence(list, false),
                       expected = pack_padded_sequence(padded, lengths, true, false);
  EXPECT_EQ(packed.data.to_vector<float>(), expected.data.to_vector<float>());
  EXPECT_EQ(packed.sorted_indices.to_vector<std::int64_t>(),
            expected.sorted_indices.to_vector<std::int64_t>());
  const std::vector<Tensor> falling{list[1], list[0], list[2]};
  EXPECT_FALSE(pack_sequence(falling).sorted_indices.defined());
  EXPECT_EQ(pack_sequence(falling).data.to_vector<float>(), packed.data.to_vector<float>());
}

TEST_P(RnnPackedOnDevice, AnyRankAndDtype) {
  const Tensor words = Tensor::from(std::vector<std::int64_t>{5, 6, 7, 8, 0, 0}, {2, 3}).to(device());
  const PackedSequence p = pack_padded_sequence(words, Lengths{3, 1}, true);
  EXPECT_EQ(p.data.shape(), Shape({4}));
  EXPECT_THAT(p.data.to_vector<std::int64_t>(), ElementsAre(5, 8, 6, 7));
  EXPECT_THAT(pad_packed_sequence(p, true, -7).data.to_vector<std::int64_t>(),
              ElementsAre(5, 6, 7, 8, -7, -7));
  const Tensor cube = counted(2, 3, 4).reshape({2, 3, 2, 2}).to(DType::bf16);
  const PackedSequence q = pack_padded_sequence(cube, Lengths{2, 2}, true);
  EXPECT_EQ(q.data.shape(), Shape({4, 2, 2}));
  EXPECT_EQ(pad_packed_sequence(q, true).data.to_vector<BFloat16>().size(), 16u);
}

TEST_P(RnnPackedOnDevice, EverySequenceAsIfAlone) {
  const Lengths lengths{4, 4, 2, 1};
  for (const RnnKind& kind : kRnnKinds)
    for (const bool reverse : {false, true}) {
      const Inputs in = rnn_tensors(kind.mode, {4, 4, 3}, 4, 5, device());
      const PackedSequence p = pack_padded_sequence(in[0], lengths);
      Inputs packed = in;
      packed[0] = p.data;
      const RnnOutput r = rnn_run(kind, packed, {.reverse = reverse, .packed = &p.packing});
      const Tensor y = pad_packed_sequence({r.y, p.packing, {}, {}}).data;
      std::vector<Tensor> alone;
      Tensor loss;
      for (std::int64_t b = 0; b < 4; ++b) {
        const std::int64_t T = lengths[static_cast<std::size_t>(b)];
        Inputs one = in;
        one[0] = in[0].narrow(1, b, 1).narrow(0, 0, T);
        for (std::size_t i = 5; i < one.size(); ++i) one[i] = in[i].narrow(0, b, 1);
        const RnnOutput s = rnn_run(kind, one, {.reverse = reverse});
        const auto same = [&](const Tensor& a, const Tensor& e, const char* what) {
          const auto got = a.contiguous().to_vector<float>(), expected = e.contiguous().to_vector<float>();
          for (std::size_t i = 0; i < got.size(); ++i)
            ASSERT_NEAR(got[i], expected[i], 1e-6) << kind.name << " " << what << " of sequence " << b;
        };
        same(y.narrow(1, b, 1).narrow(0, 0, T), s.y, "y");
        same(r.h.narrow(0, b, 1), s.h, "h");
        if (r.c.defined()) same(r.c.narrow(0, b, 1), s.c, "c");
        Tensor part = sum(s.y * s.y) + sum(s.h);
        if (s.c.defined()) part = part + sum(s.c * s.c);
        loss = loss.defined() ? loss + part : part;
      }
      Tensor together = sum(r.y * r.y) + sum(r.h);
      if (r.c.defined()) together = together + sum(r.c * r.c);
      const auto got = autograd::grad(std::span(&together, 1), in),
                 expected = autograd::grad(std::span(&loss, 1), in);
      for (std::size_t i = 0; i < in.size(); ++i) {
        const auto a = got[i].to_vector<float>(), b = expected[i].to_vector<float>();
        for (std::size_t e = 0; e < a.size(); ++e)
          ASSERT_NEAR(a[e], b[e], 2e-5 * std::max(1.0f, std::abs(b[e]))) << kind.name << ", input " << i;
      }
    }
}

TEST(RnnPackedGradient, IsTheOthersGather) {
  const std::vector<GradInput> x{{{3, 2, 2}, fill::normal(0, 1)}};
  const auto pack = [](const Inputs& in) {
    const Tensor data = pack_padded_sequence(in[0], Lengths{1, 3}, false, false).data;
    return data * data;
  };
  EXPECT_TRUE(gradcheck(pack, x));
  EXPECT_TRUE(gradgradcheck(pack, x));
  const auto pad = [](const Inputs& in) {
    const Packing packing(Lengths{3, 1}, Device::cpu());
    const Tensor data = pad_packed_sequence({in[0], packing, {}, {}}, true, 3, 4).data;
    return data * data;
  };
  const std::vector<GradInput> rows{{{4, 2}, fill::normal(0, 1)}};
  EXPECT_TRUE(gradcheck(pad, rows));
  EXPECT_TRUE(gradgradcheck(pad, rows));
  const std::vector<GradInput> lists{{{2, 2}, fill::normal(0, 1)}, {{3, 2}, fill::normal(0, 1)}};
  for (const auto& f : {GradFunction([](const Inputs& in) { return exp(pad_sequence(in)); }),
                        GradFunction([](const Inputs& in) { return exp(pack_sequence(in, false).data); })}) {
    EXPECT_TRUE(gradcheck(f, lists));
    EXPECT_TRUE(gradgradcheck(f, lists));
  }
}

TEST(RnnPacked, RejectsBadArguments) {
  const Tensor x = zeros({3, 2, 4});
  const auto expect = [](auto f, const char* message) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(message)));
  };
  expect([&] { pack_padded_sequence(x, Lengths{3, 0}); }, "lengths of at least 1, got 0 for sequence 1");
  expect([&] { pack_padded_sequence(x, Lengths{3, -1}); }, "at least 1");
  expect([&] { pack_padded_sequence(x, Lengths{4, 2}); }, "at most 3");
  expect([&] { pack_padded_sequence(x, Lengths{3}); }, "expected 2 lengths");
  expect([&] { pack_padded_sequence(x, Lengths{3, 3, 3}, false); }, "expected 2 lengths");
  expect([&] { pack_padded_sequence(x, Lengths{2, 3}); }, "falling order, got 3 after 2");
  expect([&] { pack_padded_sequence(zeros({3}), Lengths{3}); }, "expected x [T, B, ...]");
  expect([&] { pack_padded_sequence(Tensor(), Lengths{3}); }, "[pack_padded_sequence] expected x");
  expect([&] { Packing(Lengths{}, Device::cpu()); }, "at least one sequence");
  expect([&] { Packing(Lengths{1, 2}, Device::cpu()); }, "falling order");
  const PackedSequence p = pack_padded_sequence(x, Lengths{3, 2});
  expect([&] { pad_packed_sequence(p, false, 0, 2); }, "[pad_packed_sequence] expected total_length");
  expect([&] { pad_packed_sequence({zeros({4, 4}), p.packing, {}, {}}); }, "expected data [5, ...]");
  const Tensor twice = Tensor::from(std::vector<std::int64_t>{1, 1}, {2});
  expect([&] { pad_packed_sequence({p.data, p.packing, twice, twice}); }, "once, got 1");
  expect([&] { pad_sequence({}); }, "[pad_sequence] expected at least one sequence");
  const std::vector<Tensor> unlike{zeros({2, 3}), zeros({2, 4})},
      mixed{zeros({2}), zeros({2}, {.dtype = DType::f16})}, scalars{zeros({})}, nothing{zeros({0, 3})},
      rising{zeros({1, 2}), zeros({2, 2})};
  expect([&] { pad_sequence(unlike); }, "differ in their lengths only");
  expect([&] { pad_sequence(mixed); }, "f16");
  expect([&] { pad_sequence(scalars); }, "a scalar");
  expect([&] { pack_sequence(nothing); }, "at least 1");
  expect([&] { pack_sequence(rising); }, "falling order");
}

}  // namespace
}  // namespace gpunn
