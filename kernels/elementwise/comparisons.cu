// Comparisons, selections and functions of three tensors on the GPU.
#include "gpunn/kernels/elementwise/map.cuh"
#include "gpunn/kernels/elementwise/math_functors_impl.h"

namespace gpunn {

void map_cuda(const MapProblem<TernaryFunction>& p, const Exec& exec) { launch_map_any(p, exec); }
void map_cuda(const MapProblem<Selection>& p, const Exec& exec) { launch_map_any(p, exec); }
void map_cuda(const MapProblem<CompareFunction>& p, const Exec& exec) { launch_map_any(p, exec); }
void map_cuda(const MapProblem<Predicate>& p, const Exec& exec) { launch_map_any(p, exec); }

}  // namespace gpunn
