// Dependencies, graph and page of a recording.
#include "gpunn/io/schedule_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpunn/io/profile_summary.h"
#include "tests/io/markup.h"
#include "tests/io/profile_testing.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Kept = ScheduleEdge::Kept;
using Kind = ScheduleEdge::Kind;

// a writes 1; b, on another stream, reads 1 and writes 2; c, on a's, overwrites 1; d, on b's, reads 2.
testing::ProfileMaker two_streams() {
  testing::ProfileMaker make;
  const auto s = make.stream("cuda:0", "compute"), t = make.stream("cuda:0", "copy-in");
  make.op("a", 0);
  make.timed(s, 1, 1000, 2000);
  make.storages({}, {1});
  make.op("b", 200);
  make.timed(t, 1, 2000, 3000);
  make.storages({1}, {2});
  make.waits({{s, ProfileOrder::made, 1}});
  make.op("c", 400);
  make.timed(s, 2, 3000, 4000);
  make.storages({}, {1});
  make.waits({{s, ProfileOrder::same_stream, 1}, {t, ProfileOrder::made, 1}});
  make.op("d", 600);
  make.timed(t, 2, 3000, 3500);
  make.storages({2}, {});
  make.waits({{t, ProfileOrder::same_stream, 1}});
  return make;
}

TEST(ScheduleEdgesTest, KindsAndHowTheyWereKept) {
  const Profile p = two_streams().p;
  const auto edges = schedule_edges(p);
  const auto expect = [&](std::size_t n, std::size_t from, std::size_t to, Kind kind, Kept kept) {
    ASSERT_LT(n, edges.size());
    EXPECT_EQ(edges[n].from, from);
    EXPECT_EQ(edges[n].to, to);
    EXPECT_EQ(edges[n].kind, kind);
    EXPECT_EQ(edges[n].kept, kept);
  };
  ASSERT_EQ(edges.size(), 4u);
  expect(0, 0, 1, Kind::read_after_write, Kept::event);
  expect(1, 0, 2, Kind::write_after_write, Kept::same_stream);
  expect(2, 1, 2, Kind::write_after_read, Kept::event);
  expect(3, 1, 3, Kind::read_after_write, Kept::same_stream);
}

TEST(ScheduleEdgesTest, AMissingWaitIsSeen) {
  Profile p = two_streams().p;
  p.records[1].waits = 0;
  EXPECT_EQ(schedule_edges(p)[0].kept, Kept::none);
  EXPECT_THAT(schedule_dot(p), HasSubstr("n0 -> n1 [color=red"));
  EXPECT_THAT(schedule_html(p), HasSubstr("NOT ordered"));
  p = two_streams().p;
  p.waits[0].number = 0;  // a wait for something earlier
  EXPECT_EQ(schedule_edges(p)[0].kept, Kept::none);
  p.waits[0] = {p.records[0].stream, ProfileOrder::covered, 1};
  EXPECT_EQ(schedule_edges(p)[0].kept, Kept::covered);
  p.waits[0].order = ProfileOrder::done;
  EXPECT_EQ(schedule_edges(p)[0].kept, Kept::done);
}

TEST(ScheduleEdgesTest, TheHostKeepsItsOwnOrder) {
  testing::ProfileMaker make;
  make.op("a", 0);
  make.storages({}, {1});
  make.op("in place", 100);
  make.storages({1}, {1});
  make.op("other", 200);
  make.storages({}, {2});
  const auto edges = schedule_edges(make.p);
  ASSERT_EQ(edges.size(), 1u) << "read and write of one storage are one dependency";
  EXPECT_EQ(edges[0].kind, Kind::read_after_write);
  EXPECT_EQ(edges[0].kept, Kept::host);
}

TEST(ScheduleEdgesTest, TheOrderOfIssueCountsNotThatOfRecords) {
  Profile p = two_streams().p;
  std::swap(p.records[0], p.records[1]);  // the reader's thread was faster to note what it did
  const auto edges = schedule_edges(p);
  ASSERT_EQ(edges.size(), 4u);
  EXPECT_EQ(edges[0].from, 1u);
  EXPECT_EQ(edges[0].to, 0u);
}

TEST(ScheduleDotTest, NodesEdgesAndLimit) {
  const Profile p = two_streams().p;
  const std::string dot = schedule_dot(p, {.title = "a \"title\""});
  EXPECT_THAT(dot, HasSubstr("label=\"a \\\"title\\\"\""));
  EXPECT_THAT(dot, HasSubstr("n0 [label=\"a\\ncuda:0 compute, 1.00 us\", fillcolor=\"#bcdcf5\"]"));
  EXPECT_THAT(dot, HasSubstr("n1 [label=\"b\\ncuda:0 copy-in, 1.00 us\", fillcolor=\"#f8d0b4\"]"));
  EXPECT_THAT(dot, HasSubstr("n0 -> n1 [style=bold, penwidth=2.5];"));
  EXPECT_THAT(dot, HasSubstr("n0 -> n2 [style=dashed"));
  EXPECT_THAT(dot, HasSubstr("n1 -> n2 [style=bold, penwidth=2.5, arrowhead=empty];"));
  const std::string few = schedule_dot(p, {.title = "x", .max_issues = 2});
  EXPECT_THAT(few, HasSubstr("x: the first 2 of 4 issues"));
  EXPECT_THAT(few, Not(HasSubstr("n2")));
}

TEST(ScheduleDotTest, HostileNames) {
  testing::ProfileMaker make;
  make.p.threads[0] = "t\"\n\\";
  ProfileRecord& r = make.op("o\"p\\\n\xff", 0);
  r.layer = r.name;
  make.storages({}, {1});
  const std::string dot = schedule_dot(make.p);
  EXPECT_THAT(dot,
              HasSubstr("\"o\\\"p\\\\ \xef\xbf\xbd\\no\\\"p\\\\ \xef\xbf\xbd\\ncpu, t\\\" \\\\, 100 ns\""));
}

TEST(ScheduleHtmlTest, ThePageHoldsWhatWasRecorded) {
  testing::ProfileMaker make = two_streams();
  make.op("step", 0).kind = ProfileKind::range;
  make.p.records.back().end = 1000;
  make.op("synchronize", 1000).kind = ProfileKind::wait;
  const auto device = make.name("cuda:0");
  make.p.memory = {{10, device, 1 << 20, 2 << 20}, {900, device, 1 << 20, 2 << 20}};
  make.p.lost = 3;
  const std::string page = schedule_html(make.p, {.title = "<what> ran"});
  testing::expect_well_formed(page.substr(page.find("<body>"), page.find("</html>") - page.find("<body>")));
  for (const char* part :
       {"&lt;what&gt; ran", "copy-in", "One step", "The whole recording", "Where the time went",
        "wait for an event of the other stream", "waits for compute, issue 1", "cuda:0 live", "not recorded"})
    EXPECT_THAT(page, HasSubstr(part));
  for (const char* part : {"<script", "src=\"http", "NOT ordered"}) EXPECT_THAT(page, Not(HasSubstr(part)));
  // The step's picture reaches to the end of what the step issued, 4 us; arrows of both waits are in it.
  EXPECT_THAT(page, HasSubstr(">4 us</text>"));
}

TEST(ScheduleHtmlTest, HostileNamesAndEmptyRecordings) {
  testing::ProfileMaker make;
  make.p.threads[0] = "<b>\xff";
  ProfileRecord& r = make.op("</svg>&\"'", 0);
  r.layer = r.entry = r.name;
  r.end = 900'000;
  const std::string page = schedule_html(make.p);
  testing::expect_well_formed(page.substr(page.find("<body>"), page.find("</html>") - page.find("<body>")));
  EXPECT_THAT(page, Not(HasSubstr("</svg>&")));
  EXPECT_THAT(schedule_html(Profile{}), HasSubstr("</html>"));
}

TEST(ScheduleHtmlTest, LongRecordingsStayWithinBounds) {
  testing::ProfileMaker make;
  const auto name = make.name("op");
  for (int i = 0; i < 100'000; ++i) {
    ProfileRecord r;
    r.name = name;
    r.begin = i * 10;
    r.end = i * 10 + 8;
    r.backward = i % 2 != 0;
    make.p.records.push_back(r);
  }
  const std::string page = schedule_html(make.p);
  EXPECT_LT(page.size(), std::size_t{2} << 20);
  EXPECT_THAT(page, Not(HasSubstr("left out")));
}

class ScheduleDeviceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ScheduleDeviceTest);

TEST_P(ScheduleDeviceTest, EveryDependencyOfARealRecordingIsKept) {
  if (device().is_cpu()) GTEST_SKIP() << "one stream";
  const Profile p = testing::record_streams(device());
  const auto edges = schedule_edges(p);
  ASSERT_EQ(edges.size(), 1u);
  EXPECT_EQ(edges[0].kept, Kept::event);
  EXPECT_THAT(schedule_dot(p), HasSubstr("style=bold"));
}

TEST(ProfileSummaryTest, SumsUpByOpLayerAndImplementation) {
  testing::ProfileMaker make;
  const auto s = make.stream("cuda:0", "compute");
  const auto matmul = make.name("matmul"), fc1 = make.name("fc1"), cpu = make.name("cpu");
  for (int i = 0; i < 3; ++i) {
    ProfileRecord& r = make.op("", 0);
    r.name = matmul;
    r.layer = fc1;
    r.entry = cpu;
    r.end = 1000 * (i + 1);
    r.backward = i == 2;
  }
  make.op("copy", 0).kind = ProfileKind::copy;
  make.timed(s, 1, 0, 10'000);
  make.op("step", 0).kind = ProfileKind::range;
  const auto items = largest_items(make.p, 10);
  ASSERT_EQ(items.size(), 3u);
  EXPECT_EQ(items[0].op, "copy");
  EXPECT_TRUE(items[0].on_device);
  EXPECT_EQ(items[0].total, 10'000);
  EXPECT_EQ(items[0].host, 100);
  EXPECT_DOUBLE_EQ(items[0].share, 10.0 / 16);
  EXPECT_EQ(items[1].op, "matmul");
  EXPECT_EQ(items[1].count, 2);
  EXPECT_EQ(items[1].total, 3000);
  EXPECT_EQ(items[1].longest, 2000);
  EXPECT_EQ(items[2].op, "matmul backward");
  EXPECT_EQ(largest_items(make.p, 1).size(), 1u);
  const std::string text = items_text(items);
  EXPECT_THAT(text, HasSubstr("matmul backward"));
  EXPECT_THAT(text, HasSubstr("62.5 %"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_EQ(items_text({}), "");
}

TEST(ProfileSummaryTest, Durations) {
  EXPECT_EQ(duration_text(0), "0 ns");
  EXPECT_EQ(duration_text(350), "350 ns");
  EXPECT_EQ(duration_text(1234), "1.23 us");
  EXPECT_EQ(duration_text(12'345), "12.3 us");
  EXPECT_EQ(duration_text(999'960), "1.00 ms");
  EXPECT_EQ(duration_text(123'456'789), "123.5 ms");
  EXPECT_EQ(duration_text(7'890'000'000), "7.89 s");
}

}  // namespace
}  // namespace gpunn
