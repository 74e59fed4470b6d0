// Recipes of convolutional nets: whole runs where that is quick, else few steps on small data.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using testing::full_length;

constexpr const char* kTooLarge =
    "too large a net for a GPU that is emulated; its ops and layers have tests there";

class ConvRecipeTest : public testing::RecipeTest {
 protected:
  // Classes take turns; a picture is a bright band at the height of its class.
  void write_clothes(int train, int test) {
    const auto label = [](int row) { return row % 10; };
    const auto pixel = [](int row, int p) {
      return static_cast<std::uint8_t>(p / 28 / 2 == row % 10 ? 220 : (p * 7 + row * 13) % 40);
    };
    for (const auto& [part, count] : {std::pair{"train", train}, {"t10k", test}})
      testing::write_pictures(path_ + "/data/fashion-mnist", part, count, label, pixel);
  }
  std::string data() const { return R"("data": ")" + path_ + "/data\""; }
};
GPUNN_ON_EVERY_DEVICE(ConvRecipeTest);

TEST_P(ConvRecipeTest, FiltersAreExact) {
  const RecipeResult result = run("conv-filters", "{}");
  EXPECT_EQ(metric(result, "exact_filters"), 5);
  EXPECT_EQ(metric(result, "right_sizes"), 11);
  EXPECT_EQ(metric(result, "exact_pooling"), 1);
  EXPECT_TRUE(result.reached);
  expect_report(result, {"Sobel x", "Pooling", "dilation"});
}

TEST_P(ConvRecipeTest, ShapesAreToldApart) {
  if (full_length(device())) {
    const RecipeResult result = run("shapes-cnn", "{}");
    EXPECT_GE(metric(result, "fresh_accuracy"), 0.985);
    EXPECT_TRUE(result.reached);
    expect_report(result, {"filter 7", "Right answers"});
    return;
  }
  const RecipeResult result = run("shapes-cnn", R"({"epochs": 1, "rows": 16, "fresh_rows": 40})");
  EXPECT_EQ(result.steps, 1);
  EXPECT_FALSE(result.reached);
  expect_report(result, {"filter 7", "Wrong answers"});
}

TEST_P(ConvRecipeTest, SmallNetLearnsBands) {
  if (!device().is_cpu()) GTEST_SKIP() << kTooLarge;
  write_clothes(100, 20);
  const bool whole = full_length(device());
  const RecipeResult result = run(
      "fashion-cnn",
      "{" + data() +
          (whole ? R"(, "epochs": 6, "batch_size": 10})" : R"(, "epochs": 1, "batch_size": 4, "steps": 1})"));
  if (whole) {
    EXPECT_EQ(metric(result, "test_accuracy"), 1);
  }
  expect_report(result, {"Filters of the first layer", "filter 31", "map 31", "Confusion"});
}

// Dropout draws from a stream of its own, running statistics are buffers, Adam has states: all go on.
TEST_P(ConvRecipeTest, ResumedRunsEqualUninterruptedOnes) {
  if (!device().is_cpu()) GTEST_SKIP() << kTooLarge;
  write_clothes(20, 10);
  const std::string json = "{" + data() + R"(, "epochs": 2, "batch_size": 5})";  // four steps an epoch
  const RecipeResult whole = run("fashion-cnn", json, {}, "whole");
  for (const int stop_after : {3, 4}) {
    int asked = 0;
    RecipeHooks stop, resume;
    stop.stop = [&] { return ++asked == stop_after; };
    resume.resume = true;
    const std::string folder = "stopped" + std::to_string(stop_after);
    EXPECT_NE(run("fashion-cnn", json, stop, folder.c_str()).weights_sha256, whole.weights_sha256);
    const RecipeResult resumed = run("fashion-cnn", json, resume, folder.c_str());
    EXPECT_EQ(resumed.steps, whole.steps);
    EXPECT_EQ(resumed.weights_sha256, whole.weights_sha256) << "stopped after " << stop_after;
  }
}

TEST_P(ConvRecipeTest, TransferComparesWithTrainingFromScratch) {
  if (!device().is_cpu()) GTEST_SKIP() << kTooLarge;
  write_clothes(40, 20);
  const RecipeResult result =
      run("transfer", "{" + data() + R"(, "epochs": 1, "steps": 1, "batch_size": 4, "labels": 1, "draws": 1,
          "tune_epochs": 1})");
  EXPECT_GE(metric(result, "transfer_accuracy"), 0);
  EXPECT_GE(metric(result, "scratch_accuracy"), 0);
  expect_report(result, {"frozen features", "from scratch"});
  // Weights are those of the net that is trained first.
  const std::string json = "{" + data() + R"(, "epochs": 1, "steps": 1, "batch_size": 4, "labels": 1,
      "draws": 1, "tune_epochs": 1, "lr": 0, "weights": ")" +
                           path_ + "/run/weights.safetensors\"}";
  const auto weights_of = [](const RecipeResult& r) {
    for (const auto& [name, tensor] : load_safetensors(r.run_dir + "/weights.safetensors"))
      if (name == "0.weight") return tensor.to_vector<float>();
    return std::vector<float>();
  };
  EXPECT_EQ(weights_of(run("transfer", json, {}, "again")), weights_of(result));
}

TEST_P(ConvRecipeTest, ResidualNetOnColourPictures) {
  create_directories(path_ + "/data/cifar10");
  for (const auto& [name, count] :
       {std::pair{"data_batch_1_first4000.bin", 12}, {"test_batch_first1000.bin", 10}}) {
    Bytes records;
    for (int row = 0; row < count; ++row) {
      records.push_back(static_cast<std::uint8_t>(row % 10));
      for (int p = 0; p < 3072; ++p) records.push_back(static_cast<std::uint8_t>((p * (row % 10 + 1)) % 256));
    }
    write_file_atomic(path_ + "/data/cifar10/" + name, records);
  }
  const RecipeResult result =
      run("cifar-resnet", "{" + data() + R"(, "epochs": 1, "width": 2, "batch_size": 4, "steps": 2})");
  EXPECT_EQ(result.steps, 2);
  expect_report(result, {"filter 1", "airplane"});
}

TEST_P(ConvRecipeTest, EveryPixelGetsALabel) {
  const RecipeResult result = run(
      "segment-unet", R"({"epochs": 1, "rows": 4, "test_rows": 4, "width": 2, "batch_size": 4, "steps": 1})");
  EXPECT_GT(metric(result, "pixel_accuracy"), 0);
  EXPECT_LT(metric(result, "mean_iou"), 1);
  expect_report(result, {"triangle", "as found"});
}

TEST_P(ConvRecipeTest, ScenesGetBoxes) {
  if (!device().is_cpu()) GTEST_SKIP() << kTooLarge;
  const RecipeResult result =
      run("detect-shapes", R"({"epochs": 1, "rows": 4, "test_rows": 4, "batch_size": 4, "steps": 1})");
  EXPECT_GE(metric(result, "map_50"), 0);
  expect_report(result, {"Dashed boxes", "average precision"});
}

}  // namespace
}  // namespace gpunn
