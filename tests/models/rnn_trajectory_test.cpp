// Ten training steps of character models with carried state, and the loss in evaluation mode after them,
// against losses stored from PyTorch (tests/golden/rnn_trajectory.py).
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "gpunn/gpunn.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

constexpr std::int64_t kSteps = 10, kVocabulary = 11, kStreams = 4, kLength = 7;

enum class Rule : std::uint8_t { sgd, adam, adagrad };

struct Family {
  const char* name;
  CharRnnOptions model;
  Rule rule;
};

const Family kFamilies[] = {
    {"lstm", {.vocabulary = kVocabulary, .embedding = 6, .hidden = 8, .mode = RnnMode::lstm}, Rule::adam},
    {"lstm-2",
     {.vocabulary = kVocabulary, .embedding = 5, .hidden = 6, .mode = RnnMode::lstm, .num_layers = 2},
     Rule::sgd},
    {"gru", {.vocabulary = kVocabulary, .embedding = 6, .hidden = 8, .mode = RnnMode::gru}, Rule::adam},
    {"rnn-one-hot",
     {.vocabulary = kVocabulary, .embedding = 0, .hidden = 8, .mode = RnnMode::tanh},
     Rule::adagrad},
    {"rnn-relu", {.vocabulary = kVocabulary, .embedding = 6, .hidden = 8, .mode = RnnMode::relu}, Rule::sgd},
};

std::unique_ptr<Optimizer> make_optimizer(Rule rule, std::vector<Tensor> parameters) {
  switch (rule) {
    case Rule::sgd:
      return std::make_unique<SGD>(std::move(parameters), SgdOptions{.lr = 0.5, .momentum = 0.9});
    case Rule::adagrad:
      return std::make_unique<Adagrad>(std::move(parameters), AdagradOptions{.lr = 0.1, .eps = 1e-8});
    case Rule::adam:
      break;
  }
  return std::make_unique<Adam>(std::move(parameters), AdamOptions{.lr = 0.01});
}

// Streams [B, steps * T + 1].
Tensor text() {
  std::vector<std::int64_t> tokens;
  for (std::int64_t b = 0; b < kStreams; ++b)
    for (std::int64_t i = 0; i <= kSteps * kLength; ++i)
      tokens.push_back(((b + 1) * i % kVocabulary + i * i % 3) % kVocabulary);
  return Tensor::from(tokens, {kStreams, kSteps * kLength + 1});
}

std::vector<double> losses_of(const Family& f, Device device) {
  CharRnn model(f.model);
  testing::fill_state(model);
  model.to(device);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(f.rule, model.parameters());
  const Tensor tokens = text().to(device);
  RecurrentState state;
  const auto window = [&](std::int64_t step, const RecurrentState& carried) {
    return model.loss(tokens.narrow(1, step * kLength, kLength),
                      tokens.narrow(1, step * kLength + 1, kLength), carried);
  };
  std::vector<double> losses;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    optimizer->zero_grad();
    const CharRnnLoss out = window(step, state);
    state = detach(out.state);
    out.loss.backward();
    if (f.rule == Rule::adagrad)
      clip_grad_value_(model.parameters(), 0.05);
    else
      clip_grad_norm_(model.parameters(), 0.25);
    optimizer->step();
    losses.push_back(out.loss.item());
  }
  model.eval();
  losses.push_back(window(0, {}).loss.item());
  return losses;
}

class RnnTrajectoryTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(RnnTrajectoryTest);

TEST_P(RnnTrajectoryTest, EqualsPyTorchWithin1e4) {
  const CsvTable golden = CsvTable::read(testing::golden_path("rnn_trajectory.csv"), {.header = true});
  const auto names = golden.text(0);
  const auto values = golden.numbers(2);
  std::map<std::string, std::vector<double>> stored;
  for (std::size_t i = 0; i < names.size(); ++i) stored[names[i]].push_back(values[i]);
  EXPECT_EQ(stored.size(), std::size(kFamilies));
  for (const Family& f : kFamilies) {
    const auto& want = stored.at(f.name);
    const auto got = losses_of(f, device());
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 1e-4 * want[i]) << f.name << ", step " << i;
  }
}

}  // namespace
}  // namespace gpunn
