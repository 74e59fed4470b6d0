#include "gpunn/layers/dropout.h"

namespace gpunn {

Dropout::Dropout(double p) : p_(p) {
  GPUNN_CHECK(p >= 0 && p <= 1, "expected a dropout probability in [0, 1], got ", p);
}

}  // namespace gpunn
