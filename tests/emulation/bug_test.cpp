// Every planted bug is caught by the builds that should catch it, and its correct twin by none:
// emulation_bugs runs in a process of its own for each row.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

namespace gpunn::test {
namespace {

// How a bug shows. `nothing` demands a right answer in silence (the twins); `luck` demands nothing: what
// happens depends on timing or is beyond this build.
enum class Sign { nothing, luck, wrong, report, asan, ubsan, tsan };

struct Row {
  const char* name;
  Sign plain, asan, tsan;  // build: g++ -O2; with ASan and UBSan; with TSan
};

using enum Sign;
constexpr Row kRows[] = {
    {"sync_ok", nothing, nothing, nothing},
    {"sync_raw", wrong, wrong, tsan},
    {"sync_war", wrong, wrong, tsan},
    {"syncwarp_ok", nothing, nothing, nothing},
    {"syncwarp", wrong, wrong, tsan},
    {"fence_ok", nothing, nothing, nothing},
    {"fence", luck, luck, tsan},
    {"stream_ok", nothing, nothing, nothing},
    {"stream_event", luck, luck, tsan},
    {"stream_event_late", luck, luck, tsan},
    {"host_read", luck, luck, tsan},
    {"cp_async_ok", nothing, nothing, nothing},
    {"cp_async", wrong, wrong, tsan},
    {"shared_ok", nothing, nothing, nothing},
    {"shared_oob_static", report, ubsan, luck},
    {"shared_oob_neighbour", report, ubsan, luck},
    {"shared_oob_dynamic", report, asan, luck},
    {"global_ok", nothing, nothing, nothing},
    {"global_oob", report, asan, luck},
    {"uninit_ok", nothing, nothing, nothing},
    {"uninit_sum", wrong, wrong, wrong},
    {"uninit_max", wrong, wrong, wrong},
    {"misaligned_ok", nothing, nothing, nothing},
    {"misaligned", luck, ubsan, luck},
    {"divergent_ok", nothing, nothing, nothing},
    {"divergent", report, report, report},
    {"early_exit_ok", nothing, nothing, nothing},
    {"early_exit", report, report, report},
    {"shuffle_mask_ok", nothing, nothing, nothing},
    {"shuffle_mask", report, report, report},
    {"block_race_ok", nothing, nothing, nothing},
    {"block_race", luck, luck, tsan},
    {"livelock_ok", nothing, nothing, nothing},
    {"livelock", report, report, report},
    {"hopper_ok", nothing, nothing, nothing},
    {"proxy_fence", luck, luck, tsan},
    {"mbarrier_no_wait", wrong, wrong, tsan},
    {"mbarrier_parity", wrong, wrong, tsan},
    {"mbarrier_bytes", report, report, report},
    {"wgmma_no_wait", wrong, wrong, wrong},
    {"wgmma_stride", wrong, wrong, wrong},
    {"wgmma_reuse", wrong, wrong, tsan},
    {"tma_misaligned", report, report, report},
    {"grid_ok", nothing, nothing, nothing},
    {"grid_split_ok", nothing, nothing, nothing},
    {"grid_before_read", wrong, wrong, tsan},
    {"grid_before_reuse", wrong, wrong, tsan},
    {"grid_write_after_arrive", luck, luck, tsan},
    {"grid_release", luck, luck, tsan},
    {"grid_acquire", luck, luck, tsan},
    {"grid_missing_arrival", report, report, report},
    {"grid_ordinary_launch", report, report, report},
    {"grid_streams_ok", nothing, nothing, nothing},
    {"grid_streams_event", luck, luck, tsan},
    {"grid_shared_ok", nothing, nothing, nothing},
    {"grid_shared_oob", report, ubsan, luck},
    {"higher_block_ok", nothing, nothing, nothing},
    {"higher_block", report, report, report},
};

#if defined(__SANITIZE_THREAD__)
constexpr Sign Row::* kBuild = &Row::tsan;
#elif defined(__SANITIZE_ADDRESS__)
constexpr Sign Row::* kBuild = &Row::asan;
#else
constexpr Sign Row::* kBuild = &Row::plain;
#endif

struct Outcome {
  int status;  // exit code, -1 if a signal ended it
  std::string text;
};

Outcome run_bugs(const std::string& environment, const std::string& name) {
  const std::string command = "exec env GPUNN_EMU_WATCHDOG_MS=300 TSAN_OPTIONS=atexit_sleep_ms=0 " +
                              environment + " timeout 60 '" GPUNN_EMU_BUGS "' " + name + " 2>&1";
  Outcome outcome{-1, {}};
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part;
  for (std::size_t n; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;)
    outcome.text.append(part.data(), n);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
  return outcome;
}

bool shows(const Outcome& outcome, Sign sign) {
  const auto has = [&](const char* text) { return outcome.text.find(text) != std::string::npos; };
  const bool sanitizer = has("Sanitizer") || has("runtime error:"), reported = has("gpunn emulation:");
  switch (sign) {
    case nothing:
      return outcome.status == 0 && has("right answer") && !sanitizer && !reported;
    case wrong:
      return outcome.status != 0 && has("WRONG ANSWER");
    case report:
      return outcome.status != 0 && reported && (has("kernel ") || has("device memory"));
    case asan:
      return outcome.status != 0 && has("ERROR: AddressSanitizer");
    case ubsan:
      return outcome.status != 0 && has("runtime error:");
    case tsan:
      return outcome.status != 0 && has("WARNING: ThreadSanitizer: data race");
    case luck:
      break;
  }
  return true;
}

class PlantedBugRace : public testing::TestWithParam<Row> {};

TEST_P(PlantedBugRace, IsCaughtByTheBuildThatShould) {
  const Outcome outcome = run_bugs("", GetParam().name);
  ASSERT_NE(outcome.status, 9) << outcome.text;    // no such case
  ASSERT_NE(outcome.status, 124) << outcome.text;  // timed out
  EXPECT_TRUE(shows(outcome, GetParam().*kBuild)) << "exit " << outcome.status << "\n" << outcome.text;
}

std::string row_name(const testing::TestParamInfo<Row>& row) { return row.param.name; }
INSTANTIATE_TEST_SUITE_P(Bugs, PlantedBugRace, testing::ValuesIn(kRows), row_name);

// The twins stay silent under other orders, moments and delays too.
TEST(PlantedBugTwinsRace, AreCleanInOtherOrders) {
  for (const char* environment : {"GPUNN_EMU_SCHEDULE=reverse GPUNN_EMU_ASYNC=early",
                                  "GPUNN_EMU_SCHEDULE=pct GPUNN_EMU_ASYNC=random GPUNN_EMU_JITTER_US=500"})
    for (const Row& row : kRows) {
      if (row.plain != nothing) continue;
      const Outcome outcome = run_bugs(environment, row.name);
      EXPECT_TRUE(shows(outcome, nothing)) << row.name << " with " << environment << "\n" << outcome.text;
    }
}

// A barrier missing before shared memory is used again shows only when one warp runs ahead of another.
TEST(PlantedBugOrders, WarpPrioritiesShowAMissingBarrier) {
  int wrong_answers = 0;
  for (int seed = 1; seed <= 3; ++seed)
    wrong_answers +=
        run_bugs("GPUNN_EMU_SCHEDULE=pct GPUNN_EMU_SEED=" + std::to_string(seed), "sync_war").status != 0;
  EXPECT_EQ(wrong_answers, 3);
}

// A write behind the arrival is seen only when another block goes on between the two.
TEST(PlantedBugOrders, OtherBlocksShowAWriteAfterTheArrival) {
  int wrong_answers = 0;
  for (int seed = 1; seed <= 3; ++seed)
    for (const char* schedule : {"pct", "random"})
      wrong_answers +=
          run_bugs("GPUNN_EMU_SCHEDULE=" + std::string(schedule) + " GPUNN_EMU_SEED=" + std::to_string(seed),
                   "grid_write_after_arrive")
              .status != 0;
  EXPECT_GE(wrong_answers, 4);
}

// A process may end while kernels run and more wait: at once, with its own exit code.
TEST(ProcessRace, ExitsWithWorkPending) {
  for (const char* name : {"exit_pending", "exit_grid"}) {
    const auto start = std::chrono::steady_clock::now();
    const Outcome outcome = run_bugs("GPUNN_EMU_THREADS=1", name);
    EXPECT_EQ(outcome.status, 7) << outcome.text;
    EXPECT_EQ(outcome.text, "") << name;  // nothing that a thread holds is a leak
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  }
}

TEST(ProcessRace, EnvironmentDecidesDevicesAndMemory) {
  EXPECT_EQ(run_bugs("GPUNN_EMU_DEVICES=3 GPUNN_EMU_MEMORY_MB=64", "devices").text,
            "3 devices, cudaSuccess\n64 MiB\n");
  EXPECT_EQ(run_bugs("GPUNN_EMU_DEVICES=0", "devices").text, "0 devices, cudaErrorNoDevice\n");
  const std::string text = run_bugs("GPUNN_EMU_DEVICES=many GPUNN_EMU_SCHEDULE=best", "sync_ok").text;
  EXPECT_NE(text.find("GPUNN_EMU_DEVICES=many ignored: expected a number from 0 to 64"), std::string::npos)
      << text;
  EXPECT_NE(text.find("GPUNN_EMU_SCHEDULE=best ignored: expected seq or reverse or random or pct"),
            std::string::npos);
}

}  // namespace
}  // namespace gpunn::test
