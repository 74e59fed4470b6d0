// GPUNN_MEMORY_TRACE on a whole run of the tool.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "gpunn/io/csv.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

using ::testing::HasSubstr;

TEST(MemoryTraceCommand, ATrainingRunLeavesACompleteTrace) {
  const Folder folder;
  const std::string trace = folder / "trace.csv";
  const Outcome run_of = run({"train", "digits-mlp", "--epochs", "3", "--quiet", "--run-dir", folder / "run"},
                             {.environment = {{"GPUNN_MEMORY_TRACE", trace}}});
  ASSERT_EQ(run_of.code, 0) << run_of.err;
  EXPECT_EQ(run_of.err, "");
  const CsvTable table = CsvTable::read(trace, {.header = true});
  const auto events = table.text(table.column("event")), tags = table.text(table.column("tag"));
  const auto ids = table.integers(table.column("id")), bytes = table.integers(table.column("bytes"));
  std::map<std::int64_t, std::int64_t> live;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i] == "alloc") {
      EXPECT_TRUE(live.emplace(ids[i], bytes[i]).second);
    } else {
      ASSERT_TRUE(live.contains(ids[i])) << "row " << i;
      if (events[i] == "free") live.erase(ids[i]);
    }
  }
  const std::set<std::string> seen(tags.begin(), tags.end());
  for (const char* tag : {"weights", "gradients", "activations"}) EXPECT_TRUE(seen.contains(tag)) << tag;
  EXPECT_LT(live.size(), 50u) << "what is live at the end of a run is little";
}

TEST(MemoryTraceCommand, AFileThatCannotBeWrittenIsSaidAndHarmless) {
  const Folder folder;
  const Outcome refused = run({"train", "digits-mlp", "--epochs", "3", "--quiet", "--run-dir", folder / "a"},
                              {.environment = {{"GPUNN_MEMORY_TRACE", folder / "none/trace.csv"}}});
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, HasSubstr("none/trace.csv"));
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const Outcome full = run({"train", "digits-mlp", "--epochs", "3", "--quiet", "--run-dir", folder / "b"},
                           {.environment = {{"GPUNN_MEMORY_TRACE", "/dev/full"}}});
  EXPECT_EQ(full.code, 0) << full.err;
  EXPECT_THAT(full.err, HasSubstr("gpunn: memory trace /dev/full: cannot write"));
  EXPECT_EQ(full.err.find("cannot write"), full.err.rfind("cannot write")) << "said once";
}

}  // namespace
}  // namespace gpunn::testing
