#include "gpunn/training/report.h"

#include <algorithm>
#include <ctime>

#include "gpunn/core/build_info.h"
#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

void report_history(HtmlReport& report, const std::vector<EpochRecord>& history) {
  ChartSeries train{.name = "train", .y = {}}, test{.name = "test", .y = {}},
      accuracy{.name = "test", .y = {}}, rate{.name = "learning rate", .y = {}};
  for (const EpochRecord& r : history) {
    const auto epoch = static_cast<double>(r.epoch);
    train.x.push_back(epoch);
    train.y.push_back(r.train_loss);
    if (r.learning_rate) {
      rate.x.push_back(epoch);
      rate.y.push_back(*r.learning_rate);
    }
    if (!r.test) continue;
    test.x.push_back(epoch);
    test.y.push_back(r.test->loss);
    if (!r.test->accuracy) continue;
    accuracy.x.push_back(epoch);
    accuracy.y.push_back(100 * *r.test->accuracy);
  }
  if (train.y.empty()) return;
  LineChart losses{.title = "Loss", .x_label = "epoch", .y_label = "mean loss", .series = {train}};
  if (!test.y.empty()) losses.series.push_back(test);
  losses.width = accuracy.y.empty() ? kFullWidth : kHalfWidth;
  report.line_chart(losses);
  if (!accuracy.y.empty())
    report.line_chart({.title = "Accuracy",
                       .x_label = "epoch",
                       .y_label = "% of the test rows",
                       .series = {accuracy},
                       .width = kHalfWidth});
  if (!rate.y.empty())
    report.line_chart(
        {.title = "Learning rate", .x_label = "epoch", .y_label = "at its last step", .series = {rate}});
}

namespace {

/// A unit that suits a chart's largest value.
struct ByteUnit {
  const char* name = "KiB";
  double bytes = 0x1p10;
  explicit ByteUnit(std::size_t largest) {
    if (largest >= std::size_t{1} << 30)
      *this = {"GiB", 0x1p30};
    else if (largest >= std::size_t{1} << 20)
      *this = {"MiB", 0x1p20};
  }
  double of(std::size_t n) const { return static_cast<double>(n) / bytes; }

 private:
  ByteUnit(const char* unit, double size) : name(unit), bytes(size) {}
};

}  // namespace

void report_memory(HtmlReport& report, const MemoryTimeline& memory) {
  const std::vector<MemorySample>& samples = memory.samples();
  if (samples.empty()) return;
  const ByteUnit unit(memory.peak_reserved_bytes());
  const auto curve = [&](std::string name, auto value, ChartSeries::Style style) {
    ChartSeries series{.name = std::move(name), .style = style};
    for (const MemorySample& s : samples) {
      series.x.push_back(static_cast<double>(s.step));
      series.y.push_back(unit.of(value(s)));
    }
    return series;
  };
  LineChart chart{.title = "Memory by tag", .x_label = "step", .y_label = unit.name};
  chart.references = {{"peak of all tags", unit.of(memory.peak_live_bytes())}};
  std::vector<std::vector<std::string>> rows;
  for (int i = 0; i < kMemoryTags; ++i) {
    const auto tag = static_cast<std::size_t>(i);
    std::size_t most = 0;
    for (const MemorySample& s : samples) most = std::max(most, s.largest[tag]);
    rows.push_back({name_of(static_cast<MemoryTag>(i)), detail::bytes_text(most)});
    // What is too little to see would only take a colour.
    if (most > memory.peak_live_bytes() / 200)
      chart.series.push_back(curve(
          rows.back()[0], [tag](const MemorySample& s) { return s.largest[tag]; }, ChartSeries::Style::line));
  }
  chart.series.push_back(
      curve("reserved", [](const MemorySample& s) { return s.reserved_bytes; }, ChartSeries::Style::dashed));
  report.figure("peak memory", detail::bytes_text(memory.peak_live_bytes()), "all tags at once");
  report.figure("peak reserved", detail::bytes_text(memory.peak_reserved_bytes()), "taken from the device");
  report.line_chart(chart);
  report.table({"held for", "most in a training step"}, rows);
  report.text(
      "The curves are what each tag held at most between one sample and the next. Tags need not have been at "
      "their largest together, so they can add up to more than the peak. The peaks include evaluation, the "
      "curves do not. Reserved is what the allocator has taken from the device, memory kept for reuse "
      "included.");
}

void report_settings(HtmlReport& report, Settings& settings) {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Field& field : settings.fields()) rows.emplace_back(field.name, field_text(field));
  report.key_values(rows);
}

void report_environment(HtmlReport& report, Device device) {
  const BuildInfo& build = build_info();
  const DeviceInfo& info = device.context().api().info();
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S UTC", &utc);
  const Runtime& runtime = device.context().runtime();
  report.key_values({{"gpunn", std::string(build.version) + " (" + build.commit + ")"},
                     {"build", std::string(build.mode) + ", " + build.build_type + ", " + build.compiler},
                     {"device", to_string(device) + ", " + info.name + (info.emulated ? " (emulated)" : "")},
                     {"CPU threads", std::to_string(device.context().runtime().pool().threads())},
                     {"deterministic", runtime.options().deterministic ? "yes" : "no"},
                     {"finished", stamp}});
}

}  // namespace gpunn
