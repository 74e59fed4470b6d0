// Gradients of activations on the GPU, apart from the activations for the sake of compile time.
#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/map.cuh"

namespace gpunn {

void map_cuda(const MapProblem<ActivationGrad>& p, const Exec& exec) { launch_map_any(p, exec); }

}  // namespace gpunn
