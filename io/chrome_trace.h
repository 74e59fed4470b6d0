#pragma once
// A recording for Perfetto (ui.perfetto.dev) and chrome://tracing.
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/profiler.h"

namespace gpunn {

/// Trace events as a JSON array ("Trace Event Format", Google): one row for each host thread and one for each
/// stream of each device, named; arrows from issues to their work and along the waits between streams; the
/// memory of each device as a counter. Work whose times on the device are not known has its issue only.
GPUNN_API std::string chrome_trace(const Profile& profile);
/// Writes it atomically. Throws Error.
GPUNN_API void write_chrome_trace(const std::string& path, const Profile& profile);

}  // namespace gpunn
