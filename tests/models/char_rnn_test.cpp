// The character model: keys, carried states, packing, generation, summary and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/char_rnn.h"
#include "tests/support/devices.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const CharRnnOptions kSmall{
    .vocabulary = 7, .embedding = 3, .hidden = 5, .mode = RnnMode::gru, .num_layers = 2};

Tensor tokens_of(std::int64_t B, std::int64_t T) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < B * T; ++i) tokens.push_back((i * i + 3 * i) % 7);
  return Tensor::from(tokens, {B, T});
}

void expect_close(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.shape(), want.shape());
  const auto a = got.detach().contiguous().to_vector<double>(),
             b = want.detach().contiguous().to_vector<double>();
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-5) << i;
}

class CharRnnTest : public testing::DeviceTest {
 protected:
  CharRnn model(const CharRnnOptions& options = kSmall) {
    CharRnn m(options);
    testing::fill_state(m);
    m.to(device());
    return m;
  }
};
GPUNN_ON_EVERY_DEVICE(CharRnnTest);

TEST_P(CharRnnTest, WindowsWithCarriedStateAreTheWholeText) {
  CharRnn m = model();
  const Tensor tokens = tokens_of(2, 9).to(device());
  const Tensor whole = m(tokens);
  ASSERT_EQ(whole.shape(), (Shape{2, 9, 7}));
  const CharRnnOutput first = m.forward(tokens.narrow(1, 0, 4), {});
  const CharRnnOutput second = m.forward(tokens.narrow(1, 4, 5), first.state);
  expect_close(cat({first.logits, second.logits}, 1), whole);
}

TEST_P(CharRnnTest, PackedSequencesAreThePaddedOnesSteps) {
  CharRnn m = model();
  const Tensor tokens = tokens_of(3, 4);
  const std::vector<std::int64_t> lengths{4, 2, 1};
  const Tensor rows = pack_padded_sequence(tokens.unsqueeze(2), lengths, true).data.squeeze(1);
  const Tensor got = m.forward_packed(rows.to(device()), Packing(lengths, device()));
  ASSERT_EQ(got.shape(), (Shape{7, 7}));
  const Tensor padded = m(tokens.to(device()));
  // Steps 0, 1, 2, 3 have 3, 2, 1, 1 sequences.
  expect_close(got.narrow(0, 3, 1), padded.select(1, 1).narrow(0, 0, 1));
  expect_close(got.narrow(0, 4, 1), padded.select(1, 1).narrow(0, 1, 1));
  expect_close(got.narrow(0, 6, 1), padded.select(1, 3).narrow(0, 0, 1));
}

TEST_P(CharRnnTest, GenerationKeepsTheState) {
  CharRnn m = model();
  TokenSampler greedy({.greedy = true});
  const std::vector<std::int64_t> prompt{1, 4, 2};
  const std::vector<std::int64_t> got = m.generate(prompt, 6, greedy);
  ASSERT_EQ(got.size(), 6u);
  EXPECT_TRUE(m.is_training());
  // Reading everything again for each token gives the same.
  std::vector<std::int64_t> all = prompt;
  m.eval();
  for (const std::int64_t next : got) {
    const auto length = static_cast<std::int64_t>(all.size());
    const Tensor last = m(Tensor::from(all, {1, length}).to(device())).select(1, length - 1);
    EXPECT_EQ(argmax(last).item(), static_cast<double>(next));
    all.push_back(next);
  }
  // The first of the tokens drawn ends it, and nothing else does.
  TokenSampler again({.greedy = true});
  EXPECT_THAT(m.generate(prompt, 6, again, got[0]), ElementsAre(got[0]));
  TokenSampler drawn({.temperature = 1}, 5), same({.temperature = 1}, 5);
  EXPECT_EQ(m.generate(prompt, 6, drawn), m.generate(prompt, 6, same));
}

TEST(CharRnn, KeysAndOneHot) {
  CharRnn m({.vocabulary = 4, .embedding = 0, .hidden = 3, .mode = RnnMode::tanh});
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : m.state_dict()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0",
                                "head.weight", "head.bias"));
  const std::vector<std::int64_t> two{2, 0};
  EXPECT_THAT(m.embed(Tensor::from(two, {2})).to_vector<float>(), ElementsAre(0, 0, 1, 0, 1, 0, 0, 0));
  CharRnn copy = m;
  copy.state_dict()[0].second.detach().zero_();
  EXPECT_NE(m.state_dict()[0].second.to_vector<float>(), copy.state_dict()[0].second.to_vector<float>());
  EXPECT_EQ(CharRnn(kSmall).state_dict()[0].first, "embedding.weight");
}

TEST(CharRnn, LossIsTheMeanOverCharacters) {
  CharRnn m(kSmall);
  const Tensor tokens = tokens_of(2, 5);
  const Tensor x = tokens.narrow(1, 0, 4), y = tokens.narrow(1, 1, 4);
  const std::vector<double> logits = m(x).contiguous().to_vector<double>();
  const std::vector<std::int64_t> targets = y.contiguous().to_vector<std::int64_t>();
  double want = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    double sum_exp = 0;
    for (std::size_t v = 0; v < 7; ++v) sum_exp += std::exp(logits[7 * i + v]);
    want += (std::log(sum_exp) - logits[7 * i + static_cast<std::size_t>(targets[i])]) / 8;
  }
  EXPECT_NEAR(m.loss(x, y).loss.item(), want, 1e-5);
}

TEST(CharRnn, SummaryShowsItsLayers) {
  CharRnn m({.vocabulary = 65, .hidden = 256});
  // The tutorial's numbers: 4 (64 + 256 + 2) 256 with both of PyTorch's biases.
  const auto rows = summarize(m, zeros({2, 8}, {.dtype = DType::i64}));
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[2].name, "rnn");
  EXPECT_EQ(rows[2].parameters, 4 * 256 * (64 + 256 + 2));
  EXPECT_EQ(rows[2].flops, 2.0 * 16 * 4 * 256 * (64 + 256));
  EXPECT_EQ(rows[0].output, (Shape{2, 8, 65}));
}

TEST(CharRnn, Refuses) {
  EXPECT_THAT([] { CharRnn({.vocabulary = 0}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("vocabulary of at least 1")));
  EXPECT_THAT([] { CharRnn({.vocabulary = 3, .hidden = 0}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("hidden_size of at least 1")));
  EXPECT_THAT([] { CharRnn({.vocabulary = 3, .dropout = 2}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("dropout probability in [0, 1]")));
  CharRnn m(kSmall);
  TokenSampler greedy({.greedy = true});
  EXPECT_THAT([&] { m(tokens_of(1, 4).reshape({4})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("tokens [B, T]")));
  EXPECT_THAT([&] { m.loss(tokens_of(1, 4), tokens_of(1, 3)); },
              ThrowsMessage<InvalidArgument>(HasSubstr("a target for each token")));
  EXPECT_THAT([&] { m.generate({}, 4, greedy); },
              ThrowsMessage<InvalidArgument>(HasSubstr("at least one token")));
  // A token outside the vocabulary.
  const std::vector<std::int64_t> far{7};
  EXPECT_THROW(m.generate(far, 4, greedy), InvalidArgument);
  EXPECT_TRUE(m.is_training());
}

}  // namespace
}  // namespace gpunn
