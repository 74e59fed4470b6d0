#pragma once
/// Functions that a matrix product can apply to its result.
#include <cstdint>

#include "gpunn/core/api.h"

namespace gpunn {

/// z, max(z, 0), 1 / (1 + exp(-z)), tanh(z), and PyTorch's two forms of GELU (kernels/elementwise/
/// activations.h). NaN stays NaN in each.
enum class Activation : std::uint8_t { none, relu, sigmoid, tanh, gelu, gelu_tanh };

/// "none", "relu", "sigmoid", "tanh", "gelu", "gelu_tanh".
GPUNN_API const char* name_of(Activation activation) noexcept;

}  // namespace gpunn
