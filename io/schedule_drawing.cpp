#include "gpunn/io/detail/schedule_drawing.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/profile_summary.h"

namespace gpunn::detail {
namespace {

constexpr double kWidth = kFullWidth, kLabels = 128, kTop = 8, kLegend = 24, kBox = 22, kStrip = 14,
                 kGap = 10, kAxis = 34;
constexpr double kNarrow = 1.5;        // pixels: boxes below it are drawn together
constexpr std::size_t kMaxLanes = 24;  // more threads and streams than that are counted
constexpr std::size_t kMaxArrows = 400;

enum class Colour : std::uint8_t { forward, backward, copy, other, waiting, range };
constexpr std::array kFills{"f0", "f1", "f2", "f3", "f4", "quiet"};
constexpr std::array kColourNames{"op", "op of backward", "copy", "host thread that helps", "host waits"};

Colour colour_of(const ProfileRecord& r) {
  switch (r.kind) {
    case ProfileKind::op:
      return r.backward ? Colour::backward : Colour::forward;
    case ProfileKind::copy:
      return Colour::copy;
    case ProfileKind::wait:
      return Colour::waiting;
    case ProfileKind::callback:
      return Colour::other;
    case ProfileKind::range:
    case ProfileKind::layer:
      break;
  }
  return Colour::range;
}

struct Box {
  std::int64_t from, to;
  Colour colour;
  const ProfileRecord* record;
  std::size_t count = 1;  // records drawn together
};

// A lane has boxes and, for a thread, the outermost ranges as a strip above them.
struct Lane {
  std::string name, group;
  std::vector<Box> strip, boxes;
  double top = 0;
  double height() const { return (strip.empty() ? 0 : kStrip + 2) + kBox; }
  double boxes_top() const { return top + (strip.empty() ? 0 : kStrip + 2); }
};

class Drawing {
 public:
  Drawing(const Profile& profile, const ScheduleWindow& window) : profile_(profile), window_(window) {
    collect();
    place();
  }

  Svg draw() {
    Svg svg(kWidth, height_, window_.title);
    legend(svg);
    axis(svg);
    for (Lane& lane : lanes_) draw_lane(svg, lane);
    if (window_.arrows) arrows(svg);
    if (left_out_ > 0)
      svg.text(0, height_ - 6, concat(left_out_, " more threads and streams are not drawn"), "muted");
    return svg;
  }

 private:
  double x(std::int64_t time) const {
    const double at =
        static_cast<double>(time - window_.from) / static_cast<double>(window_.to - window_.from);
    return kLabels + std::clamp(at, 0.0, 1.0) * (kWidth - kLabels);
  }
  bool seen(std::int64_t from, std::int64_t to) const { return to > window_.from && from < window_.to; }

  void collect() {
    std::vector<Lane> threads(profile_.threads.size()), streams(profile_.streams.size());
    for (std::size_t i = 0; i < threads.size(); ++i) threads[i].name = profile_.threads[i];
    for (std::size_t i = 0; i < streams.size(); ++i) {
      streams[i].name = profile_.streams[i].name;
      streams[i].group = profile_.streams[i].device;
    }
    for (const ProfileRecord& r : profile_.records) {
      const Colour colour = colour_of(r);
      if (seen(r.begin, r.end) && r.kind != ProfileKind::layer) {
        Lane& lane = threads[r.thread];
        (r.kind == ProfileKind::range ? lane.strip : lane.boxes).push_back({r.begin, r.end, colour, &r});
      }
      if (r.stream == ProfileRecord::kNone) continue;
      const Box box{r.timed ? r.device_begin : r.begin, r.timed ? r.device_end : r.end, colour, &r};
      if (seen(box.from, box.to)) streams[r.stream].boxes.push_back(box);
    }
    for (auto* const group : {&threads, &streams})
      for (Lane& lane : *group) {
        if (lane.boxes.empty() && lane.strip.empty()) continue;
        if (lanes_.size() >= kMaxLanes) {
          ++left_out_;
          continue;
        }
        keep_outermost(lane.strip);
        if (lane.boxes.empty()) {  // a thread that only helps, such as one of the pool
          lane.boxes.swap(lane.strip);
          for (Box& box : lane.boxes) box.colour = Colour::other;
        }
        std::stable_sort(lane.boxes.begin(), lane.boxes.end(),
                         [](const Box& a, const Box& b) { return a.from < b.from; });
        if (group == &streams)
          stream_lanes_[static_cast<std::uint32_t>(&lane - streams.data())] = lanes_.size();
        lanes_.push_back(std::move(lane));
      }
  }

  // Of ranges within ranges only those at the two outermost levels are told apart by a reader: the innermost
  // of them ("forward" within "step") says most, so what holds others gives way to them where they are.
  static void keep_outermost(std::vector<Box>& strip) {
    std::stable_sort(strip.begin(), strip.end(), [](const Box& a, const Box& b) {
      return a.from != b.from ? a.from < b.from : a.to > b.to;
    });
    std::vector<Box> kept;
    std::vector<Box> open;  // ranges that hold the next one
    const auto depth_of = [&](const Box& b) {
      while (!open.empty() && open.back().to <= b.from) open.pop_back();
      open.push_back(b);
      return open.size();
    };
    for (const Box& b : strip) {
      const std::size_t depth = depth_of(b);
      if (depth > 2) continue;
      if (depth == 2 && !kept.empty() && kept.back().record == open[0].record) kept.pop_back();
      kept.push_back(b);
    }
    strip = std::move(kept);
  }

  void place() {
    double y = kTop + kLegend;
    for (Lane& lane : lanes_) {
      lane.top = y;
      y += lane.height() + kGap;
    }
    bottom_ = y;
    height_ = y + kAxis + (left_out_ > 0 ? 20 : 0);
  }

  void legend(Svg& svg) {
    double at = 0;
    std::array<bool, kColourNames.size()> used{};
    for (const Lane& lane : lanes_)
      for (const Box& b : lane.boxes)
        if (static_cast<std::size_t>(b.colour) < used.size()) used[static_cast<std::size_t>(b.colour)] = true;
    for (std::size_t c = 0; c < kColourNames.size(); ++c) {
      if (!used[c]) continue;
      svg.rect(at, kTop - 6, 11, 11, kFills[c]);
      svg.text(at + 16, kTop + 4, kColourNames[c], "muted");
      at += 16 + text_width(kColourNames[c]) + 22;
    }
  }

  void axis(Svg& svg) {
    const std::int64_t length = window_.to - window_.from;
    const double unit = length >= 2'000'000'000 ? 1e9 : length >= 2'000'000 ? 1e6 : length >= 2'000 ? 1e3 : 1;
    const char* const name = unit == 1e9 ? "s" : unit == 1e6 ? "ms" : unit == 1e3 ? "us" : "ns";
    const ChartAxis ticks = make_axis(0, static_cast<double>(length) / unit, false, false, false, 8);
    for (const double tick : ticks.ticks) {
      const double at = x(window_.from + static_cast<std::int64_t>(tick * unit));
      svg.line(at, kTop + kLegend - 6, at, bottom_ - 4, "grid");
      const std::string text = tick_text(tick) + " " + name;
      svg.text(at, bottom_ + 10, text, at > kWidth - text_width(text) / 2 ? "tick end" : "tick middle");
    }
  }

  std::string hover_of(const Box& box) const {
    if (box.count > 1)
      return concat(box.count, " together, ", duration_text(box.to - box.from), " from ",
                    duration_text(box.from));
    const ProfileRecord& r = *box.record;
    std::string text = profile_.label(r);
    if (r.layer) text += " in " + profile_.text(r.layer);
    if (r.entry) text += ", by " + profile_.text(r.entry);
    text += concat("\n", duration_text(box.to - box.from), " from ", duration_text(box.from));
    if (r.bytes) text += concat("\n", r.bytes, " bytes");
    if (r.skipped) text += "\nskipped: an input had failed";
    for (const ProfileWait& w : profile_.waits_of(r))
      if (w.order == ProfileOrder::made)
        text += concat("\nwaits for ", profile_.streams[w.stream].name, ", issue ", w.number);
    return text;
  }

  // Neighbours of one colour that are too narrow, and what is between them, become one box: however long the
  // recording, a lane has no more boxes than pixels.
  std::vector<Box> joined(const std::vector<Box>& boxes) const {
    constexpr std::size_t kNone = ~std::size_t{0};
    std::vector<Box> out;
    std::array<std::size_t, kFills.size()> newest;  // by colour
    newest.fill(kNone);
    for (const Box& b : boxes) {
      std::size_t& n = newest[static_cast<std::size_t>(b.colour)];
      if (n != kNone && x(b.to) - x(b.from) < kNarrow && x(b.from) - x(out[n].to) < kNarrow &&
          x(out[n].to) - x(out[n].from) < 4 * kNarrow) {
        out[n].to = std::max(out[n].to, b.to);
        ++out[n].count;
      } else {
        n = out.size();
        out.push_back(b);
      }
    }
    return out;
  }

  void draw_boxes(Svg& svg, const std::vector<Box>& boxes, double top, double height, bool strip) {
    for (const Box& b : joined(boxes)) {
      const double left = x(b.from), width = std::max(x(b.to) - left - 0.3, 0.7);
      svg.begin_group("cell", hover_of(b));
      svg.rect(left, top, width, height, strip ? "track" : kFills[static_cast<std::size_t>(b.colour)]);
      const std::string name = b.count == 1 ? profile_.label(*b.record) : std::string();
      if (const std::string text = width > 24 ? fitted(name, width - 6) : ""; text.size() > 3)
        svg.text(left + width / 2, top + height / 2 + 4, text, strip ? "muted middle" : "inverse middle");
      svg.end_group();
    }
  }

  void draw_lane(Svg& svg, const Lane& lane) {
    const double middle = lane.boxes_top() + kBox / 2;
    svg.text(0, middle + (lane.group.empty() ? 4 : -2), fitted(lane.name, kLabels - 12), "");
    if (!lane.group.empty()) svg.text(0, middle + 11, fitted(lane.group, kLabels - 12), "muted");
    svg.line(kLabels, lane.boxes_top() + kBox + 0.5, kWidth, lane.boxes_top() + kBox + 0.5, "axis");
    draw_boxes(svg, lane.strip, lane.top, kStrip, true);
    draw_boxes(svg, lane.boxes, lane.boxes_top(), kBox, false);
  }

  void arrows(Svg& svg) {
    std::map<std::pair<std::uint32_t, std::uint64_t>, const ProfileRecord*> work;
    for (const ProfileRecord& r : profile_.records)
      if (r.timed) work[{r.stream, r.number}] = &r;
    std::size_t drawn = 0;
    for (const ProfileRecord& r : profile_.records) {
      if (!r.timed || !seen(r.device_begin, r.device_end)) continue;
      for (const ProfileWait& w : profile_.waits_of(r)) {
        auto before = work.upper_bound({w.stream, w.number});
        if (w.order != ProfileOrder::made || before == work.begin()) continue;
        const ProfileRecord& b = *(--before)->second;
        const auto from = stream_lanes_.find(b.stream), to = stream_lanes_.find(r.stream);
        if (b.stream != w.stream || b.device_end < window_.from || from == stream_lanes_.end() ||
            to == stream_lanes_.end() || ++drawn > kMaxArrows)
          continue;
        arrow(svg, x(b.device_end), lanes_[from->second], x(r.device_begin), lanes_[to->second]);
      }
    }
  }

  static void arrow(Svg& svg, double x1, const Lane& from, double x2, const Lane& to) {
    const bool down = to.top > from.top;
    const double y1 = from.boxes_top() + (down ? kBox : 0), y2 = to.boxes_top() + (down ? 0 : kBox);
    const double back = down ? -1 : 1;
    const std::pair<double, double> line[] = {{x1, y1}, {x2, y2}};
    const std::pair<double, double> head[] = {{x2 - 3, y2 + back * 6}, {x2, y2}, {x2 + 3, y2 + back * 6}};
    svg.polyline(line, "s6").polyline(head, "s6");
  }

  const Profile& profile_;
  const ScheduleWindow& window_;
  std::vector<Lane> lanes_;
  std::map<std::uint32_t, std::size_t> stream_lanes_;  // index into lanes_, by stream
  std::size_t left_out_ = 0;
  double bottom_ = 0, height_ = 0;
};

}  // namespace

Svg draw_schedule(const Profile& profile, const ScheduleWindow& window) {
  GPUNN_CHECK(window.to > window.from, "expected a window of time, got one of no length");
  return Drawing(profile, window).draw();
}

}  // namespace gpunn::detail
