// References of the mathematical functions, comparisons and selections.
#include "gpunn/kernels/elementwise/map_ref_impl.h"
#include "gpunn/kernels/elementwise/math_functors_impl.h"

namespace gpunn {

void map_ref(const MapProblem<MathFunction>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<MathGrad>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<BinaryMath>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<BinaryMathGrad>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<TernaryFunction>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<Selection>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<CompareFunction>& p, const Exec&) { elementwise::run_ref_any(p); }
void map_ref(const MapProblem<Predicate>& p, const Exec&) { elementwise::run_ref_any(p); }

}  // namespace gpunn
