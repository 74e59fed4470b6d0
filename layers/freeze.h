#pragma once
// Training parts of a model: frozen parameters get no gradient, and optimizers leave them alone, weight
// decay, momentum and step count included.
//
// Freezing changes parameters only. Layers with running statistics still update them in training mode, and
// dropout still drops: a part that shall compute as in evaluation is put there by its eval(), after the
// model's train(), which reaches all children. A step that was captured before must be captured anew.
#include <cstdint>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Parameters whose key is `prefix`, or begins with it and a dot ("encoder.0" reaches "encoder.0.weight", not
/// "encoder.01.weight"); "" reaches all. freeze() also drops their gradients: a gradient from before would be
/// applied by the next step. Give the number of parameters reached, frozen before or not. Throw
/// InvalidArgument that lists the first parts of the keys when there is none.
GPUNN_API std::int64_t freeze(Module& module, std::string_view prefix = "");
GPUNN_API std::int64_t unfreeze(Module& module, std::string_view prefix = "");

/// Those that are not frozen, each once: for an optimizer that shall know no others.
GPUNN_API std::vector<Tensor> trainable_parameters(Module& module);
/// Elements in them.
GPUNN_API std::int64_t trainable_count(Module& module);

}  // namespace gpunn
