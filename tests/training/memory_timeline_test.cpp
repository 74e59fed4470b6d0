#include "gpunn/training/memory_timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/storage.h"
#include "gpunn/training/report.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;

class MemoryTimelineTest : public ::testing::Test {
 protected:
  // What a step does: something lives for a while.
  void hold(std::size_t bytes, MemoryTag tag) {
    const MemoryTagScope scope(tag);
    Storage::allocate(runtime_.cpu(), bytes);
  }
  static std::size_t at(const MemorySample& s, MemoryTag tag) {
    return s.largest[static_cast<std::size_t>(tag)];
  }
  Runtime runtime_{RuntimeOptions{.threads = 1}};
  Device cpu_{runtime_.cpu()};
  MemoryTimeline timeline_;
};

TEST_F(MemoryTimelineTest, SamplesWhatEachTagHeldInBetween) {
  const MemoryTagScope scope(MemoryTag::weights);
  const Ref<Storage> weights = Storage::allocate(runtime_.cpu(), 1000);
  hold(500, MemoryTag::activations);
  timeline_.sample(cpu_, 1);
  hold(300, MemoryTag::activations);
  hold(200, MemoryTag::workspace);
  timeline_.sample(cpu_, 2);
  ASSERT_EQ(timeline_.samples().size(), 2u);
  const MemorySample &first = timeline_.samples()[0], &second = timeline_.samples()[1];
  EXPECT_EQ(at(first, MemoryTag::activations), 500u);
  EXPECT_EQ(at(first, MemoryTag::workspace), 0u);
  EXPECT_EQ(at(second, MemoryTag::activations), 300u);
  EXPECT_EQ(at(second, MemoryTag::workspace), 200u);
  EXPECT_EQ(at(second, MemoryTag::weights), 1000u);
  EXPECT_EQ(second.live_bytes, 1000u);
  EXPECT_EQ(second.step, 2);
  EXPECT_EQ(timeline_.peak_live_bytes(), 1500u);
  EXPECT_GE(second.reserved_bytes, 1000u);
}

TEST_F(MemoryTimelineTest, LeavesOutWhatBelongsToNoStep) {
  hold(500, MemoryTag::activations);
  timeline_.sample(cpu_, 1);
  hold(9000, MemoryTag::activations);
  timeline_.skip(cpu_);
  hold(300, MemoryTag::activations);
  timeline_.sample(cpu_, 2);
  EXPECT_EQ(at(timeline_.samples()[1], MemoryTag::activations), 300u);
  EXPECT_EQ(timeline_.peak_live_bytes(), 9000u) << "the peak is the device's";
}

TEST_F(MemoryTimelineTest, StaysShortAndKeepsEveryPeak) {
  constexpr std::int64_t kSteps = 5003;
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    hold(step == 1234 ? 90'000 : step == kSteps ? 70'000 : 100, MemoryTag::gradients);
    timeline_.sample(cpu_, step);
  }
  const auto& samples = timeline_.samples();
  EXPECT_LE(samples.size(), MemoryTimeline::kMaxSamples);
  EXPECT_GE(samples.size(), MemoryTimeline::kMaxSamples / 2);
  EXPECT_EQ(samples.back().step, kSteps);
  EXPECT_EQ(at(samples.back(), MemoryTag::gradients), 70'000u);
  int peaks = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_TRUE(i == 0 || samples[i - 1].step < samples[i].step);
    const bool peak = at(samples[i], MemoryTag::gradients) == 90'000;
    if (!peak) continue;
    ++peaks;
    EXPECT_GE(samples[i].step, 1234);
    EXPECT_LT(samples[i].step, 1234 + 16);
  }
  EXPECT_EQ(peaks, 1);
}

TEST_F(MemoryTimelineTest, BecomesAChartOfTheTagsThatWereUsed) {
  HtmlReport empty("none");
  report_memory(empty, timeline_);
  EXPECT_EQ(empty.html(), HtmlReport("none").html());
  for (int step = 1; step <= 20; ++step) {
    hold(3 << 20, MemoryTag::optimizer);
    hold(2 << 20, MemoryTag::activations);
    timeline_.sample(cpu_, step);
  }
  HtmlReport report("run");
  report_memory(report, timeline_);
  const std::string html = report.html();
  for (const char* text :
       {"<td>optimizer</td>", "3.00 MiB", "2.00 MiB", "reserved", "peak of all tags", "<td>0 B</td>"})
    EXPECT_THAT(html, HasSubstr(text));
  const std::string chart =
      html.substr(html.find("Memory by tag"), html.find("</svg>") - html.find("Memory by tag"));
  EXPECT_THAT(chart, HasSubstr("activations"));
  EXPECT_THAT(chart, ::testing::Not(HasSubstr("gradients"))) << "no curve for what holds nothing";
}

}  // namespace
}  // namespace gpunn
