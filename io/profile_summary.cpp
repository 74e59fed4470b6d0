#include "gpunn/io/profile_summary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <tuple>

namespace gpunn {
namespace {

// Columns of a terminal; a name that is longer loses its middle.
constexpr std::size_t kOpWidth = 26, kLayerWidth = 20, kEntryWidth = 10;

// `text` in exactly `width` columns of printable ASCII; other bytes show as '?'.
std::string column(const std::string& text, std::size_t width) {
  std::string out;
  for (const char c : text) out += c >= 0x20 && c < 0x7f ? c : '?';
  if (out.size() > width) {
    const std::size_t tail = (width - 2) / 2;
    out = out.substr(0, width - 2 - tail) + ".." + out.substr(out.size() - tail);
  }
  out.resize(width, ' ');
  return out;
}

}  // namespace

std::vector<ProfileItem> largest_items(const Profile& profile, std::size_t limit) {
  using Key = std::tuple<std::uint32_t, bool, std::uint32_t, std::uint32_t, bool>;
  std::map<Key, std::size_t> index;
  std::vector<ProfileItem> items;
  std::int64_t all = 0;
  for (const ProfileRecord& r : profile.records) {
    if (r.kind != ProfileKind::op && r.kind != ProfileKind::copy) continue;
    const auto [at, first] = index.try_emplace({r.name, r.backward, r.layer, r.entry, r.timed}, items.size());
    if (first) {
      items.emplace_back();
      items.back().op = profile.label(r);
      items.back().layer = profile.text(r.layer);
      items.back().entry = profile.text(r.entry);
      items.back().on_device = r.timed;
    }
    ProfileItem& item = items[at->second];
    ++item.count;
    item.total += r.time();
    item.longest = std::max(item.longest, r.time());
    item.host += r.host_time();
    item.bytes += r.bytes;
    all += r.time();
  }
  for (ProfileItem& item : items)
    item.share = all > 0 ? static_cast<double>(item.total) / static_cast<double>(all) : 0;
  std::stable_sort(items.begin(), items.end(),
                   [](const ProfileItem& a, const ProfileItem& b) { return a.total > b.total; });
  if (items.size() > limit) items.resize(limit);
  return items;
}

std::string duration_text(std::int64_t nanoseconds) {
  constexpr std::array kUnits{"ns", "us", "ms", "s"};
  auto value = static_cast<double>(nanoseconds);
  std::size_t unit = 0;
  // 999.96 would be printed as 1000.
  for (; std::abs(value) >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  const double size = std::abs(value);
  const int decimals = unit == 0 || size >= 99.95 ? (unit == 0 ? 0 : 1) : size >= 9.995 ? 1 : 2;
  char text[48];
  std::snprintf(text, sizeof text, "%.*f %s", decimals, value, kUnits[unit]);
  return text;
}

std::string items_text(const std::vector<ProfileItem>& items) {
  if (items.empty()) return {};
  char line[200];
  std::snprintf(line, sizeof line, "%s  %s  %s  %7s %10s %10s %7s  %s\n", column("op", kOpWidth).c_str(),
                column("layer", kLayerWidth).c_str(), column("by", kEntryWidth).c_str(), "count", "total",
                "mean", "share", "on");
  std::string out = line;
  for (const ProfileItem& item : items) {
    std::snprintf(line, sizeof line, "%s  %s  %s  %7lld %10s %10s %5.1f %%  %s\n",
                  column(item.op, kOpWidth).c_str(), column(item.layer, kLayerWidth).c_str(),
                  column(item.entry, kEntryWidth).c_str(), static_cast<long long>(item.count),
                  duration_text(item.total).c_str(), duration_text(item.total / item.count).c_str(),
                  100 * item.share, item.on_device ? "device" : "host");
    out += line;
  }
  return out;
}

}  // namespace gpunn
