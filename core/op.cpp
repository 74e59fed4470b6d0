#include "gpunn/core/op.h"

namespace gpunn {

void check_same(const Tensor& a, const char* name_a, const Tensor& b, const char* name_b) {
  GPUNN_CHECK(b.defined() && a.defined(), "expected ", name_a, " and ", name_b, ", got an undefined tensor");
  GPUNN_CHECK(a.dtype() == b.dtype(), "expected ", name_b, " of ", a.dtype(), " like ", name_a, ", got ",
              b.dtype(), "; convert it with .to()");
  GPUNN_CHECK(&a.context() == &b.context(), "expected ", name_b, " on ", a.device(), " like ", name_a,
              ", got ", b.device(), "; move it with .to()");
}

void check_floating(const Tensor& t, const char* name) {
  GPUNN_CHECK(t.defined(), "expected ", name, ", got an undefined tensor");
  GPUNN_CHECK(is_floating(t.dtype()), "expected floating ", name, ", got ", t.dtype(),
              "; convert it with .to()");
}

}  // namespace gpunn
