#include "gpunn/training/report.h"

#include <ctime>

#include "gpunn/core/build_info.h"
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
