// Gated units and their gradients on the GPU.
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/map.cuh"

namespace gpunn {

void map_cuda(const MapProblem<GatedFunction>& p, const Exec& exec) { launch_map_any(p, exec); }
void map_cuda(const MapProblem<GatedGrad>& p, const Exec& exec) { launch_map_any(p, exec); }

}  // namespace gpunn
