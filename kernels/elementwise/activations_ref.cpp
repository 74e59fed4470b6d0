#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/map_ref_impl.h"

namespace gpunn {

void map_ref(const MapProblem<ActivationFunction>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<ActivationGrad>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<GatedFunction>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<GatedGrad>& p, const Exec&) { elementwise::run_ref_any(p); }

}  // namespace gpunn
