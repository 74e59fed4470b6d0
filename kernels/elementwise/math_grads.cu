// Gradients of the functions of one tensor on the GPU.
#include "gpunn/kernels/elementwise/map.cuh"
#include "gpunn/kernels/elementwise/math_functors_impl.h"

namespace gpunn {

void map_cuda(const MapProblem<MathGrad>& p, const Exec& exec) { launch_map_any(p, exec); }

}  // namespace gpunn
