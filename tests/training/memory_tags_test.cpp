// What a training step holds, by tag, to the byte.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"
#include "gpunn/core/runtime.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

constexpr std::size_t kIn = 20, kHidden = 16, kOut = 5, kRows = 8;
// Weight and bias of each layer.
constexpr std::size_t kElements[] = {kIn * kHidden, kHidden, kHidden* kOut, kOut};

std::size_t parameter_bytes() {
  std::size_t total = 0;
  for (const std::size_t n : kElements) total += 4 * n;
  return total;
}

/// One kind of state: an arena whose parts are padded, and room to align the first.
std::size_t arena_bytes() {
  constexpr std::size_t kUnit = Storage::kSliceAlignment;
  std::size_t total = kUnit;
  for (const std::size_t n : kElements) total += (4 * n + kUnit - 1) / kUnit * kUnit;
  return total;
}

struct Mlp final : Module {
  Linear fc1{kIn, kHidden}, fc2{kHidden, kOut};
  GPUNN_MEMBERS(fc1, fc2)
  Tensor forward(const Tensor& x) override { return fc2(relu(fc1(x))); }
};

class MemoryTags : public testing::DeviceTest {
 protected:
  /// Beyond what was held when the test began.
  std::size_t held(MemoryTag tag) const {
    return usage_.live_bytes(tag) - before_[static_cast<std::size_t>(tag)];
  }
  void SetUp() override {
    for (int i = 0; i < kMemoryTags; ++i)
      before_[static_cast<std::size_t>(i)] = usage_.live_bytes(static_cast<MemoryTag>(i));
  }
  void expect_sum() const { EXPECT_EQ(usage_.live_bytes(), device().context().memory().stats().live_bytes); }
  MemoryUsage& usage_ = device().context().usage();
  std::size_t before_[kMemoryTags] = {};
};

TEST_P(MemoryTags, AdamOnAnMlpToTheByte) {
  {
    Mlp model;
    model.to(device());
    EXPECT_EQ(held(MemoryTag::weights), parameter_bytes());
    EXPECT_EQ(held(MemoryTag::activations), 0u);
    Adam optimizer(model.parameters());
    CrossEntropyLoss loss;
    const Tensor x = rand({kRows, kIn}, {.device = device()});
    const Tensor y = zeros({kRows}, {.dtype = DType::i64, .device = device()});
    const std::size_t batch = kRows * kIn * 4 + kRows * 8;
    EXPECT_EQ(held(MemoryTag::activations), batch);

    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      EXPECT_EQ(held(MemoryTag::gradients), 0u) << step;
      Tensor value = loss(model(x), y);
      expect_sum();
      // What backward needs at least: the hidden layer and the logits' probabilities.
      EXPECT_GE(held(MemoryTag::activations), batch + 4 * (kRows * kHidden + kRows * kOut));
      value.backward();
      expect_sum();
      EXPECT_EQ(held(MemoryTag::gradients), parameter_bytes()) << step;
      value = Tensor();
      EXPECT_EQ(held(MemoryTag::activations), batch) << step;
      optimizer.step();
      expect_sum();
      EXPECT_EQ(held(MemoryTag::optimizer), 2 * arena_bytes() + kStepValues * sizeof(double)) << step;
      EXPECT_EQ(held(MemoryTag::weights), parameter_bytes()) << step;
      EXPECT_EQ(held(MemoryTag::workspace), 0u) << step;
    }
    const std::unique_ptr<Module> copy = model.copy_module();
    EXPECT_EQ(held(MemoryTag::weights), 2 * parameter_bytes()) << "a clone has weights, too";
  }
  for (int i = 0; i < kMemoryTags; ++i) EXPECT_EQ(held(static_cast<MemoryTag>(i)), 0u) << i;
}

TEST_P(MemoryTags, GradientsThatAreSetOrSummedAreGradients) {
  const Tensor w = rand({30}, {.device = device(), .requires_grad = true});
  const Tensor x = rand({30}, {.device = device()});
  sum(mul(w, x)).backward();
  EXPECT_EQ(held(MemoryTag::gradients), 120u);
  sum(mul(w, x)).backward();
  EXPECT_EQ(held(MemoryTag::gradients), 120u) << "added in place";
  sum(add(w, w)).backward({}, false, true);  // recorded: a new tensor takes its place
  EXPECT_EQ(w.grad().storage().tag(), MemoryTag::gradients);
  w.set_grad(rand({30}, {.device = device()}));
  EXPECT_EQ(held(MemoryTag::gradients), 120u);
  w.zero_grad();
  EXPECT_EQ(held(MemoryTag::gradients), 0u);
}

TEST_P(MemoryTags, BuffersAndOtherDtypesStayWeights) {
  Mlp model;
  model.to(device());
  const std::size_t f32 = held(MemoryTag::weights);
  model.to(DType::bf16);
  EXPECT_EQ(held(MemoryTag::weights), f32 / 2);
  Buffer mean(zeros({10}, {.device = device()}));
  EXPECT_EQ(held(MemoryTag::weights), f32 / 2 + 40);
}

GPUNN_ON_EVERY_DEVICE(MemoryTags);

}  // namespace
}  // namespace gpunn
