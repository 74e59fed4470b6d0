#pragma once
// What launch_coresident() needs from the host side besides launch_host.h.

#include "gpunn/core/detail/launch_host.h"

namespace gpunn::detail {

/// Makes the device current for calls that are no launch.
void make_current(const Exec& exec);
/// `fits`: how many blocks the device holds at once.
[[noreturn]] void too_many_blocks(int code, const char* name, const LaunchShape& shape, int fits);

}  // namespace gpunn::detail
