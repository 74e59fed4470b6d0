#pragma once
// A model as a text table.
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// One line per module (name, type, parameter shapes, number of parameters) and the total. Parameters that
/// tensors share are counted once in the total.
GPUNN_API std::string summary(Module& module);

}  // namespace gpunn
