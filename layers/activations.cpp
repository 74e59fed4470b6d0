#include "gpunn/layers/activations.h"

namespace gpunn {

PReLU::PReLU(std::int64_t num_parameters, double init) {
  GPUNN_CHECK(num_parameters >= 1, "expected at least one PReLU parameter, got ", num_parameters);
  const MemoryTagScope tag(MemoryTag::weights);
  weight = Parameter(full({num_parameters}, init));
}

}  // namespace gpunn
