#pragma once
// The kinds of recurrent networks.
#include <cstdint>

#include "gpunn/core/hd.h"

namespace gpunn {

enum class RnnMode : std::uint8_t { tanh, relu, lstm, gru };

/// 1, 1, 4, 3.
GPUNN_HD constexpr std::int64_t gates_of(RnnMode mode) {
  return mode == RnnMode::lstm ? 4 : mode == RnnMode::gru ? 3 : 1;
}

}  // namespace gpunn
