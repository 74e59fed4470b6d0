// gpunn train --profile from outside.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ProfileCommandTest : public ::testing::Test {
 protected:
  ProfileCommandTest() { write_small_mnist(folder_ / "data/mnist", 1500, 50); }
  Outcome train(std::vector<std::string> more) const {
    std::vector<std::string> words{"train", "mnist-mlp", "--device",       "cpu",       "--epochs",
                                   "1",     "--data",    folder_ / "data", "--run-dir", folder_ / "run"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
  // Steps in the trace of the run folder.
  int steps() const {
    int n = 0;
    const JsonValue trace = JsonValue::read(folder_ / "run/trace.json");
    for (const JsonValue& e : trace.as_array()) n += e.at("name").as_string() == "step";
    return n;
  }
  Folder folder_;
};

TEST_F(ProfileCommandTest, WritesTraceAndViewsAndPrintsTheTable) {
  const Outcome o = train({"--profile"});
  ASSERT_EQ(o.code, 0) << o.err;
  EXPECT_EQ(steps(), 10);
  for (const char* part : {"profile of 10 steps", "linear backward", "share", "/run/trace.json"})
    EXPECT_TRUE(contains(o.out, part)) << part << " in " << o.out;
  EXPECT_TRUE(contains(read_text_file(folder_ / "run/schedule.html"), "mnist-mlp: what ran where"));
  EXPECT_TRUE(contains(read_text_file(folder_ / "run/schedule.dot"), "digraph"));
}

TEST_F(ProfileCommandTest, ChangesNoResult) {
  const auto weights = [&](const std::vector<std::string>& more) {
    const Outcome o = train(more);
    EXPECT_EQ(o.code, 0) << o.err;
    return JsonValue::parse(o.out, "stdout").at("weights_sha256").as_string();
  };
  const std::string plain = weights({"--json"});
  EXPECT_FALSE(path_exists(folder_ / "run/trace.json"));
  EXPECT_EQ(weights({"--json", "--profile=3", "--workers", "2"}), plain);
  EXPECT_EQ(steps(), 3);
}

TEST_F(ProfileCommandTest, ShortRunsAndBadNumbers) {
  const Outcome few = train({"--profile", "--steps", "12"});
  EXPECT_EQ(few.code, 0) << few.err;
  EXPECT_TRUE(contains(few.out, "profile of 4 steps")) << few.out;
  EXPECT_EQ(steps(), 4);
  const Outcome none = train({"--profile", "--steps", "5"});
  EXPECT_EQ(none.code, 0) << none.err;
  EXPECT_TRUE(contains(none.out, "nothing was recorded")) << none.out;
  for (const char* bad : {"--profile=0", "--profile=x", "--profile=1.5"}) {
    const Outcome o = train({bad});
    EXPECT_EQ(o.code, 2) << bad;
    EXPECT_TRUE(contains(o.err, "--profile: expected")) << o.err;
  }
}

}  // namespace
}  // namespace gpunn::testing
