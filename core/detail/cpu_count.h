#pragma once
// How many cores this process may use.
#include <string>
#include <string_view>

#include "gpunn/core/api.h"

namespace gpunn::detail {

/// CPU pool size when nobody asks for one: GPUNN_NUM_THREADS, else the cores of the affinity mask, at most
/// the CPU quota of the control group rounded up. Throws InvalidArgument when the variable is not a number in
/// [1, 1024].
GPUNN_API int default_thread_count();

/// Cores of the affinity mask, at most the CPU quota rounded up; at least 1.
GPUNN_API int usable_cores();

/// CPU quota in cores (rounded up) of the process's control group or any of its parents; 0: no limit.
/// `mount` is where control groups are mounted, `membership` the text of /proc/self/cgroup. Versions 1 and 2.
GPUNN_API int cgroup_cpu_limit(const std::string& mount, std::string_view membership);

}  // namespace gpunn::detail
