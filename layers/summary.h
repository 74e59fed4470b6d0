#pragma once
// A model as a text table.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// One line per module (name, type, parameter shapes, number of parameters) and the total. Parameters that
/// tensors share are counted once in the total.
GPUNN_API std::string summary(Module& module);

/// What one call of a module is and does. Numbers of a module with children include theirs.
struct LayerSummary {
  std::string name;  // path under the root, "" for the root
  std::string type;
  int depth = 0;  // below the root
  Shape output{};
  std::int64_t parameters = 0;  // shared ones once
  double flops = 0;             // of the layers inside that are LayerCost, a multiply-add as two
  double bytes = 0;             // these layers' inputs, parameters and outputs, each once
};

/// Runs `module` in evaluation mode, without gradients, and notes every call of a module by operator() in
/// order; the first is the root. Layers that are LayerCost are not computed: they run on an empty batch,
/// which checks their input and tells the shape, and hand on zeros. Everything else runs. Modes are restored.
/// What forwards do besides calling layers (a sum, a concatenation) counts nothing. `input` must have a batch
/// in front; throws what the forward throws.
GPUNN_API std::vector<LayerSummary> summarize(Module& module, const Tensor& input);
/// The same for zeros of that shape, in the dtype and on the device of the module's first parameter.
GPUNN_API std::vector<LayerSummary> summarize(Module& module, const Shape& input_shape);

/// summarize() as a table, a line for each call and the total.
GPUNN_API std::string summary(Module& module, const Tensor& input);
GPUNN_API std::string summary(Module& module, const Shape& input_shape);

}  // namespace gpunn
