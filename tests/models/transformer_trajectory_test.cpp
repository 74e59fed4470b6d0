// Ten training steps of small transformers, and the loss in evaluation mode after them, against losses stored
// from PyTorch (tests/golden/transformer_trajectory.py).
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "gpunn/gpunn.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

constexpr std::int64_t kSteps = 10, kVocabulary = 11, kBatch = 4, kLength = 7, kWidth = 8;

/// i64 [B, T + 1] of a step.
Tensor tokens(std::int64_t step, std::int64_t shift) {
  std::vector<std::int64_t> ids;
  for (std::int64_t b = 0; b < kBatch; ++b)
    for (std::int64_t i = step * kLength; i <= (step + 1) * kLength; ++i)
      ids.push_back(((b + 1) * (i + shift) % kVocabulary + i * i % 3) % kVocabulary);
  return Tensor::from(ids, {kBatch, kLength + 1});
}
Tensor first(const Tensor& text) { return text.narrow(1, 0, kLength); }
Tensor next(const Tensor& text) { return text.narrow(1, 1, kLength); }

Tensor loss_of(const Tensor& logits, const Tensor& target) {
  return cross_entropy(logits.reshape({-1, kVocabulary}), target.contiguous().reshape({-1}));
}

struct Model : Module {
  virtual Tensor loss(std::int64_t step, Device device) = 0;
};

TransformerLayerOptions options(FeedForward f, bool norm_first) {
  return {
      .dim_feedforward = 12, .dropout = 0, .activation = f, .batch_first = true, .norm_first = norm_first};
}

/// Decoder-only, the table of embeddings as the output layer.
struct Lm : Model {
  Lm(bool learnt_positions, const TransformerLayerOptions& layer)
      : encoder(TransformerEncoderLayer(kWidth, 2, layer), 2,
                layer.norm_first ? std::optional(LayerNorm(kWidth)) : std::nullopt) {
    if (learnt_positions)
      learnt.emplace(kLength, kWidth, true);
    else
      fixed.emplace(kWidth, kLength, true);
  }
  Tensor loss(std::int64_t step, Device device) override {
    const Tensor text = tokens(step, 0).to(device);
    const Tensor x = wte(first(text));
    const Tensor at = learnt ? (*learnt)(x) : (*fixed)(x);
    return loss_of(wte.logits(encoder(at, {.is_causal = true})), next(text));
  }
  void visit_members(MemberVisitor& v) override {
    detail::visit_member(v, "wte", wte);
    detail::visit_member(v, "positions", learnt);
    detail::visit_member(v, "positions", fixed);
    detail::visit_member(v, "encoder", encoder);
    visit_tied(v, "lm_head.weight", wte.weight);
  }

  TiedEmbedding wte{kVocabulary, kWidth};
  std::optional<LearnedPositions> learnt;
  std::optional<SinusoidalPositions> fixed;
  TransformerEncoder encoder;
};

struct Translator : Model {
  Tensor loss(std::int64_t step, Device device) override {
    const Tensor text = tokens(step, 3).to(device), wanted = tokens(step, 0).to(device);
    std::vector<std::uint8_t> hidden;
    for (std::int64_t b = 0; b < kBatch; ++b)
      for (std::int64_t i = 0; i <= kLength; ++i) hidden.push_back(i > kLength - b);
    const Tensor padding = Tensor::from(hidden, {kBatch, kLength + 1}).to(DType::boolean).to(device);
    const Tensor y = transformer(
        source(text), target(first(wanted)),
        {.src_key_padding_mask = padding, .memory_key_padding_mask = padding, .tgt_is_causal = true});
    return loss_of(head(y), next(wanted));
  }

  Embedding source{kVocabulary, kWidth}, target{kVocabulary, kWidth};
  Transformer transformer{{.d_model = kWidth,
                           .nhead = 2,
                           .num_encoder_layers = 1,
                           .num_decoder_layers = 1,
                           .layer = options(FeedForward::relu, false)}};
  Linear head{kWidth, kVocabulary};
  GPUNN_MEMBERS(source, target, transformer, head)
};

struct Family {
  const char* name;
  std::function<std::unique_ptr<Model>()> make;
  std::function<std::unique_ptr<Optimizer>(std::vector<Tensor>)> optimizer;
};

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {"lm", [] { return std::make_unique<Lm>(false, options(FeedForward::relu, false)); },
       [](std::vector<Tensor> p) { return std::make_unique<Adam>(std::move(p), AdamOptions{.lr = 0.01}); }},
      {"lm-gelu-first", [] { return std::make_unique<Lm>(true, options(FeedForward::gelu, true)); },
       [](std::vector<Tensor> p) {
         return std::make_unique<AdamW>(std::move(p), AdamWOptions{.lr = 0.01, .weight_decay = 0.1});
       }},
      {"translator", [] { return std::make_unique<Translator>(); },
       [](std::vector<Tensor> p) {
         return std::make_unique<SGD>(std::move(p), SgdOptions{.lr = 0.1, .momentum = 0.9});
       }},
  };
  return all;
}

std::vector<double> losses_of(const Family& f, Device device) {
  const std::unique_ptr<Model> model = f.make();
  testing::fill_state(*model);
  if (auto* lm = dynamic_cast<Lm*>(model.get()); lm && lm->fixed)
    lm->fixed->pe.copy_(SinusoidalPositions(kWidth, kLength).pe);
  model->to(device);
  const std::unique_ptr<Optimizer> optimizer = f.optimizer(model->parameters());
  std::vector<double> losses;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    optimizer->zero_grad();
    const Tensor loss = model->loss(step, device);
    loss.backward();
    optimizer->step();
    losses.push_back(loss.item());
  }
  model->eval();
  losses.push_back(model->loss(0, device).item());
  return losses;
}

class TransformerTrajectoryTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(TransformerTrajectoryTest);

TEST_P(TransformerTrajectoryTest, EqualsPyTorchWithin1e4) {
  const CsvTable golden =
      CsvTable::read(testing::golden_path("transformer_trajectory.csv"), {.header = true});
  const auto names = golden.text(0);
  const auto values = golden.numbers(2);
  std::map<std::string, std::vector<double>> stored;
  for (std::size_t i = 0; i < names.size(); ++i) stored[names[i]].push_back(values[i]);
  EXPECT_EQ(stored.size(), families().size());
  for (const Family& f : families()) {
    const auto& want = stored.at(f.name);
    const auto got = losses_of(f, device());
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 1e-4 * want[i]) << f.name << ", step " << i;
  }
}

}  // namespace
}  // namespace gpunn
