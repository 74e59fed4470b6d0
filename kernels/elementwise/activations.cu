// Activations on the GPU.
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/map.cuh"

namespace gpunn {

void map_cuda(const MapProblem<ActivationFunction>& p, const Exec& exec) { launch_map_any(p, exec); }

}  // namespace gpunn
