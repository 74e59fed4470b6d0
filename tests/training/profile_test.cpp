// A training step on record: layers, directions, ranges; and that recording changes nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpunn/core/profiler.h"
#include "gpunn/core/random.h"
#include "gpunn/io/schedule_view.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/run_folder.h"
#include "gpunn/training/trainer.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

class ProfiledTrainingTest : public testing::DeviceTest {
 protected:
  struct Outcome {
    std::string weights;
    Profile profile;
  };
  // Twelve steps; with `profiled`, the whole run is recorded.
  Outcome run(bool profiled, int workers) const {
    const DeviceScope scope(device());
    manual_seed(3);
    const Tensor x = rand({96, 12}, {.device = Device::cpu()});
    std::vector<std::int64_t> labels;
    for (int i = 0; i < 96; ++i) labels.push_back(i % 3);
    Sequential model(Linear(12, 20), ReLU(), Linear(20, 3));
    CrossEntropyLoss loss;
    SGD optimizer(model.parameters(), {.lr = 0.1, .momentum = 0.9});
    const auto data =
        std::make_shared<TensorDataset>(x, Tensor::from(labels, {96}, {.device = Device::cpu()}));
    const DataLoader loader(data, {.batch_size = 8, .workers = workers, .device = device()});
    std::optional<Profiler> profiler;
    if (profiled) profiler.emplace();
    train(supervised_step(model, loss, optimizer), loader, [&] { return evaluate(model, loss, loader); }, {});
    Outcome out;
    if (profiled) out.profile = profiler->stop();
    out.weights = weights_sha256(model.state_dict());
    return out;
  }
};
GPUNN_ON_EVERY_DEVICE(ProfiledTrainingTest);

std::size_t count(const Profile& p, ProfileKind kind, const std::string& label,
                  const std::string& layer = "") {
  return static_cast<std::size_t>(
      std::count_if(p.records.begin(), p.records.end(), [&](const ProfileRecord& r) {
        return r.kind == kind && p.label(r) == label && (layer.empty() || p.text(r.layer) == layer);
      }));
}

TEST_P(ProfiledTrainingTest, RecordsStepsLayersAndDirections) {
  const Profile p = run(true, 0).profile;
  for (const char* range : {"step", "forward", "backward", "optimizer"})
    EXPECT_EQ(count(p, ProfileKind::range, range), 12u) << range;
  EXPECT_EQ(count(p, ProfileKind::range, "evaluation"), 1u);
  EXPECT_EQ(count(p, ProfileKind::range, "data"), 13u) << "the last one finds no batch";
  for (const char* layer : {"0", "2"}) {
    EXPECT_GE(count(p, ProfileKind::op, "linear", layer), 12u) << layer;
    EXPECT_GE(count(p, ProfileKind::op, "linear backward", layer), 12u) << layer;
    EXPECT_GE(count(p, ProfileKind::layer, layer), 12u);
    EXPECT_EQ(count(p, ProfileKind::layer, std::string(layer) + " backward"), 12u);
  }
  EXPECT_GE(count(p, ProfileKind::op, "cross_entropy backward"), 12u);
  EXPECT_EQ(p.lost, 0u);
  for (const ScheduleEdge& e : schedule_edges(p)) ASSERT_NE(e.kept, ScheduleEdge::Kept::none);
}

TEST_P(ProfiledTrainingTest, ChangesNoBit) {
  for (const int workers : {0, 2}) {
    const Outcome with = run(true, workers);
    EXPECT_EQ(with.weights, run(false, workers).weights);
    EXPECT_FALSE(with.profile.records.empty());
    const bool has_loader = std::any_of(with.profile.threads.begin(), with.profile.threads.end(),
                                        [](const std::string& t) { return t.starts_with("loader "); });
    EXPECT_EQ(has_loader, workers > 0);
  }
}

}  // namespace
}  // namespace gpunn
