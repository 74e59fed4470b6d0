#pragma once
// Lanes of host threads and streams over a stretch of time.
#include <cstdint>
#include <string>

#include "gpunn/core/profiler.h"
#include "gpunn/io/svg.h"

namespace gpunn::detail {

struct ScheduleWindow {
  std::string title;              // for screen readers
  std::int64_t from = 0, to = 0;  // nanoseconds
  bool arrows = false;            // along the waits between streams
};

/// Threads and streams with nothing in the window have no lane. What is too narrow to be seen is drawn
/// together.
Svg draw_schedule(const Profile& profile, const ScheduleWindow& window);

}  // namespace gpunn::detail
