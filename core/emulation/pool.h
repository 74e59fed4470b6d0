#pragma once
// The OS threads that run blocks, shared by all streams of all devices.

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {

// Identities per OS thread. The race detector would otherwise see the kernels of two streams as one thread
// whenever the same OS thread happens to run them, and miss what a wait between the streams should have
// ordered.
inline constexpr unsigned kColours = kTsan ? 4 : 1;

// Runs all blocks of the launch and returns when they have ended. Blocks start in ascending order.
void run_on_pool(Launch& launch);

}  // namespace gpunn::emu
