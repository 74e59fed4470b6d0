// Run folder: what is written, and errors before training instead of after.
#include "gpunn/training/run_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/layers/linear.h"
#include "gpunn/training/interrupt.h"
#include "gpunn/training/progress.h"

#include <csignal>

namespace gpunn {
namespace {

class RunFolderTest : public ::testing::Test {
 protected:
  RunFolderTest() {
    std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~RunFolderTest() override { std::filesystem::remove_all(path_); }
  std::string path_;
};

TEST_F(RunFolderTest, HoldsWhatWasWritten) {
  RunFolder folder(path_ + "/a/b/");
  EXPECT_EQ(folder.path(), path_ + "/a/b");
  EXPECT_EQ(read_text_file(folder.file("metrics.jsonl")), "");
  EXPECT_FALSE(path_exists(folder.file("config.json"))) << "the probe leaves nothing";
  folder.write_config("{}");
  folder.append_metrics(R"({"epoch":1})");
  folder.append_metrics(R"({"epoch":2})");
  Linear model(2, 3);
  folder.write_weights(model.state_dict());
  folder.write_report("<html>");
  EXPECT_EQ(read_text_file(folder.file("metrics.jsonl")), "{\"epoch\":1}\n{\"epoch\":2}\n");
  EXPECT_EQ(read_text_file(folder.report_path()), "<html>");
  Linear loaded(2, 3);
  loaded.load_state_dict(load_safetensors(folder.file("weights.safetensors")));
  EXPECT_EQ(weights_sha256(loaded.state_dict()), weights_sha256(model.state_dict()));

  // A run that goes on appends to its metrics, a new one in the same folder starts them anew.
  {
    RunFolder resumed(folder.path(), true);
    resumed.append_metrics(R"({"epoch":3})");
    EXPECT_EQ(read_text_file(folder.file("metrics.jsonl")), "{\"epoch\":1}\n{\"epoch\":2}\n{\"epoch\":3}\n");
  }
  AppendFile(folder.file("metrics.jsonl")).append("{\"epo");  // half a line
  {
    RunFolder resumed(folder.path(), true);
    EXPECT_EQ(read_text_file(folder.file("metrics.jsonl")), "{\"epoch\":1}\n{\"epoch\":2}\n{\"epoch\":3}\n");
  }
  RunFolder again(folder.path());
  again.append_metrics("{}");
  EXPECT_EQ(read_text_file(folder.file("metrics.jsonl")), "{}\n");
}

TEST_F(RunFolderTest, SaysWhyItCannotBeWritten) {
  write_file_atomic(path_ + "/file", "x");
  try {
    RunFolder folder(path_ + "/file/run");
    ADD_FAILURE() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(path_ + "/file"), std::string::npos) << e.what();
  }
  EXPECT_THROW(RunFolder(""), InvalidArgument);
  EXPECT_THROW(RunFolder("/proc/gpunn-run"), Error);
  EXPECT_EQ(RunFolder::default_path("xor").rfind("runs/xor-20", 0), 0u);
}

TEST(WeightsHashTest, IsTheHashOfTheBytes) {
  // sha256 of the eight bytes of 1.0f and 2.0f, little-endian.
  EXPECT_EQ(weights_sha256({{"a", Tensor::from({1, 2})}}),
            "b9c80b5adeca450753a16950c3cc655d271f7bef7a485bc83f112b72fef21d37");
  EXPECT_EQ(weights_sha256({{"a", Tensor::from({1})}, {"b", Tensor::from({2})}}),
            weights_sha256({{"a", Tensor::from({1, 2})}}));
}

std::string written_by(const ProgressOptions& options) {
  std::FILE* file = std::tmpfile();
  ProgressOptions to_file = options;
  to_file.stream = file;
  {
    Progress progress(to_file);
    progress.update({1, 2, 5, 10, 0.5});
    progress.line("epoch 1 done");
    progress.update({2, 2, 10, 10, 0.25});
  }
  std::string text(static_cast<std::size_t>(std::ftell(file)), ' ');
  std::rewind(file);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

TEST(ProgressTest, BarsOnlyWhereAsked) {
  EXPECT_EQ(written_by({.quiet = true}), "");
  EXPECT_EQ(written_by({}), "epoch 1 done\n");
  const std::string bar = written_by({.bar = true});
  EXPECT_NE(bar.find("epoch 1/2 [##############..............] 5/10  loss 0.5000"), std::string::npos) << bar;
  EXPECT_EQ(bar.substr(bar.size() - 4), "\r\x1b[K") << "the bar is wiped at the end";
  EXPECT_EQ(bar.find("\x1b[36m"), std::string::npos);
  EXPECT_NE(written_by({.bar = true, .color = true}).find("\x1b[36m"), std::string::npos);
}

TEST(ProgressTest, AFileIsNoTerminal) {
  std::FILE* file = std::tmpfile();
  const ProgressOptions options = ProgressOptions::detect(file);
  EXPECT_FALSE(options.bar);
  EXPECT_FALSE(options.color);
  std::fclose(file);
}

TEST(InterruptTest, RemembersTheFirstSignal) {
  {
    InterruptScope scope;
    EXPECT_EQ(interrupt_signal(), 0);
    EXPECT_THROW(InterruptScope(), InvalidArgument);
    std::raise(SIGTERM);
    EXPECT_EQ(interrupt_signal(), SIGTERM);
  }
  InterruptScope again;
  EXPECT_EQ(interrupt_signal(), 0);
}

TEST(InterruptDeathTest, TheSecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        InterruptScope scope;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace gpunn
