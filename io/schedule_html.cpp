// The schedule as a page.
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/schedule_drawing.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/profile_summary.h"
#include "gpunn/io/schedule_view.h"

namespace gpunn {
namespace {

constexpr std::size_t kLargest = 20;
constexpr std::size_t kPageLimit = std::size_t{8} << 20;
constexpr double kMiB = 1024.0 * 1024.0;

struct Totals {
  std::int64_t issues = 0, copies = 0, host_waits = 0, host_wait_time = 0;
  std::uint64_t copied = 0;
  std::array<std::int64_t, 4> waits{};  // by ProfileOrder
};

Totals totals_of(const Profile& profile) {
  Totals t;
  for (const ProfileRecord& r : profile.records) {
    t.issues += r.kind == ProfileKind::op || r.kind == ProfileKind::copy;
    if (r.kind == ProfileKind::copy) {
      ++t.copies;
      t.copied += r.bytes;
    }
    if (r.kind == ProfileKind::wait) {
      ++t.host_waits;
      t.host_wait_time += r.host_time();
    }
    for (const ProfileWait& w : profile.waits_of(r)) ++t.waits[static_cast<std::size_t>(w.order)];
  }
  return t;
}

std::string fixed(double value, int decimals) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

void figures(HtmlReport& page, const Profile& profile) {
  const Totals t = totals_of(profile);
  const auto of = [&](ProfileOrder order) { return t.waits[static_cast<std::size_t>(order)]; };
  page.figure("recorded", duration_text(profile.duration),
              detail::concat(profile.threads.size(), " threads, ", profile.streams.size(), " streams"));
  page.figure("issues", std::to_string(t.issues), "ops and copies");
  if (!profile.streams.empty()) {
    page.figure("waits between streams", std::to_string(of(ProfileOrder::made)),
                detail::concat("dropped: ", of(ProfileOrder::same_stream), " same stream, ",
                               of(ProfileOrder::done), " done, ", of(ProfileOrder::covered), " covered"));
    page.figure("copied", fixed(static_cast<double>(t.copied) / kMiB, 2) + " MiB",
                detail::concat(t.copies, " copies"));
    if (t.host_waits > 0)
      page.figure("host waits", duration_text(t.host_wait_time), detail::concat(t.host_waits, " times"));
  }
  if (profile.lost > 0)
    page.figure("not recorded", std::to_string(profile.lost), "the recording was full", Tone::bad);
}

void largest(HtmlReport& page, const Profile& profile) {
  const std::vector<ProfileItem> items = largest_items(profile, kLargest);
  if (items.empty()) return;
  page.section("Where the time went");
  std::vector<std::vector<std::string>> rows;
  for (const ProfileItem& item : items)
    rows.push_back({item.op, item.layer, item.entry, std::to_string(item.count),
                    fixed(static_cast<double>(item.total) / 1e6, 3),
                    fixed(static_cast<double>(item.total) / 1e3 / static_cast<double>(item.count), 1),
                    fixed(static_cast<double>(item.longest) / 1e3, 1), fixed(100 * item.share, 1) + " %",
                    item.on_device ? "device" : "host"});
  page.table({"op", "layer", "by", "count", "total ms", "mean us", "longest us", "share", "measured on"},
             rows);
}

// A step of middle length, as the trainer marks them, or nothing.
const ProfileRecord* typical_step(const Profile& profile) {
  std::vector<const ProfileRecord*> steps;
  for (const ProfileRecord& r : profile.records)
    if (r.kind == ProfileKind::range && profile.text(r.name) == "step" && r.end > r.begin)
      steps.push_back(&r);
  if (steps.empty()) return nullptr;
  const auto middle = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() / 2);
  std::nth_element(steps.begin(), middle, steps.end(), [](const ProfileRecord* a, const ProfileRecord* b) {
    return a->host_time() < b->host_time();
  });
  return *middle;
}

// From the issue of the step's first work to the end of its last, which a device may reach after the host.
detail::ScheduleWindow window_of(const Profile& profile, const ProfileRecord& step) {
  std::int64_t to = step.end;
  for (const ProfileRecord& r : profile.records)
    if (r.timed && r.begin >= step.begin && r.end <= step.end) to = std::max(to, r.device_end);
  return {"What ran where in one step", step.begin, to, true};
}

void memory(HtmlReport& page, const Profile& profile) {
  std::map<std::uint32_t, std::pair<ChartSeries, ChartSeries>> devices;
  for (const Profile::Memory& m : profile.memory) {
    auto& [live, reserved] = devices[m.device];
    live.name = profile.text(m.device) + " live";
    reserved.name = profile.text(m.device) + " reserved";
    reserved.style = ChartSeries::Style::dashed;
    for (auto& [series, bytes] : {std::pair(&live, m.live), std::pair(&reserved, m.reserved)}) {
      series->x.push_back(static_cast<double>(m.time) / 1e6);
      series->y.push_back(static_cast<double>(bytes) / kMiB);
    }
  }
  LineChart chart{.title = "", .x_label = "ms", .y_label = "MiB", .height = 240};
  for (auto& [device, series] : devices) {
    if (series.first.x.size() < 2) continue;
    chart.series.push_back(std::move(series.first));
    chart.series.push_back(std::move(series.second));
  }
  if (chart.series.empty()) return;
  page.section("Memory");
  page.line_chart(chart);
}

void orders(HtmlReport& page, const Profile& profile) {
  if (profile.streams.empty()) return;
  std::map<ScheduleEdge::Kept, std::int64_t> counts;
  for (const ScheduleEdge& e : schedule_edges(profile)) ++counts[e.kept];
  page.section("How dependencies were kept");
  page.text(
      "Every op and copy is a reader or writer of storages. Each dependency that follows from it was kept "
      "in one of these ways.");
  const std::pair<ScheduleEdge::Kept, const char*> words[] = {
      {ScheduleEdge::Kept::event, "wait for an event of the other stream"},
      {ScheduleEdge::Kept::same_stream, "none needed: the same stream"},
      {ScheduleEdge::Kept::covered, "none needed: an earlier wait covers it"},
      {ScheduleEdge::Kept::done, "none needed: known to be over"},
      {ScheduleEdge::Kept::host, "by the host"},
      {ScheduleEdge::Kept::none, "NOT ordered"}};
  std::vector<std::vector<std::string>> rows;
  for (const auto& [kept, text] : words)
    if (counts[kept] > 0) rows.push_back({text, std::to_string(counts[kept])});
  if (!rows.empty()) page.table({"how", "dependencies"}, rows);
}

}  // namespace

std::string schedule_html(const Profile& profile, const ScheduleOptions& options) {
  HtmlReport page(options.title, "", kPageLimit);
  figures(page, profile);
  if (const ProfileRecord* const step = typical_step(profile)) {
    page.section("One step, of middle length");
    page.drawing(detail::draw_schedule(profile, window_of(profile, *step)));
  }
  largest(page, profile);
  if (profile.duration > 0 && !profile.records.empty()) {
    page.section("The whole recording");
    page.drawing(detail::draw_schedule(profile, {"What ran where in all", 0, profile.duration, false}));
  }
  orders(page, profile);
  memory(page, profile);
  return page.html();
}

}  // namespace gpunn
