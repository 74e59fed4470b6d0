// gpunn verify from outside: the first cause of a difference is named, whatever it is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/safetensors.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

using Words = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class VerifyCommandTest : public ::testing::Test {
 protected:
  VerifyCommandTest() { write_small_mnist(folder_ / "data/mnist", 200, 50); }

  // Trains eight steps into the folder of that name.
  void train(const std::string& name, const Words& more = {"--hash-steps"},
             const std::string& data = "data") const {
    Words all{"train",  "mnist-mlp",    "--device",  "cpu",          "--epochs", "2",
              "--data", folder_ / data, "--run-dir", folder_ / name, "--quiet"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome o = run(all);
    ASSERT_EQ(o.code, 0) << o.err;
  }
  Outcome verify(const std::string& a, const std::string& b, const Words& more = {}) const {
    Words all{"verify", folder_ / a, folder_ / b};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  void expect(int code, const std::string& a, const std::string& b, const Words& parts) const {
    const Outcome o = verify(a, b);
    EXPECT_EQ(o.code, code) << o.err;
    for (const std::string& part : parts)
      EXPECT_TRUE(contains(o.out + o.err, part)) << part << "\n" << o.out << o.err;
  }
  void copy(const std::string& from, const std::string& to) const {
    std::filesystem::copy(folder_ / from, folder_ / to, std::filesystem::copy_options::recursive);
  }
  // Replaces the first character of that hash in the line of that step.
  void spoil(const std::string& name, int step, const std::string& part, const std::string& tensor) const {
    const std::string path = folder_ / (name + "/hashes.jsonl");
    std::string text = read_text_file(path);
    std::size_t at = text.find("{\"step\":" + std::to_string(step) + ",");
    at = text.find("\"" + part + "\":", at);
    at = text.find("\"" + tensor + "\":\"", at) + tensor.size() + 4;
    ASSERT_LT(at, text.size());
    text[at] = text[at] == '0' ? '1' : '0';
    write_file_atomic(path, text);
  }

  Folder folder_;
};

TEST_F(VerifyCommandTest, EqualRuns) {
  train("a", {"--hash-steps", "--threads", "1"});
  train("b", {"--hash-steps=1", "--threads", "3", "--workers", "2"});
  expect(0, "a", "b",
         {"configuration: 2 differences", "threads", "workers",
          "hashes of steps: equal in all 9 recorded by both, up to step 8", "metrics: equal in 2 epochs",
          "weights.safetensors after step 8: all 4 tensors are equal", "verdict: equal"});
  const Outcome o = verify("a", "b", {"--json"});
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(json.at("equal").as_bool());
  EXPECT_TRUE(json.at("hashes").at("first").is_null());
  EXPECT_EQ(json.at("hashes").at("steps").as_int(), 9);
}

TEST_F(VerifyCommandTest, NamesTheFirstCause) {
  train("a");
  train("seed", {"--hash-steps", "--seed", "1"});
  expect(1, "a", "seed",
         {"seed", "step 0: the parameter", "start from other weights", "verdict: different",
          "weights.safetensors after step 8: 4 of 4 tensors differ", "relative"});
  train("rate", {"--hash-steps", "--lr", "0.02"});
  expect(1, "a", "rate",
         {"configuration: 1 difference\n  lr", "step 0: the learning rate (lr.0) is the first to differ",
          "equal in this step: parameters"});
  // One label of the data is another one.
  std::filesystem::copy(folder_ / "data", folder_ / "other", std::filesystem::copy_options::recursive);
  for (const char* name : {"train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz"}) {
    const std::string path = folder_ / (std::string("other/mnist/") + name);
    if (!path_exists(path)) continue;
    Bytes bytes = read_file(path);
    bytes[8 + 77] = static_cast<std::uint8_t>((bytes[8 + 77] + 1) % 10);
    write_file_atomic(path, bytes);
  }
  train("label", {"--hash-steps"}, "other");
  expect(1, "a", "label", {": the batch (its targets) is the first to differ", "The data or its order"});
}

TEST_F(VerifyCommandTest, NamesTheTensor) {
  train("a");
  copy("a", "b");
  spoil("b", 5, "gradients", "0.weight");
  spoil("b", 5, "parameters", "0.weight");
  spoil("b", 7, "batch", "inputs");
  expect(1, "a", "b",
         {"step 5: the gradient of 0.weight is the first to differ",
          "equal in this step: batch, loss, optimizer",
          "different in this step: gradients 1 of 4, parameters 1 of 4", "last equal step: 4",
          "The backward pass gave other numbers behind the same loss."});
  const Outcome o = verify("a", "b", {"--json"});
  EXPECT_EQ(o.code, 1);
  const JsonValue json = JsonValue::parse(o.out, "stdout"), &first = json.at("hashes").at("first");
  EXPECT_EQ(first.at("step").as_int(), 5);
  EXPECT_EQ(first.at("part").as_string(), "gradients");
  EXPECT_EQ(first.at("name").as_string(), "0.weight");
  spoil("b", 4, "loss", "loss");
  expect(1, "a", "b", {"step 4: the loss is the first to differ", "The forward pass"});
  spoil("b", 3, "parameters", "2.bias");
  expect(1, "a", "b",
         {"step 3: the parameter 2.bias is the first to differ", "the update gave other numbers"});
}

TEST_F(VerifyCommandTest, RunsOfOtherLengthAndSteps) {
  train("a");
  train("short", {"--hash-steps", "--steps", "5"});
  expect(0, "a", "short",
         {"up to step 5", "run A goes on to step 8, which was not compared", "verdict: equal"});
  train("some", {"--hash-steps=3"});
  expect(0, "a", "some", {"equal in all 3 recorded by both, up to step 6"});
  spoil("some", 6, "gradients", "2.bias");
  expect(1, "a", "some", {"step 6: the gradient of 2.bias", "not recorded"});
}

TEST_F(VerifyCommandTest, RunsWithoutHashes) {
  train("a", {});
  train("b", {});
  train("c", {"--seed", "1"});
  train("d");
  expect(0, "a", "b", {"not compared, neither run has any", "metrics: equal in 2 epochs", "verdict: equal"});
  expect(0, "a", "d", {"not compared", "has none"});
  expect(1, "a", "c", {"metrics: train_loss differs first in epoch 1", "4 of 4 tensors differ"});
  // A new run in the folder of one with hashes does not leave those behind.
  train("d", {});
  EXPECT_FALSE(path_exists(folder_ / "d/hashes.jsonl"));
}

TEST_F(VerifyCommandTest, ChangedWeightsAreMeasured) {
  train("a");
  copy("a", "b");
  std::vector<NamedTensor> weights = load_safetensors(folder_ / "b/weights.safetensors");
  float* bias = weights[1].second.host<float>();
  const float before = bias[3];
  bias[3] += 0.25f;
  write_safetensors(folder_ / "b/weights.safetensors", weights);
  const Outcome o = verify("a", "b", {"--json"});
  EXPECT_EQ(o.code, 1);
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  const JsonValue& file = json.at("tensors").as_array().back();
  EXPECT_EQ(file.at("file").as_string(), "weights.safetensors");
  ASSERT_EQ(file.at("different").as_array().size(), 1u);
  const JsonValue& tensor = file.at("different").as_array()[0];
  EXPECT_EQ(tensor.at("name").as_string(), weights[1].first);
  EXPECT_EQ(tensor.at("different").as_int(), 1);
  EXPECT_NEAR(tensor.at("max_abs").as_number(), 0.25, 1e-6);
  EXPECT_NEAR(tensor.at("max_rel").as_number(), 0.25 / std::max(std::abs(before), std::abs(before + 0.25f)),
              1e-4);
}

TEST_F(VerifyCommandTest, AResumedRunEqualsAWholeOne) {
  train("whole");
  train("parts", {"--hash-steps", "--steps", "6"});
  train("parts", {"--hash-steps", "--resume", "--steps", "0"});
  expect(0, "whole", "parts", {"verdict: equal", "after step 8: all 4"});
}

TEST_F(VerifyCommandTest, WhatCannotBeCompared) {
  train("a");
  copy("a", "b");
  expect(2, "a", "nowhere", {"there is no run folder"});
  std::string text = read_text_file(folder_ / "a/hashes.jsonl");
  text.replace(text.find("\"gradients\"", text.find("\"step\":3")), 11, "\"gradient s\"");
  write_file_atomic(folder_ / "b/hashes.jsonl", text);
  expect(2, "a", "b", {"b/hashes.jsonl, line 5: there is no part 'gradient s' at offset"});
  write_file_atomic(folder_ / "b/hashes.jsonl", std::string_view("\x01\x02\n"));
  expect(2, "a", "b", {"b/hashes.jsonl, line 1"});
  std::filesystem::create_directories(folder_ / "empty");
  expect(2, "a", "empty", {"nothing to compare"});
  const Outcome o =
      run({"train", "digits-mlp", "--steps", "2", "--run-dir", folder_ / "digits", "--hash-steps"});
  ASSERT_EQ(o.code, 0) << o.err;
  expect(2, "a", "digits", {"different recipes"});
  EXPECT_EQ(run({"verify", folder_ / "a"}).code, 2);
  EXPECT_EQ(run({"verify", "--help"}).code, 0);
}

TEST_F(VerifyCommandTest, HashStepsWantsANumberAndARecipeThatHasSteps) {
  for (const char* word : {"--hash-steps=0", "--hash-steps=x", "--hash-steps=1.5"}) {
    const Outcome o = run({"train", "digits-mlp", word});
    EXPECT_EQ(o.code, 2) << word << o.err;
  }
  EXPECT_EQ(run({"train", "worked-numbers", "--hash-steps"}).code, 2);
}

}  // namespace
}  // namespace gpunn::testing
