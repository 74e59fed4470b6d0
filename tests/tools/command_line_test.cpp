// The gpunn tool from outside: help, suggestions, machine-readable output, every exit code a machine without
// faults can produce.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/version.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void expect_usage_error(const std::vector<std::string>& arguments, const std::string& part) {
  const Outcome o = run(arguments);
  EXPECT_EQ(o.code, 2) << o.err;
  EXPECT_EQ(o.out, "");
  EXPECT_TRUE(contains(o.err, part)) << o.err;
  EXPECT_EQ(o.err.rfind("gpunn: error: ", 0), 0u) << o.err;
  EXPECT_EQ(o.err.find('\n'), o.err.size() - 1) << "one line: " << o.err;
}

TEST(CommandLineTest, Version) {
  const Outcome o = run({"--version"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out, "gpunn " GPUNN_VERSION_STRING "\n");
  EXPECT_EQ(o.err, "");
}

TEST(CommandLineTest, HelpLeadsWithExamples) {
  EXPECT_EQ(run({}).code, 2);
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"--help"},
                                             {"help"},
                                             {"train", "--help"},
                                             {"train", "xor", "-h"},
                                             {"recipes", "--help"},
                                             {"data", "--help"},
                                             {"info", "--help"},
                                             {"parity", "--help"},
                                             {"bench", "--help"},
                                             {"autotune", "--help"},
                                             {"autotune", "xor", "--help"},
                                             {"autotune", "matmul", "--help"}}) {
    const Outcome o = run(arguments);
    EXPECT_EQ(o.code, 0) << arguments[0];
    EXPECT_EQ(o.err, "") << arguments[0];
    const std::size_t examples = o.out.find("Examples:"), usage = o.out.find("Usage:");
    ASSERT_NE(examples, std::string::npos) << o.out;
    EXPECT_LT(examples, usage) << o.out;
  }
  const std::string settings = run({"train", "digits-mlp", "--help"}).out;
  for (const char* part :
       {"--lr X", "learning rate [0.1]", "--init pytorch|normal", "--batch-size N", "--json"})
    EXPECT_TRUE(contains(settings, part)) << part << " in\n" << settings;
  EXPECT_TRUE(contains(run({"train", "xor", "--help"}).out, "--study"));
}

TEST(CommandLineTest, MistypesGetASuggestion) {
  expect_usage_error({"trian"}, "did you mean 'train'?");
  expect_usage_error({"train", "fashon-mlp"}, "did you mean 'fashion-mlp'?");
  expect_usage_error({"train", "xor", "--ephocs", "3"}, "did you mean '--epochs'?");
  expect_usage_error({"train", "xor", "--ephocs=3"}, "did you mean '--epochs'?");
  expect_usage_error({"data", "lst"}, "did you mean 'list'?");
  expect_usage_error({"parity", "--op", "sofmax"}, "did you mean 'softmax'?");
  expect_usage_error({"bench", "sofmax"}, "did you mean 'softmax'?");
  expect_usage_error({"frobnicate"}, "no command is called 'frobnicate'");
}

TEST(CommandLineTest, BadValuesAreUsageErrors) {
  expect_usage_error({"train"}, "name of a recipe");
  expect_usage_error({"data"}, "gpunn data list");
  expect_usage_error({"train", "xor", "--epochs", "many"},
                     "--epochs: expected an integer of at least 0, got 'many'");
  expect_usage_error({"train", "xor", "--epochs", "-1"}, "--epochs");
  expect_usage_error({"train", "xor", "--epochs"}, "--epochs");
  expect_usage_error({"train", "digits-mlp", "--init", "zeros"}, "expected pytorch or normal");
  expect_usage_error({"train", "digits-mlp", "--lr", "nan"}, "--lr");
  expect_usage_error({"train", "xor", "surplus"}, "surplus");
  expect_usage_error({"train", "xor", "--device", "tpu"}, "tpu");
  expect_usage_error({"recipes", "--color", "sometimes"}, "--color");
  expect_usage_error({"parity", "--dtype", "f33"}, "f33");
  expect_usage_error({"bench", "--threads", "0"}, "--threads: expected a number from 1 to 1024, got '0'");
  expect_usage_error({"bench", "--seconds", "soon"}, "--seconds");
  expect_usage_error({"bench", "softmax", "--row", "no such row", "--device", "cpu"}, "no row of that name");
}

TEST(CommandLineTest, RecipesAsJson) {
  const Outcome o = run({"recipes", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  std::vector<std::string> names;
  for (const JsonValue& recipe : json.as_array()) {
    names.push_back(recipe.at("name").as_string());
    for (const char* key : {"section", "summary", "data", "figure"})
      EXPECT_FALSE(recipe.at(key).as_string().empty());
  }
  for (const char* name : {"xor", "digits-mlp", "mnist-mlp", "fashion-logistic", "fashion-mlp",
                           "mnist-online", "hand-features", "dimensionality", "learning-rates"})
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  EXPECT_TRUE(contains(run({"recipes"}).out, "fashion-mlp"));
}

TEST(CommandLineTest, DataListSaysWhatIsWhere) {
  const Folder folder;
  write_small_mnist(folder / "mnist", 10, 10);
  const Outcome o = run({"data", "list", "--json", "--data", folder.path()});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  for (const JsonValue& set : json.as_array()) {
    const std::string& name = set.at("name").as_string();
    EXPECT_EQ(set.at("found").as_bool(), name == "mnist" || name == "digits") << name;
    EXPECT_EQ(set.at("folder").as_string(), name == "mnist" ? folder / "mnist" : "");
  }
  const Outcome text = run({"data", "list", "--data", folder.path()});
  EXPECT_TRUE(contains(text.out, "found: " + (folder / "mnist"))) << text.out;
  EXPECT_TRUE(contains(text.out, "dataset-fashion-mnist")) << text.out;
}

TEST(CommandLineTest, InfoNamesVersionAndCpu) {
  const Outcome o = run({"info", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_EQ(json.at("version").as_string(), GPUNN_VERSION_STRING);
  EXPECT_FALSE(json.at("build").at("compiler").as_string().empty());
  EXPECT_EQ(json.at("devices").as_array()[0].at("device").as_string(), "cpu");
  EXPECT_FALSE(json.at("libraries").as_array().empty());
  EXPECT_TRUE(contains(run({"info"}).out, "cpu: "));
}

TEST(CommandLineTest, PrintConfigIsAConfiguration) {
  const Folder folder;
  const Outcome o = run({"train", "digits-mlp", "--lr", "0.25", "--init", "normal", "--print-config"});
  ASSERT_EQ(o.code, 0) << o.err;
  write_file_atomic(folder / "config.json", o.out);
  const Outcome again =
      run({"train", "digits-mlp", "--config", folder / "config.json", "--epochs", "7", "--print-config"});
  ASSERT_EQ(again.code, 0) << again.err;
  const JsonValue json = JsonValue::parse(again.out, "stdout");
  EXPECT_EQ(json.at("lr").as_number(), 0.25);
  EXPECT_EQ(json.at("init").as_string(), "normal");
  EXPECT_EQ(json.at("epochs").as_int(), 7);
}

TEST(CommandLineTest, ColourOnlyWhenWanted) {
  EXPECT_FALSE(contains(run({"frobnicate"}).err, "\x1b["));
  EXPECT_TRUE(contains(run({"frobnicate", "--color=always"}).err, "\x1b["));
  EXPECT_TRUE(contains(run({"frobnicate", "--color", "always"}).err, "\x1b["));
}

TEST(CommandLineTest, ParityAsJson) {
  const Outcome o = run({"parity", "--op", "softmax", "--dtype", "f32", "--device", "cpu", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_EQ(json.at("device").as_string(), "cpu");
  EXPECT_GT(json.at("cases").as_int(), 0);
  EXPECT_EQ(json.at("failed").as_int(), 0);
  ASSERT_FALSE(json.at("ops").as_array().empty());
  for (const JsonValue& row : json.at("ops").as_array()) {
    EXPECT_EQ(row.at("op").as_string(), "softmax");
    EXPECT_EQ(row.at("dtype").as_string(), "f32");
    for (const char* key : {"implementation", "direction", "cases", "failed", "worst_error", "bound"})
      EXPECT_NE(row.find(key), nullptr) << key;
  }
}

TEST(CommandLineTest, ParityWithLimits) {
  const auto cases = [](const Outcome& o) { return JsonValue::parse(o.out, "stdout").at("cases").as_int(); };
  const std::vector<std::string> all{"parity", "--op", "bincount", "--device", "cpu", "--json"};
  std::vector<std::string> small = all;
  small.insert(small.end(), {"--most-elements", "2000"});
  const Outcome limited = run(small);
  ASSERT_EQ(limited.code, 0) << limited.err;
  EXPECT_GT(cases(limited), 0);
  EXPECT_LT(cases(limited), cases(run(all)));

  const Outcome brief = run({"parity", "--device", "cpu", "--most-elements", "1", "--budget", "1e-9"});
  EXPECT_TRUE(contains(brief.out, "not reached in the time: softmax"));
  EXPECT_EQ(run({"parity", "--budget", "-1"}).code, 2);
}

TEST(CommandLineTest, BenchAsJson) {
  const Outcome o =
      run({"bench", "softmax", "--row", "64x10", "--device", "cpu", "--seconds", "0.001", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_EQ(json.at("device").as_string(), "cpu");
  EXPECT_EQ(json.at("threads").as_int(), 1);
  EXPECT_GT(json.at("copy_bytes_per_second").as_number(), 0);
  std::set<std::string> seen;
  for (const JsonValue& row : json.at("rows").as_array()) {
    EXPECT_EQ(row.at("op").as_string(), "softmax");
    EXPECT_EQ(row.at("case").as_string(), "64x10");
    seen.insert(row.at("direction").as_string() + " " + row.at("implementation").as_string());
    EXPECT_GT(row.at("seconds").as_number(), 0);
    EXPECT_LE(row.at("seconds_low").as_number(), row.at("seconds").as_number());
    EXPECT_GE(row.at("seconds_high").as_number(), row.at("seconds").as_number());
    for (const char* key : {"dtype", "flops", "bytes", "fraction_of_ceiling"})
      EXPECT_NE(row.find(key), nullptr) << key;
  }
  EXPECT_EQ(seen, (std::set<std::string>{"forward cpu", "forward ref", "backward cpu", "backward ref"}));
}

TEST(CommandLineTest, BenchListsItsOps) {
  const Outcome o = run({"bench", "--list", "--device", "cpu"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "softmax\n"));
  const JsonValue json = JsonValue::parse(run({"bench", "--list", "--json"}).out, "stdout");
  EXPECT_GT(json.as_array().size(), 5u);
}

TEST(CommandLineTest, BenchListsTheRowsOfAnOp) {
  const Outcome o = run({"bench", "softmax", "--list", "--device", "cpu"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "GPU only"));
  int cpu = 0, gpu = 0;
  const JsonValue json =
      JsonValue::parse(run({"bench", "softmax", "--list", "--row", "R1", "--json"}).out, "stdout");
  for (const JsonValue& row : json.as_array()) EXPECT_EQ(row.at("case").as_string(), "R1 16384x768");
  EXPECT_EQ(json.as_array().size(), 2u);
  const JsonValue all = JsonValue::parse(run({"bench", "softmax", "--list", "--json"}).out, "stdout");
  for (const JsonValue& row : all.as_array()) ++(row.at("runs_on").as_string() == "GPU only" ? gpu : cpu);
  EXPECT_GT(cpu, 0);
  EXPECT_EQ(gpu, 20);
}

TEST(CommandLineTest, BenchNamesTheRowsThatItDoesNotTime) {
  const Outcome text = run({"bench", "softmax", "--row", "R7", "--device", "cpu"});
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(contains(text.out, "not timed: GPU only")) << text.out;
  const Outcome late =
      run({"bench", "softmax", "--device", "cpu", "--budget", "0.000001", "--seconds", "0.001", "--json"});
  ASSERT_EQ(late.code, 0) << late.err;
  const JsonValue json = JsonValue::parse(late.out, "stdout");
  EXPECT_TRUE(json.at("rows").as_array().empty());
  for (const JsonValue& row : json.at("skipped").as_array())
    EXPECT_EQ(row.at("reason").as_string(), "not reached in the time given");
  EXPECT_GT(json.at("skipped").as_array().size(), 20u);
}

TEST(CommandLineTest, BenchOfTheBestAlone) {
  const Outcome o = run(
      {"bench", "softmax", "--row", "64x10", "--device", "cpu", "--seconds", "0.001", "--best", "--json"});
  ASSERT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  ASSERT_EQ(json.at("rows").as_array().size(), 2u);
  for (const JsonValue& row : json.at("rows").as_array())
    EXPECT_EQ(row.at("implementation").as_string(), "cpu");
}

TEST(CommandLineTest, BenchAsATable) {
  const Outcome o = run({"bench", "softmax", "--row", "64x10", "--device", "cpu", "--seconds", "0.001"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_TRUE(contains(o.out, "GB/s copy"));
  EXPECT_TRUE(contains(o.out, "64x10"));
}

TEST(CommandLineTest, ParityWritesAPage) {
  const Folder folder;
  const Outcome o = run({"parity", "--op", "softmax", "--device", "cpu", "--html", folder / "parity.html"});
  ASSERT_EQ(o.code, 0) << o.err;
  const std::string page = read_text_file(folder / "parity.html");
  EXPECT_TRUE(contains(page, "softmax"));
  EXPECT_TRUE(contains(page, "</html>"));
  EXPECT_EQ(run({"parity", "--device", "cpu", "--html", folder / "no/such/folder.html"}).code, 1);
}

}  // namespace
}  // namespace gpunn::testing
