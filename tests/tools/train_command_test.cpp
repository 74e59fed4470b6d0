// gpunn train from outside: results, bad input, signals.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/gzip.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/safetensors.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

using Words = std::vector<std::string>;

class TrainCommandTest : public ::testing::Test {
 protected:
  TrainCommandTest() { write_small_mnist(folder_ / "data/mnist", 200, 50); }

  Words words(Words more = {}) const {
    Words all{"train", "mnist-mlp", "--device",       "cpu",       "--epochs",
              "2",     "--data",    folder_ / "data", "--run-dir", folder_ / "run"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  JsonValue result(const Words& arguments) const {
    const Outcome o = run(arguments);
    EXPECT_EQ(o.code, 0) << o.err;
    return JsonValue::parse(o.out, "stdout");
  }
  // The run must fail with `code` and say `part`, before anything was written to the run folder.
  void expect_failure(int code, const std::string& part, const Words& more = {}) const {
    const Outcome o = run(words(more));
    EXPECT_EQ(o.code, code) << o.err;
    EXPECT_TRUE(contains(o.err, part)) << o.err;
    EXPECT_EQ(o.out, "");
    EXPECT_EQ(o.err.find('\n'), o.err.size() - 1) << "one line: " << o.err;
    EXPECT_FALSE(path_exists(folder_ / "run"));
  }
  std::string data_file(const std::string& name) const { return folder_ / ("data/mnist/" + name); }

  Folder folder_;
};

TEST_F(TrainCommandTest, ResultAsJson) {
  const JsonValue json = result(words({"--json", "--seed", "3", "--threads", "1"}));
  EXPECT_EQ(json.at("recipe").as_string(), "mnist-mlp");
  EXPECT_EQ(json.at("device").as_string(), "cpu");
  EXPECT_EQ(json.at("seed").as_int(), 3);
  EXPECT_EQ(json.at("threads").as_int(), 1);
  EXPECT_EQ(json.at("epochs").as_int(), 2);
  EXPECT_EQ(json.at("steps").as_int(), 8);
  EXPECT_GT(json.at("seconds").as_number(), 0);
  EXPECT_GT(json.at("train_loss").as_number(), 0);
  EXPECT_GT(json.at("test_loss").as_number(), 0);
  EXPECT_GT(json.at("metrics").at("test_accuracy").as_number(), 0.3);
  EXPECT_GT(json.at("peak_memory_bytes").as_int(), 400000);
  EXPECT_EQ(json.at("weights_sha256").as_string().size(), 64u);
  EXPECT_FALSE(json.at("reached").as_bool());
  EXPECT_NE(json.find("steps_per_second"), nullptr);
  EXPECT_NE(json.find("figure"), nullptr);
  EXPECT_EQ(json.at("run_dir").as_string(), folder_ / "run");

  const std::string report = read_text_file(json.at("report").as_string());
  for (const char* part : {"mnist-mlp", "data:image/png;base64", "<svg", "</html>"})
    EXPECT_TRUE(contains(report, part)) << part;
  for (const char* part : {"src=\"http", "href=\"http", "url(http", "<script"})
    EXPECT_FALSE(contains(report, part)) << "the report stands alone";
  const JsonValue config = JsonValue::read(folder_ / "run/config.json");
  EXPECT_EQ(config.at("settings").at("batch_size").as_int(), 64);
  const std::vector<NamedTensor> weights = load_safetensors(folder_ / "run/weights.safetensors");
  ASSERT_EQ(weights.size(), 4u);
  EXPECT_EQ(weights[0].first, "0.weight");
  const std::string metrics = read_text_file(folder_ / "run/metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 2);
}

TEST_F(TrainCommandTest, EqualSeedsGiveEqualWeights) {
  const auto hash = [&](const Words& more) { return result(words(more)).at("weights_sha256").as_string(); };
  const std::string first = hash({"--json", "--threads", "1"});
  EXPECT_EQ(hash({"--json", "--threads", "1"}), first);
  EXPECT_EQ(hash({"--json", "--threads", "2"}), first);
  EXPECT_EQ(hash({"--json", "--threads", "8"}), first);
  EXPECT_EQ(hash({"--json", "--workers", "3"}), first);
  EXPECT_NE(hash({"--json", "--seed", "1"}), first);
}

TEST_F(TrainCommandTest, MessagesGoToStderrAndQuietSilencesThem) {
  const Outcome o = run(words());
  EXPECT_EQ(o.code, 0);
  EXPECT_TRUE(contains(o.err, "epoch 2/2")) << o.err;
  EXPECT_FALSE(contains(o.err, "\r")) << "no bar outside a terminal";
  EXPECT_TRUE(contains(o.out, "test accuracy: ")) << o.out;
  EXPECT_TRUE(contains(o.out, "report: " + (folder_ / "run/report.html"))) << o.out;
  EXPECT_EQ(run(words({"--quiet"})).err, "");
}

TEST_F(TrainCommandTest, StepsLimitTheRun) {
  EXPECT_EQ(result(words({"--json", "--steps", "3"})).at("steps").as_int(), 3);
}

TEST_F(TrainCommandTest, DefaultRunFolderIsBelowRuns) {
  const Outcome o =
      run({"train", "mnist-mlp", "--device", "cpu", "--epochs", "1", "--data", folder_ / "data", "--json"},
          {.folder = folder_.path()});
  ASSERT_EQ(o.code, 0) << o.err;
  const std::string path = JsonValue::parse(o.out, "stdout").at("run_dir").as_string();
  EXPECT_EQ(path.rfind("runs/mnist-mlp-20", 0), 0u) << path;
  EXPECT_TRUE(path_exists(folder_ / (path + "/report.html")));
  const JsonValue memory = JsonValue::parse(read_text_file(folder_ / (path + "/memory.json")), "memory.json");
  EXPECT_GT(memory.at("peak_live_bytes").as_int(), 0);
}

TEST_F(TrainCommandTest, MissingDataSaysWhereItLooked) {
  std::filesystem::remove(data_file("t10k-labels-idx1-ubyte"));
  expect_failure(3, "t10k-labels-idx1-ubyte.gz");
  expect_failure(3, folder_ / "nowhere", {"--data", folder_ / "nowhere"});
}

TEST_F(TrainCommandTest, DamagedDataIsNamed) {
  const std::string images = data_file("train-images-idx3-ubyte"),
                    labels = data_file("train-labels-idx1-ubyte");
  const Bytes good_images = read_file(images), good_labels = read_file(labels);
  Bytes bad = good_images;
  bad.resize(bad.size() - 100);
  write_file_atomic(images, bad);
  expect_failure(3, images);  // truncated

  bad = good_images;
  bad.resize(bad.size() + 1);
  write_file_atomic(images, bad);
  expect_failure(3, images);  // bytes after the end

  bad = good_images;
  bad[2] = 0x0d;
  write_file_atomic(images, bad);
  expect_failure(3, images);  // another element type

  bad = good_images;
  bad[0] = 0x50;
  write_file_atomic(images, bad);
  expect_failure(3, images);  // no IDX file

  bad = gzip(good_images);
  bad.resize(bad.size() / 2);
  write_file_atomic(images, bad);
  expect_failure(3, images);  // half a gzip file

  write_file_atomic(images, idx_bytes({200, 14, 56}, Bytes(good_images.begin() + 16, good_images.end())));
  expect_failure(3, "28 x 28");  // pictures of another size
  write_file_atomic(images, good_images);

  bad = good_labels;
  bad[8 + 17] = 10;
  write_file_atomic(labels, bad);
  expect_failure(3, labels + ": row 17: expected a label in 0..9, got 10");
}

TEST_F(TrainCommandTest, WeightsToStartFrom) {
  const Words start{"--json", "--epochs", "0", "--weights", folder_ / "start.safetensors"};
  const std::string hash = result(words({"--json"})).at("weights_sha256").as_string();
  const std::string weights = folder_ / "run/weights.safetensors";
  std::filesystem::rename(weights, folder_ / "start.safetensors");
  EXPECT_EQ(result(words(start)).at("weights_sha256").as_string(), hash);
  std::filesystem::remove_all(folder_ / "run");

  // Malformed files and weights of another model.
  const Bytes good = read_file(folder_ / "start.safetensors");
  Bytes bad(good.begin(), good.end() - 1);
  write_file_atomic(folder_ / "start.safetensors", bad);
  expect_failure(3, folder_ / "start.safetensors", start);
  bad = good;
  bad[7] = 0xff;
  write_file_atomic(folder_ / "start.safetensors", bad);
  expect_failure(3, folder_ / "start.safetensors", start);
  write_safetensors(folder_ / "start.safetensors", std::vector<NamedTensor>{{"0.weight", zeros({2, 2})}});
  expect_failure(3, "0.weight expected [128, 784], got [2, 2]", start);
}

TEST_F(TrainCommandTest, StoppedRunsGoOn) {
  const std::string whole = result(words({"--json", "--momentum", "0.5"})).at("weights_sha256").as_string();
  std::filesystem::remove_all(folder_ / "run");
  EXPECT_EQ(result(words({"--json", "--momentum", "0.5", "--steps", "5"})).at("steps").as_int(), 5);
  // The settings are those of the run; only the limit that ended it is lifted.
  const JsonValue resumed =
      result({"train", "mnist-mlp", "--run-dir", folder_ / "run", "--resume", "--steps", "0", "--json"});
  EXPECT_EQ(resumed.at("steps").as_int(), 8);
  EXPECT_EQ(resumed.at("weights_sha256").as_string(), whole);
  EXPECT_EQ(run({"train", "mnist-mlp", "--resume"}).code, 2);
  EXPECT_EQ(run({"train", "mnist-mlp", "--resume", "--run-dir", folder_ / "nothing"}).code, 3);
  EXPECT_EQ(run({"train", "xor", "--resume", "--run-dir", folder_ / "run"}).code, 2)
      << "xor has no such option";

  // The configuration of a run, for another run in another folder.
  const JsonValue again = result({"train", "mnist-mlp", "--config", folder_ / "run/config.json", "--run-dir",
                                  folder_ / "again", "--json"});
  EXPECT_EQ(again.at("weights_sha256").as_string(), whole);
}

TEST_F(TrainCommandTest, AbsentDeviceIsCodeFour) { expect_failure(4, "cuda:99", {"--device", "cuda:99"}); }

TEST_F(TrainCommandTest, BadConfigurationIsCodeThree) {
  write_file_atomic(folder_ / "config.json", R"({"lr": 0.1, "batchsize": 3})");
  expect_failure(3, "did you mean 'batch_size'?", {"--config", folder_ / "config.json"});
  expect_failure(3, folder_ / "none.json", {"--config", folder_ / "none.json"});
}

TEST_F(TrainCommandTest, UnwritableRunFolderIsToldBeforeTraining) {
  write_file_atomic(folder_ / "file", "x");
  const Outcome o = run(words({"--run-dir", folder_ / "file/run", "--epochs", "1000000"}));
  EXPECT_EQ(o.code, 1);
  EXPECT_TRUE(contains(o.err, folder_ / "file")) << o.err;
  EXPECT_FALSE(contains(o.err, "epoch")) << o.err;
  EXPECT_EQ(o.out, "");
}

TEST_F(TrainCommandTest, SignalsFinishTheStepAndKeepWhatThereIs) {
  for (const int number : {SIGINT, SIGTERM}) {
    const std::string dir = folder_ / ("run" + std::to_string(number));
    Child child(words({"--epochs", "1000000", "--run-dir", dir, "--json"}));
    ASSERT_TRUE(wait_for_file(dir + "/metrics.jsonl"));
    child.signal(number);
    const Outcome o = child.wait();
    EXPECT_EQ(o.code, 128 + number) << o.err;
    const JsonValue json = JsonValue::parse(o.out, "stdout");
    EXPECT_GT(json.at("steps").as_int(), 0);
    EXPECT_FALSE(json.at("reached").as_bool());
    EXPECT_EQ(load_safetensors(dir + "/weights.safetensors").size(), 4u);
    EXPECT_TRUE(contains(read_text_file(dir + "/report.html"), "</html>"));
    EXPECT_TRUE(contains(o.err, "signal")) << o.err;
  }
}

TEST_F(TrainCommandTest, SignalsReachXorToo) {
  const std::string dir = folder_ / "xor";
  Child child({"train", "xor", "--device", "cpu", "--runs", "10000", "--run-dir", dir});
  ASSERT_TRUE(wait_for_file(dir + "/metrics.jsonl"));
  child.signal(SIGINT);
  EXPECT_EQ(child.wait().code, 130);
  EXPECT_TRUE(path_exists(dir + "/weights.safetensors"));
}

// Sanitizers reserve more address space than such a limit leaves.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(TrainCommandTest, OutOfMemoryIsCodeFive) {
  // A million pictures that say so truthfully: a sparse file of 784 MB for a process of 512 MB.
  const std::string images = data_file("train-images-idx3-ubyte");
  write_file_atomic(images, idx_bytes({1000000, 28, 28}, {}));
  std::filesystem::resize_file(images, 16 + std::uintmax_t{1000000} * 784);
  const Outcome o = run(words(), {.memory_bytes = std::uint64_t{512} << 20});
  EXPECT_EQ(o.code, 5) << o.err;
  EXPECT_EQ(o.out, "");
}
#endif

}  // namespace
}  // namespace gpunn::testing
