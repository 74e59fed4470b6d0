#pragma once
// Launches whose blocks may wait for each other, as the layers above call them (core/launch_coresident.cuh,
// kernels/ptx/grid.cuh).

#include "gpunn/core/emulation/launch.h"

namespace gpunn::emu {

// Like launch(); cudaErrorCooperativeLaunchTooLarge when the emulated device cannot hold all blocks at once.
GPUNN_EMU_API cudaError launch_coresident(LaunchRequest request);

// Reports a kernel of several blocks that was launched without being co-resident.
GPUNN_EMU_API void require_coresident();

// This block has just told others something: it makes progress, and now others may go on before it.
GPUNN_EMU_API void signal_blocks();

// Arrival at a barrier in global memory whose phase is the counter's highest bit, and whether it has left
// `phase`.
GPUNN_EMU_API void grid_arrive(unsigned* counter, unsigned value, unsigned phase);
GPUNN_EMU_API bool grid_left_phase(const unsigned* counter, unsigned phase);

}  // namespace gpunn::emu
