#pragma once
/// Functions that a matrix product can apply to its result.
#include <cstdint>

#include "gpunn/core/api.h"

namespace gpunn {

/// y, max(y, 0), 1 / (1 + exp(-y)), tanh(y). NaN stays NaN in each.
enum class Activation : std::uint8_t { none, relu, sigmoid, tanh };

/// "none", "relu", "sigmoid", "tanh".
GPUNN_API const char* name_of(Activation activation) noexcept;

}  // namespace gpunn
