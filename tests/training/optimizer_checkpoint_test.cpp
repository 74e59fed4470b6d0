// Optimizers whose state goes through a checkpoint file.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/linear.h"
#include "gpunn/training/checkpoint.h"
#include "gpunn/training/clip_grad.h"
#include "gpunn/training/schedule.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

class OptimizerCheckpoint : public testing::DeviceTest {
 protected:
  struct Run {
    explicit Run(Device device, int kind) {
      manual_seed(4);
      model = Linear(5, 3);
      model.to(device);
      const std::vector<Tensor> p = model.parameters();
      if (kind == 0) optimizer = std::make_unique<Adam>(p, AdamOptions{.lr = 0.05, .amsgrad = true});
      if (kind == 1) optimizer = std::make_unique<NAdam>(p, NadamOptions{.lr = 0.05});
      if (kind == 2) optimizer = std::make_unique<SGD>(p, SgdOptions{.lr = 0.05, .momentum = 0.9});
      schedule = std::make_unique<StepLR>(*optimizer, 3, 0.5);
      input = rand({7, 5}).to(device);
    }
    void steps(int count) {
      for (int i = 0; i < count; ++i) {
        optimizer->zero_grad();
        const Tensor y = model(input);
        sum(y * y).backward();
        clip_grad_norm_(model.parameters(), 0.5);
        optimizer->step();
        schedule->step();
      }
    }
    std::vector<float> weights() { return model.weight.detach().to_vector<float>(); }
    Linear model{1, 1};
    std::unique_ptr<Optimizer> optimizer;
    std::unique_ptr<LRScheduler> schedule;
    Tensor input;
  };
};
GPUNN_ON_EVERY_DEVICE(OptimizerCheckpoint);

TEST_P(OptimizerCheckpoint, ResumesBitwise) {
  for (const int kind : {0, 1, 2}) {
    const auto name = "gpunn_optimizer_" + GetParam().substr(0, 3) + std::to_string(kind) + ".safetensors";
    const std::string path = (std::filesystem::path(::testing::TempDir()) / name).string();
    Run whole(device(), kind), first(device(), kind), second(device(), kind);
    whole.steps(12);
    first.steps(5);
    save_checkpoint(path, "test", first.model, *first.optimizer, {});
    second.schedule->load_state_dict(first.schedule->state_dict());
    load_checkpoint(path, "test", second.model, *second.optimizer);
    EXPECT_EQ(second.optimizer->learning_rate(), first.optimizer->learning_rate());
    second.steps(7);
    EXPECT_EQ(second.weights(), whole.weights()) << "kind " << kind;
    std::filesystem::remove(path);
  }
}

}  // namespace
}  // namespace gpunn
