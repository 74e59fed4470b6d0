// Text recipes that are stopped and resumed: everything they leave behind equals, bit for bit, what a run
// that was never stopped leaves. And what a resumed run refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

constexpr const char* kFile = "/checkpoint.safetensors";

class TextResumeTest : public testing::RecipeTest {
 protected:
  RecipeResult stopped_run(const char* recipe, const std::string& json, int after, const char* folder) {
    RecipeHooks hooks;
    int asked = 0;
    hooks.stop = [&] { return ++asked == after; };
    const RecipeResult result = run(recipe, json, hooks, folder);
    EXPECT_TRUE(result.stopped);
    EXPECT_EQ(result.steps, after);
    return result;
  }
  RecipeResult resumed_run(const char* recipe, const std::string& json, const char* folder) {
    RecipeHooks hooks;
    hooks.resume = true;
    return run(recipe, json, hooks, folder);
  }
  // The last checkpoint holds weights, the optimizer's state, the position, the carried state, the samples,
  // and where the generator stands.
  void expect_resumes(const char* recipe, const std::string& json, const std::vector<int>& stops) {
    const RecipeResult whole = run(recipe, json, {}, "whole");
    for (const int after : stops) {
      SCOPED_TRACE(std::string(recipe) + " stopped after " + std::to_string(after));
      const RecipeResult stopped = stopped_run(recipe, json, after, "part");
      EXPECT_NE(stopped.weights_sha256, whole.weights_sha256);
      const RecipeResult resumed = resumed_run(recipe, json, "part");
      expect_equal(resumed, whole);
      expect_equal_files(kFile);
    }
    // A run that is complete has nothing left to do, and keeps its figures.
    const RecipeResult again = resumed_run(recipe, json, "whole");
    expect_equal(again, whole);
  }
  static void expect_equal(const RecipeResult& a, const RecipeResult& b) {
    EXPECT_EQ(a.steps, b.steps);
    EXPECT_EQ(a.epochs, b.epochs);
    EXPECT_EQ(a.weights_sha256, b.weights_sha256);
    EXPECT_EQ(a.train_loss, b.train_loss);
    EXPECT_EQ(a.test_loss, b.test_loss);
    EXPECT_EQ(a.metrics, b.metrics);
    EXPECT_EQ(part_of_report(a, "Before training:", "<h2"), part_of_report(b, "Before training:", "<h2"));
    EXPECT_EQ(part_of_report(a, ">Training loss", "</svg>"), part_of_report(b, ">Training loss", "</svg>"));
  }
  void expect_equal_files(const std::string& name) {
    EXPECT_TRUE(read_file(path_ + "/part" + name) == read_file(path_ + "/whole" + name)) << name;
  }
  // Samples and curves, where there are any.
  static std::string part_of_report(const RecipeResult& result, const char* from, const char* to) {
    const std::string page = read_text_file(result.report);
    const std::size_t begin = page.find(from), end = page.find(to, begin);
    return begin == std::string::npos ? "" : page.substr(begin, end - begin);
  }
  // Rewrites a run's checkpoint with one of its tensors changed; an undefined one is left out.
  void change(const char* folder, const std::string& name, const Tensor& tensor) {
    const std::string path = path_ + "/" + folder + kFile;
    const TextMetadata metadata = SafetensorsFile::open(path).metadata();
    std::vector<NamedTensor> tensors;
    for (const auto& [key, value] : load_safetensors(path)) {
      if (key != name) tensors.emplace_back(key, value);
      if (key == name && tensor.defined()) tensors.emplace_back(key, tensor);
    }
    write_safetensors(path, tensors, metadata);
  }
  Tensor part_of(const char* folder, const std::string& name) {
    return SafetensorsFile::open(path_ + "/" + folder + kFile).load(name);
  }
  // Twelve windows of 12 characters in each of 4 streams.
  void write_plays() {
    std::string text;
    for (int i = 0; i < 10; ++i)
      text += "All the world's a stage,\nand all the men and women merely players.\n";
    write_data("text/tinyshakespeare.txt", text);
  }
  std::string plays(const std::string& more) const {
    return "{" + data() +
           R"(, "hidden": 6, "embedding": 3, "length": 12, "batch_size": 4, "sample": 8, "dropout": 0.3, )" +
           more + "}";
  }
  void write_names() {
    std::string names;
    for (const char* first : {"an", "be", "ca", "do", "el", "fi"})
      for (const char* last : {"na", "lla", "ra", "ris", "mo"}) names += std::string(first) + last + "\n";
    write_data("text/names.txt", names);
  }
};
GPUNN_ON_EVERY_DEVICE(TextResumeTest);

// The first sample but that of the start is drawn at step 100.
TEST_P(TextResumeTest, StreamsOfTwoLayers) {
  write_plays();
  if (device().is_cpu())
    expect_resumes("shakespeare-lstm", plays(R"("layers": 2, "steps": 110)"), {5, 12, 99, 100, 101});
  else
    expect_resumes("shakespeare-lstm", plays(R"("layers": 2, "steps": 5)"), {2});
}

TEST_P(TextResumeTest, OtherCells) {
  write_plays();
  expect_resumes("shakespeare-gru", plays(R"("steps": 4)"), {1});
  if (!device().is_cpu()) return;
  expect_resumes("shakespeare-lstm", plays(R"("steps": 16, "cell": "tanh")"), {3, 14});
  expect_resumes("shakespeare-gru", plays(R"("steps": 16, "cell": "relu")"), {3});
}

TEST_P(TextResumeTest, OneSentence) {
  const std::string small = R"("hidden": 5, "samples": 2, "sample_length": 6})";
  if (device().is_cpu())
    expect_resumes("char-rnn", R"({"steps": 106, )" + small, {3, 4, 99, 100, 101, 105});
  else
    expect_resumes("char-rnn", R"({"steps": 6, )" + small, {3, 4});
}

TEST_P(TextResumeTest, Names) {
  write_names();
  const bool cpu = device().is_cpu();
  const std::string json = "{" + data() + R"(, "hidden": 6, "embedding": 3, "batch_size": 9, "dropout": 0.3,
      "new_names": 2, "epochs": )" +
                           (cpu ? "3}" : "1}");  // three steps an epoch
  expect_resumes("names", json, cpu ? std::vector{2, 3, 4, 8} : std::vector{1});
}

TEST_P(TextResumeTest, Sentences) {
  std::string good, bad;
  for (const char* thing : {"film", "plot", "actor", "scene", "story", "end"})
    for (const char* more : {"", "the ", "a very long and "}) {
      good += std::string(more) + "lovely " + thing + " .\n";
      bad += std::string(more) + "dreadful " + thing + " .\n";
    }
  write_data("sentiment/rt-polarity.pos", good);
  write_data("sentiment/rt-polarity.neg", bad);
  const std::string json = "{" + data() + R"(, "hidden": 3, "embedding": 3, "batch_size": 11, "dropout": 0.3,
      "max_length": 6, "epochs": 3})";  // three steps an epoch
  expect_resumes("sentiment", json, device().is_cpu() ? std::vector{2, 3, 8} : std::vector{4});
}

// Three models one after the other: stopped in the first, at its end, and in the last.
TEST_P(TextResumeTest, SeveralModels) {
  if (!device().is_cpu()) GTEST_SKIP() << "the models are those of other tests, the steps many";
  const std::string json = R"({"series": "generated", "epochs": 3, "hidden": 3, "batch_size": 100})";
  const RecipeResult whole = run("forecast-lstm", json, {}, "whole");
  EXPECT_NE(part_of_report(whole, ">Training loss", "</svg>"), "");
  const int all = static_cast<int>(whole.steps), each = all / 3;
  EXPECT_EQ(all % 9, 0);
  // The recipe asks before each model, too.
  for (const int after : {2, each + 1, each + 3, all + 2}) {
    SCOPED_TRACE(after);
    // An earlier run's checkpoints are not taken for this one's.
    std::filesystem::remove_all(path_ + "/part");
    std::filesystem::copy(path_ + "/whole", path_ + "/part");
    RecipeHooks hooks;
    int asked = 0;
    hooks.stop = [&] { return ++asked >= after; };
    EXPECT_TRUE(run("forecast-lstm", json, hooks, "part").stopped);
    EXPECT_EQ(path_exists(path_ + "/part/checkpoint-generated-tcn.safetensors"), after > 2 * each + 2);
    expect_equal(resumed_run("forecast-lstm", json, "part"), whole);
    for (const char* model : {"lstm", "gru", "tcn"})
      expect_equal_files(std::string("/checkpoint-generated-") + model + ".safetensors");
  }
  EXPECT_THROW(resumed_run("forecast-lstm", json, "none"), DataError);
}

// That the parts of a checkpoint matter: with one of them wrong, a resumed run ends elsewhere.
TEST_P(TextResumeTest, EachPartMatters) {
  write_plays();
  const std::string json = plays(R"("steps": 5)");
  const RecipeResult whole = run("shakespeare-lstm", json, {}, "whole");
  for (const char* part : {"carried.h", "carried.c"}) {
    stopped_run("shakespeare-lstm", json, 3, "part");
    const Tensor state = part_of("part", part);
    EXPECT_EQ(state.shape(), (Shape{1, 4, 6}));
    change("part", part, zeros(state.shape(), {.device = Device::cpu()}));
    EXPECT_NE(resumed_run("shakespeare-lstm", json, "part").weights_sha256, whole.weights_sha256) << part;
  }
}

TEST_P(TextResumeTest, OtherSizesAreRefused) {
  if (!device().is_cpu()) GTEST_SKIP() << "files and sizes are looked at before the device";
  write_plays();
  const std::string json = plays(R"("steps": 6)");
  stopped_run("shakespeare-lstm", json, 3, "part");
  const auto refuses = [&](const std::string& settings, const char* what) {
    EXPECT_THAT(
        [&] { resumed_run("shakespeare-lstm", settings, "part"); },
        ThrowsMessage<DataError>(::testing::AllOf(HasSubstr(path_ + "/part" + kFile), HasSubstr(what))))
        << settings;
  };
  const std::string common = "{" + data() + R"(, "embedding": 3, "sample": 8, )";
  refuses(common + R"("hidden": 6, "length": 12, "batch_size": 5})",
          "expected 5 streams (--batch-size), this checkpoint's run has 4");
  refuses(common + R"("hidden": 6, "length": 11, "batch_size": 4})",
          "expected 11 characters a window (--length), this checkpoint's run has 12");
  refuses(common + R"("hidden": 7, "length": 12, "batch_size": 4})",
          "'carried.h': expected f32 [1, 4, 7], got f32 [1, 4, 6]");
  refuses(plays(R"("layers": 2)"), "expected f32 [2, 4, 6]");
  refuses(plays(R"("cell": "gru")"), "expected the cell gru, this checkpoint's run has lstm");
  refuses(plays(R"("seed": 1)"), "expected a checkpoint of 'shakespeare-lstm, seed 1'");
  write_data("text/tinyshakespeare.txt",
             read_text_file(path_ + "/data/text/tinyshakespeare.txt") + std::string(100, 'l'));
  refuses(json, "windows of the text");
}

TEST_P(TextResumeTest, DamagedCheckpointsAreNamed) {
  if (!device().is_cpu()) GTEST_SKIP() << "files are looked at before the device";
  write_plays();
  const std::string json = plays(R"("steps": 6)"), path = path_ + "/part" + kFile;
  stopped_run("shakespeare-lstm", json, 3, "part");
  const Bytes good = read_file(path);
  const auto refuses = [&](const char* what) {
    EXPECT_THAT([&] { resumed_run("shakespeare-lstm", json, "part"); },
                ThrowsMessage<DataError>(::testing::AllOf(HasSubstr(path), HasSubstr(what))));
    write_file_atomic(path, good);
  };
  const auto numbers = [](std::vector<std::int64_t> values) {
    return Tensor::from(values, {std::ssize(values)}, {.device = Device::cpu()});
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, good.size() / 2, good.size() - 1}) {
    write_file_atomic(path, std::span(good).first(size));
    refuses("");
  }
  change("part", "carried.version", numbers({2}));
  refuses("expected version 1 of what is carried, got 2");
  change("part", "carried.version", numbers({}));
  refuses("expected version 1 of what is carried, got none");
  for (const char* missing :
       {"carried.version", "carried.cell", "carried.stream", "carried.h", "carried.c"}) {
    change("part", missing, {});
    refuses(missing);
  }
  change("part", "carried.stream", numbers({4, 12, 12}));
  refuses("expected four numbers");
  change("part", "carried.c", part_of("part", "carried.c").to(DType::f64));
  refuses("'carried.c': expected f32 [1, 4, 6], got f64");
  change("part", "carried.sample.0", numbers({1}));
  refuses("'carried.sample.0'");
  EXPECT_NO_THROW(resumed_run("shakespeare-lstm", json, "part")) << "the file as it was";
}

}  // namespace
}  // namespace gpunn
