// The trace as a viewer would read it.
#include "gpunn/io/chrome_trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/tensor.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "tests/io/io_testing.h"
#include "tests/io/profile_testing.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using Row = std::pair<std::int64_t, std::int64_t>;  // process, thread

struct Slice {
  std::int64_t begin, end;  // nanoseconds
  std::string name;
};

std::int64_t nanoseconds(const JsonValue& microseconds) {
  return std::llround(microseconds.as_number() * 1000);
}

// A trace, read back and checked: what every trace must hold is an expectation here.
struct ReadTrace {
  std::map<Row, std::string> threads;
  std::map<std::int64_t, std::string> processes;
  std::map<Row, std::vector<Slice>> rows;
  std::vector<std::pair<double, double>> memory;  // live, reserved beyond it
  std::map<std::string, int> arrows;              // complete ones, by name

  explicit ReadTrace(const std::string& text) {
    const JsonValue json = JsonValue::parse(text, "trace");
    std::map<std::int64_t, std::pair<const JsonValue*, const JsonValue*>> flows;
    for (const JsonValue& e : json.as_array()) {
      const std::string& phase = e.at("ph").as_string();
      const Row row(e.at("pid").as_int(), e.at("tid").as_int());
      if (phase == "M") {
        name(e, row);
      } else if (phase == "X") {
        EXPECT_GE(nanoseconds(e.at("dur")), 0);
        EXPECT_FALSE(e.at("cat").as_string().empty());
        const std::int64_t begin = nanoseconds(e.at("ts"));
        rows[row].push_back({begin, begin + nanoseconds(e.at("dur")), e.at("name").as_string()});
      } else if (phase == "C") {
        const JsonValue& args = e.at("args");
        memory.emplace_back(args.at("live").as_number(), args.at("reserved but free").as_number());
      } else if (phase == "s" || phase == "f") {
        auto& [from, to] = flows[e.at("id").as_int()];
        const JsonValue*& side = phase == "s" ? from : to;
        EXPECT_EQ(side, nullptr) << "an end of an arrow comes twice";
        side = &e;
      } else {
        ADD_FAILURE() << "phase " << phase;
      }
    }
    for (const auto& [id, ends] : flows) arrow(ends.first, ends.second);
    for (auto& [row, slices] : rows) {
      EXPECT_TRUE(threads.contains(row)) << "a row without a name";
      nested(slices);
    }
  }

  void name(const JsonValue& e, Row row) {
    if (e.at("name").as_string() == "process_name")
      processes[row.first] = e.at("args").at("name").as_string();
    else if (e.at("name").as_string() == "thread_name")
      threads[row] = e.at("args").at("name").as_string();
    else
      EXPECT_NO_THROW(e.at("args").at("sort_index").as_int());
  }

  // Both ends are there, they point forward, and each lies in a slice of its row.
  void arrow(const JsonValue* from, const JsonValue* to) {
    ASSERT_TRUE(from && to);
    EXPECT_EQ(from->at("name").as_string(), to->at("name").as_string());
    EXPECT_EQ(from->at("cat").as_string(), to->at("cat").as_string());
    EXPECT_EQ(to->at("bp").as_string(), "e");
    EXPECT_LE(nanoseconds(from->at("ts")), nanoseconds(to->at("ts")) + 1000);
    for (const JsonValue* end : {from, to}) {
      const std::int64_t at = nanoseconds(end->at("ts"));
      const auto& slices = rows[{end->at("pid").as_int(), end->at("tid").as_int()}];
      EXPECT_TRUE(std::any_of(slices.begin(), slices.end(), [&](const Slice& s) {
        return s.begin <= at && (at < s.end || (end == to && at <= s.end));
      })) << "an arrow in the air";
    }
    ++arrows[from->at("name").as_string()];
  }

  // Slices of a row lie apart or within each other; on a stream, apart.
  void nested(std::vector<Slice>& slices) {
    std::sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
    });
    std::vector<Slice> open;
    for (const Slice& s : slices) {
      while (!open.empty() && open.back().end <= s.begin) open.pop_back();
      if (!open.empty()) {
        EXPECT_LE(s.end, open.back().end) << open.back().name << " and " << s.name;
      }
      open.push_back(s);
    }
  }

  std::vector<Slice> row_named(const std::string& process, const std::string& thread) const {
    for (const auto& [row, name] : threads)
      if (name == thread && processes.at(row.first) == process && rows.contains(row)) return rows.at(row);
    ADD_FAILURE() << "no row " << process << ", " << thread;
    return {};
  }
};

TEST(ChromeTraceTest, RowsSlicesAndArrows) {
  testing::ProfileMaker make;
  const auto a = make.stream("cuda:0", "compute"), b = make.stream("cuda:0", "copy-in");
  const auto c = make.stream("cuda:1", "compute");
  make.op("first", 1000).bytes = 64;
  make.timed(a, 1, 5000, 9001);
  make.op("second", 2000);
  make.timed(b, 1, 9001, 9002);
  make.waits({{a, ProfileOrder::made, 1}, {b, ProfileOrder::same_stream, 1}});
  make.op("elsewhere", 3000);
  make.timed(c, 1, 4000, 5000);
  make.waits({{b, ProfileOrder::made, 0}});  // of work before the recording: no arrow
  make.p.memory = {{500, make.name("cuda:0"), 100, 400}, {600, make.name("cpu"), 7, 7}};
  const ReadTrace trace(chrome_trace(make.p));
  EXPECT_EQ(trace.row_named("host", "main").size(), 3u);
  ASSERT_EQ(trace.row_named("cuda:0", "compute").size(), 1u);
  EXPECT_EQ(trace.row_named("cuda:0", "compute")[0].begin, 5000);
  EXPECT_EQ(trace.row_named("cuda:0", "compute")[0].end, 9001) << "to the nanosecond";
  EXPECT_EQ(trace.row_named("cuda:0", "copy-in")[0].name, "second");
  EXPECT_EQ(trace.row_named("cuda:1", "compute")[0].name, "elsewhere");
  EXPECT_EQ(trace.arrows.at("issue"), 3);
  EXPECT_EQ(trace.arrows.at("wait"), 1);
  EXPECT_EQ(trace.memory, (std::vector<std::pair<double, double>>{{100, 300}, {7, 0}}));
}

TEST(ChromeTraceTest, HostileNames) {
  testing::ProfileMaker make;
  const std::string nasty = "quote\" backslash\\ line\n\x01 \xff\xfe </script>";
  make.p.threads[0] = nasty;
  make.stream(nasty, nasty);
  ProfileRecord& r = make.op(nasty, 10);
  r.layer = r.entry = r.name;
  make.timed(0, 1, 20, 30);
  const ReadTrace trace(chrome_trace(make.p));
  const std::string shown = "quote\" backslash\\ line\n\x01 \xef\xbf\xbd\xef\xbf\xbd </script>";
  EXPECT_EQ(trace.row_named("host", shown)[0].name, shown);
  EXPECT_EQ(trace.row_named(shown, shown)[0].name, shown);
}

TEST(ChromeTraceTest, EmptyRecording) {
  const ReadTrace trace(chrome_trace(Profile{}));
  EXPECT_TRUE(trace.rows.empty());
}

TEST(ChromeTraceTest, FilesAreWritten) {
  const testing::TemporaryFolder folder;
  write_chrome_trace(folder.file("trace.json"), Profile{});
  EXPECT_EQ(read_text_file(folder.file("trace.json")), chrome_trace(Profile{}));
  EXPECT_THROW(write_chrome_trace(folder.file("no/trace.json"), Profile{}), Error);
}

class ChromeTraceDeviceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ChromeTraceDeviceTest);

TEST_P(ChromeTraceDeviceTest, ARealRecording) {
  const Tensor x = full({1000}, 2, {.device = device(), .requires_grad = true});
  Profiler profiler;
  {
    const ProfileRange step("step");
    const LayerScope layer("head");
    const Tensor y = x.to(DType::f64).clone();
    y.backward(ones_like(y.detach()));
    EXPECT_EQ(x.grad().to_vector<float>()[3], 1);
  }
  const ReadTrace trace(chrome_trace(profiler.stop()));
  const auto main = trace.row_named("host", "main");
  for (const char* name : {"step", "head", "head backward", "to", "clone", "to backward"})
    EXPECT_TRUE(std::any_of(main.begin(), main.end(), [&](const Slice& s) { return s.name == name; }))
        << name;
  EXPECT_FALSE(trace.memory.empty());
  if (!device().is_cpu()) {
    EXPECT_GE(trace.row_named("cuda:0", "compute").size(), 4u);
  }
}

TEST_P(ChromeTraceDeviceTest, StreamsHaveRowsThatOverlap) {
  if (device().is_cpu()) GTEST_SKIP() << "one stream";
  const ReadTrace trace(chrome_trace(testing::record_streams(device())));
  const auto first = trace.row_named("cuda:0", "user 1"), beside = trace.row_named("cuda:0", "user 2"),
             second = trace.row_named("cuda:0", "user 3");
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  ASSERT_EQ(beside.size(), 1u);
  EXPECT_LT(std::max(first[0].begin, beside[0].begin), std::min(first[0].end, beside[0].end));
  EXPECT_LE(first[0].end, second[0].begin + 1000) << "the reader waits for the writer";
  EXPECT_EQ(trace.arrows.at("issue"), 3);
  EXPECT_EQ(trace.arrows.at("wait"), 1);
}

}  // namespace
}  // namespace gpunn
