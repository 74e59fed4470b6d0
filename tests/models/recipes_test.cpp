// Recipes: the small ones reach their figures; stopped runs go on as if nothing had been; results are
// written.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/digits.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using testing::full_length;

class RecipeTest : public testing::RecipeTest {};
GPUNN_ON_EVERY_DEVICE(RecipeTest);

TEST_P(RecipeTest, DigitsMlp) {
  if (!full_length(device())) {
    const RecipeResult result = run("digits-mlp", R"({"epochs": 1, "batch_size": 512})");
    EXPECT_EQ(result.steps, 3);
    EXPECT_LT(result.train_loss, 2.4);
    return;
  }
  for (const char* init : {"pytorch", "normal"}) {
    const RecipeResult result = run("digits-mlp", std::string(R"({"init": ")") + init + "\"}");
    EXPECT_EQ(result.steps, 1000);
    EXPECT_TRUE(result.reached) << init << ": " << result.metrics[0].second << ", " << result.train_loss;
  }
}

TEST_P(RecipeTest, Xor) {
  if (!full_length(device())) {
    const RecipeResult result = run("xor", R"({"epochs": 5, "runs": 1})");
    EXPECT_EQ(result.steps, 10);
    EXPECT_FALSE(result.reached);
    return;
  }
  const RecipeResult result = run("xor", R"({"runs": 4})");
  EXPECT_EQ(result.steps, 80000);
  std::map<std::string, double> metrics(result.metrics.begin(), result.metrics.end());
  EXPECT_EQ(metrics["a_runs"], 4);
  EXPECT_GE(metrics["a_successes"], 2);
  EXPECT_EQ(metrics["b_successes"], 4);
  const std::string report = read_text_file(result.report);
  for (const char* part : {"9999", "probability of 1", "regions", "surface", "hidden neuron 4"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
}

TEST_P(RecipeTest, StudyComparesInitialValues) {
  if (!device().is_cpu()) GTEST_SKIP() << "120 networks more of what Xor trains there";
  const RecipeResult result = run("xor", R"({"epochs": 2, "runs": 1, "study": true})");
  const std::map<std::string, double> metrics(result.metrics.begin(), result.metrics.end());
  EXPECT_EQ(metrics.at("study_normal_0.01_runs"), 40);
  EXPECT_NEAR(metrics.at("study_normal_0.01_mean_mse"), 0.25, 1e-3);
  EXPECT_EQ(metrics.at("study_relu_runs"), 40);
}

TEST_P(RecipeTest, ResumedRunsEqualUninterruptedOnes) {
  const char* json = R"({"epochs": 2, "batch_size": 500, "momentum": 0.9})";  // three steps an epoch
  const RecipeResult whole = run("digits-mlp", json, {}, "whole");
  for (const int stop_after : {2, 3, 4}) {
    int asked = 0;
    RecipeHooks hooks;
    hooks.stop = [&] { return ++asked == stop_after; };
    const std::string folder = "stopped" + std::to_string(stop_after);
    const RecipeResult stopped = run("digits-mlp", json, hooks, folder.c_str());
    EXPECT_TRUE(stopped.stopped);
    EXPECT_FALSE(stopped.reached);
    EXPECT_EQ(stopped.steps, stop_after);
    EXPECT_NE(stopped.weights_sha256, whole.weights_sha256);
    RecipeHooks resume;
    resume.resume = true;
    const RecipeResult resumed = run("digits-mlp", json, resume, folder.c_str());
    EXPECT_EQ(resumed.steps, whole.steps);
    EXPECT_EQ(resumed.epochs, whole.epochs);
    EXPECT_EQ(resumed.weights_sha256, whole.weights_sha256) << "stopped after " << stop_after;
  }
}

TEST_P(RecipeTest, ResumeRefusesWhatDoesNotFit) {
  RecipeHooks resume;
  resume.resume = true;
  EXPECT_THROW(run("xor", "{}", resume), InvalidArgument);
  EXPECT_THROW(run("digits-mlp", "{}", resume), DataError) << "no checkpoint";
  run("digits-mlp", R"({"epochs": 1})");
  try {
    run("digits-mlp", R"({"seed": 1})", resume);
    ADD_FAILURE() << "expected an error";
  } catch (const DataError& e) {
    EXPECT_NE(std::string(e.what()).find("expected a checkpoint of 'digits-mlp, seed 1'"), std::string::npos)
        << e.what();
  }
  write_safetensors(path_ + "/run/checkpoint.safetensors", std::vector<NamedTensor>{},
                    {{"run", "digits-mlp, seed 0"}});
  EXPECT_THROW(run("digits-mlp", "{}", resume), DataError);
}

TEST_P(RecipeTest, EqualSeedsGiveEqualWeights) {
  const char* json = R"({"epochs": 1, "batch_size": 500})";
  const std::string first = run("digits-mlp", json).weights_sha256;
  EXPECT_EQ(run("digits-mlp", json).weights_sha256, first);
  EXPECT_NE(run("digits-mlp", R"({"epochs": 1, "batch_size": 500, "seed": 1})").weights_sha256, first);
}

TEST(RecipeCatalogueTest, EveryRecipeIsComplete) {
  std::set<std::string> names;
  for (const Recipe* recipe : recipes()) {
    EXPECT_TRUE(names.insert(recipe->name).second) << recipe->name;
    EXPECT_EQ(&find_recipe(recipe->name), recipe);
    for (const char* text : {recipe->section, recipe->summary, recipe->data, recipe->figure})
      EXPECT_STRNE(text, "");
    std::set<std::string> fields;
    const std::unique_ptr<RunSettings> settings = recipe->settings();
    for (const Field& field : settings->fields()) {
      EXPECT_TRUE(fields.insert(field.name).second) << recipe->name << ": " << field.name;
      EXPECT_FALSE(field.help.empty()) << field.name;
    }
  }
  try {
    find_recipe("fashion-mpl");
    ADD_FAILURE() << "expected an error";
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean 'fashion-mlp'?"), std::string::npos);
  }
}

TEST(RecipeCatalogueTest, ResultAsJson) {
  RecipeResult r;
  r.recipe = "x";
  r.metric("test_accuracy", 0.5);
  JsonWriter json;
  write_result(json, r);
  EXPECT_EQ(
      json.take(),
      R"({"recipe":"x","device":"","seed":0,"threads":0,"epochs":0,"steps":0,"seconds":0,"steps_per_second":0,)"
      R"("train_loss":null,"test_loss":null,"metrics":{"test_accuracy":0.5},"peak_memory_bytes":0,)"
      R"("weights_sha256":"","figure":"","reached":false,"run_dir":"","report":""})");
}

TEST(DigitsTest, TableAndSplitAreTheStoredOnes) {
  const DigitsData digits = load_digits();
  EXPECT_EQ(digits.train->size(), kDigitsTrainRows);
  EXPECT_EQ(digits.test->size(), 360);
  std::vector<int> counts(10);
  for (const auto& part : {digits.train, digits.test}) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(part->size()));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    const Batch batch = part->get(all);
    for (const float v : batch.inputs.to_vector<float>())
      ASSERT_TRUE(v >= 0 && v <= 1 && v * 16 == std::floor(v * 16));
    for (const std::int64_t label : batch.targets.to_vector<std::int64_t>())
      ++counts[static_cast<std::size_t>(label)];
  }
  EXPECT_EQ(counts, (std::vector<int>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}));
  // The first test row is row 1245 of the table, a six.
  const std::int64_t first[] = {0};
  EXPECT_EQ(digits.test->get(first).targets.to_vector<std::int64_t>()[0], 6);
}

}  // namespace
}  // namespace gpunn
