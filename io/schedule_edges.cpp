// Dependencies of a recording.
#include <algorithm>
#include <unordered_map>

#include "gpunn/io/schedule_view.h"

namespace gpunn {
namespace {

constexpr std::size_t kNobody = ~std::size_t{0};

struct History {
  std::size_t writer = kNobody;
  std::vector<std::size_t> readers;  // since the last write
};

ScheduleEdge::Kept kept_by(ProfileOrder order) {
  switch (order) {
    case ProfileOrder::made:
      return ScheduleEdge::Kept::event;
    case ProfileOrder::same_stream:
      return ScheduleEdge::Kept::same_stream;
    case ProfileOrder::done:
      return ScheduleEdge::Kept::done;
    case ProfileOrder::covered:
      break;
  }
  return ScheduleEdge::Kept::covered;
}

ScheduleEdge::Kept how_kept(const Profile& profile, const ProfileRecord& from, const ProfileRecord& to) {
  constexpr std::uint32_t kHost = ProfileRecord::kNone;
  if (from.stream == kHost || to.stream == kHost) return ScheduleEdge::Kept::host;
  if (profile.streams[from.stream].device != profile.streams[to.stream].device)
    return ScheduleEdge::Kept::host;  // staged through host memory
  auto kept = from.stream == to.stream ? ScheduleEdge::Kept::same_stream : ScheduleEdge::Kept::none;
  for (const ProfileWait& w : profile.waits_of(to)) {
    if (w.stream != from.stream || w.number < from.number) continue;
    if (w.order == ProfileOrder::made) return ScheduleEdge::Kept::event;
    if (kept == ScheduleEdge::Kept::none) kept = kept_by(w.order);
  }
  return kept;
}

}  // namespace

std::vector<ScheduleEdge> schedule_edges(const Profile& profile) {
  // Records come as they ended; storages were noted while the order of issue was still locked.
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < profile.records.size(); ++i) {
    const ProfileRecord& r = profile.records[i];
    if (r.reads + r.writes > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return profile.records[a].first_storage < profile.records[b].first_storage;
  });

  std::vector<ScheduleEdge> edges;
  std::unordered_map<std::uint32_t, History> histories;
  for (const std::size_t i : order) {
    const ProfileRecord& r = profile.records[i];
    const std::size_t first = edges.size();
    const auto depend = [&](std::size_t from, ScheduleEdge::Kind kind) {
      if (from == kNobody || from == i) return;
      const auto same = std::find_if(edges.begin() + static_cast<std::ptrdiff_t>(first), edges.end(),
                                     [&](const ScheduleEdge& e) { return e.from == from; });
      if (same == edges.end())
        edges.push_back({from, i, kind, how_kept(profile, profile.records[from], r)});
      else
        same->kind = std::min(same->kind, kind);
    };
    for (const std::uint32_t s : profile.reads(r))
      depend(histories[s].writer, ScheduleEdge::Kind::read_after_write);
    for (const std::uint32_t s : profile.writes(r)) {
      depend(histories[s].writer, ScheduleEdge::Kind::write_after_write);
      for (const std::size_t reader : histories[s].readers)
        depend(reader, ScheduleEdge::Kind::write_after_read);
    }
    for (const std::uint32_t s : profile.reads(r)) histories[s].readers.push_back(i);
    for (const std::uint32_t s : profile.writes(r)) histories[s] = {i, {}};
  }
  return edges;
}

}  // namespace gpunn
