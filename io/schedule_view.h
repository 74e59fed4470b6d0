#pragma once
// Pictures of what ran where and what it waited for, from a recording.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/profiler.h"

namespace gpunn {

/// A dependency between two issues, found from the storages that they read and write, and how it was kept.
struct ScheduleEdge {
  enum class Kind : std::uint8_t { read_after_write, write_after_write, write_after_read };
  /// event: the stream waits for an event. same_stream, done, covered: no wait was needed (ProfileOrder).
  /// host: at least one of the two ran on the CPU, and the host put them in order. none: nothing that was
  /// recorded orders them, which is an error of the scheduler or of its caller.
  enum class Kept : std::uint8_t { event, same_stream, done, covered, host, none };
  std::size_t from = 0, to = 0;  // indices into Profile::records
  Kind kind = Kind::read_after_write;
  Kept kept = Kept::host;
};

/// The dependencies between the recording's ops and copies: of several between two, the first of the kinds
/// above. In the order in which the later issues were made.
GPUNN_API std::vector<ScheduleEdge> schedule_edges(const Profile& profile);

struct ScheduleOptions {
  std::string title = "What ran where";
  std::size_t max_issues = 200;  // of schedule_dot(): the first ones
};

/// A Graphviz graph of the issues, coloured by stream. Bold edges: waits for events; dashed: no wait because
/// of the order of one stream; dotted: known to be over; plain: ordered by the host; red: not ordered at all.
/// Edges to who overwrites what was read have an open head.
GPUNN_API std::string schedule_dot(const Profile& profile, const ScheduleOptions& options = {});

/// A page that stands alone (HtmlReport): figures, the largest items, a lane for each host thread and stream
/// over time, of everything and of one step, with arrows along the waits, and the memory.
GPUNN_API std::string schedule_html(const Profile& profile, const ScheduleOptions& options = {});

}  // namespace gpunn
