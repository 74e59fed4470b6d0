// gpunn autotune from outside, and what follows the file it writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/sha256.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class AutotuneCommandTest : public ::testing::Test {
 protected:
  AutotuneCommandTest() { write_small_mnist(folder_ / "data/mnist", 200, 50); }

  Words words(const std::string& command, const Words& more) const {
    Words all{command, "mnist-mlp", "--device", "cpu", "--threads", "1", "--data", folder_ / "data"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Outcome autotune(const Words& more = {}) const {
    Words all = words("autotune", {"--out", file(), "--seconds", "0.0005"});
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  std::string file() const { return folder_ / "tuned.json"; }
  std::string replaced(const std::string& from, const std::string& to) const {
    std::string text = read_text_file(file());
    text.replace(text.find(from), from.size(), to);
    const std::string path = folder_ / "changed.json";
    write_file_atomic(path, text);
    return path;
  }

  Folder folder_;
};

bool has_onednn() {
  const JsonValue json = JsonValue::parse(run({"info", "--json"}).out, "stdout");
  for (const JsonValue& library : json.at("libraries").as_array())
    if (library.at("name").as_string() == "onednn") return !library.at("found").as_string().empty();
  return false;
}

TEST_F(AutotuneCommandTest, MeasuresTheProblemsOfARecipe) {
  const Outcome o = autotune({"--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(o.out, read_text_file(file()));
  const JsonValue json = JsonValue::read(file());
  EXPECT_EQ(json.at("threads").as_int(), 1);
  // Forward, and both gradients of the layers: more problems than layers.
  if (has_onednn()) {
    EXPECT_GE(json.at("rows").as_array().size(), 4u);
  }
  for (const JsonValue& row : json.at("rows").as_array()) {
    EXPECT_EQ(row.at("key").as_string().rfind(row.at("op").as_string() + " forward f32 ", 0), 0u);
    EXPECT_GE(row.at("order").as_array().size(), 2u);
    for (const JsonValue& time : row.at("order").as_array()) {
      EXPECT_NE(time.at("implementation").as_string(), "ref");
      EXPECT_GT(time.at("seconds").as_number(), 0);
    }
  }
  const Outcome text = autotune();
  EXPECT_TRUE(contains(text.out, "written to " + file())) << text.out;
}

TEST_F(AutotuneCommandTest, TrainingFollowsTheFileAndRecordsIt) {
  ASSERT_EQ(autotune().code, 0);
  const std::string digest = sha256_of_file(file());
  const Outcome flag =
      run(words("train", {"--steps", "3", "--run-dir", folder_ / "flag", "--autotune", file()}));
  ASSERT_EQ(flag.code, 0) << flag.err;
  EXPECT_EQ(JsonValue::read(folder_ / "flag/config.json").at("autotune").as_string(), digest);
  const Outcome variable = run(words("train", {"--steps", "3", "--run-dir", folder_ / "variable"}),
                               {.environment = {{"GPUNN_AUTOTUNE", file()}}});
  ASSERT_EQ(variable.code, 0) << variable.err;
  EXPECT_EQ(JsonValue::read(folder_ / "variable/config.json").at("autotune").as_string(), digest);
  const Outcome without = run(words("train", {"--steps", "3", "--run-dir", folder_ / "without"}));
  ASSERT_EQ(without.code, 0) << without.err;
  EXPECT_EQ(JsonValue::read(folder_ / "without/config.json").find("autotune"), nullptr);
  // A run that went on with another order would not end with the bits it should.
  const Outcome other = run({"train", "mnist-mlp", "--resume", "--run-dir", folder_ / "flag"});
  EXPECT_EQ(other.code, 3) << other.err;
  EXPECT_TRUE(contains(other.err, digest)) << other.err;
}

TEST_F(AutotuneCommandTest, ForeignAndDamagedFilesAreRefused) {
  ASSERT_EQ(autotune().code, 0);
  const auto refused = [&](const std::string& path, const std::string& part) {
    const Outcome o =
        run(words("train", {"--steps", "1", "--run-dir", folder_ / "refused", "--autotune", path}));
    EXPECT_EQ(o.code, 3) << o.err;
    EXPECT_TRUE(contains(o.err, path) && contains(o.err, part)) << o.err;
    EXPECT_FALSE(path_exists(folder_ / "refused"));
  };
  refused(replaced("\"threads\": 1", "\"threads\": 7"), "threads '7', here it is '1'");
  refused(replaced("\"rows\"", "\"lines\""), "rows");
  refused(folder_ / "none.json", "none.json");
}

TEST_F(AutotuneCommandTest, InfoSaysWhetherAFileIsActive) {
  ASSERT_EQ(autotune().code, 0);
  const auto info = [&](const std::string& path) {
    return run({"info"}, {.environment = {{"GPUNN_AUTOTUNE", path}, {"GPUNN_NUM_THREADS", "1"}}}).out;
  };
  EXPECT_TRUE(contains(info(file()), "autotune: " + file() + " is active for cpu")) << info(file());
  EXPECT_TRUE(contains(info(replaced("\"threads\": 1", "\"threads\": 7")), "autotune: cannot be used: "));
  EXPECT_FALSE(contains(run({"info"}).out, "autotune"));
  const Outcome json =
      run({"info", "--json"}, {.environment = {{"GPUNN_AUTOTUNE", file()}, {"GPUNN_NUM_THREADS", "1"}}});
  EXPECT_EQ(JsonValue::parse(json.out, "stdout").at("autotune").at("sha256").as_string(),
            sha256_of_file(file()));
}

/// The order stored for `key`: names of implementations; empty where there is none.
std::vector<std::string> order_of(const JsonValue& file, const std::string& key) {
  std::vector<std::string> names;
  for (const JsonValue& row : file.at("rows").as_array())
    if (row.at("key").as_string() == key)
      for (const JsonValue& time : row.at("order").as_array())
        names.push_back(time.at("implementation").as_string());
  return names;
}

TEST_F(AutotuneCommandTest, MeasuresTheRowsOfOps) {
  const Words rest{"--device", "cpu", "--threads", "1", "--seconds", "0.0002", "--out", file()};
  const auto ops = [&](Words names, const Words& more = {}) {
    names.insert(names.begin(), "autotune");
    names.insert(names.end(), rest.begin(), rest.end());
    names.insert(names.end(), more.begin(), more.end());
    return run(names);
  };
  const Outcome o = ops({"softmax", "matmul"}, {"--row", "64x10"});
  EXPECT_EQ(o.code, 2) << "matmul has no such row: " << o.out;
  const Outcome text = ops({"softmax"}, {"--row", "64x10"});
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(contains(text.out, "softmax: nothing to tune")) << text.out;
  EXPECT_TRUE(contains(text.out, "written to " + file())) << text.out;
  EXPECT_TRUE(JsonValue::read(file()).at("rows").as_array().empty());
  const Outcome json = ops({"matmul"}, {"--row", "P1 64x64x64 NN", "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  EXPECT_EQ(json.out, read_text_file(file()));
  if (!has_onednn()) return;
  const auto order =
      order_of(JsonValue::read(file()), "matmul forward f32 M=64 N=64 K=64 batch=1 lda=64 ldb=64 ldc=64");
  EXPECT_THAT(order, ::testing::UnorderedElementsAre("cpu", "onednn"));
  // A run follows it, as it does the file of a recipe.
  const Outcome train =
      run(words("train", {"--steps", "1", "--run-dir", folder_ / "ops", "--autotune", file()}));
  EXPECT_EQ(train.code, 0) << train.err;
}

TEST_F(AutotuneCommandTest, UsageErrors) {
  const Outcome missing = run({"autotune"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_TRUE(contains(missing.err, "name of a recipe")) << missing.err;
  EXPECT_TRUE(contains(run({"autotune", "mnst-mlp"}).err, "did you mean 'mnist-mlp'?"));
  EXPECT_TRUE(contains(run({"autotune", "matmull"}).err, "did you mean 'matmul'?"));
  EXPECT_TRUE(contains(run({"autotune", "matmul", "xor"}).err, "no op with benchmark rows is called 'xor'"));
  EXPECT_EQ(run({"autotune", "matmul", "--row", "none"}).code, 2);
  EXPECT_EQ(autotune({"--seconds", "never"}).code, 2);
  const Outcome folder = autotune({"--out", folder_ / "no/such/folder/file.json"});
  EXPECT_EQ(folder.code, 1) << folder.err;
}

}  // namespace
}  // namespace gpunn::testing
