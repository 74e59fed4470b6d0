#include "gpunn/layers/linear.h"

#include <cmath>

#include "gpunn/layers/init.h"

namespace gpunn {

Linear::Linear(std::int64_t in_features, std::int64_t out_features, bool with_bias)
    : in_features_(in_features) {
  GPUNN_CHECK(in_features >= 1 && out_features >= 1, "expected Linear sizes of at least 1, got ", in_features,
              " and ", out_features);
  {
    const MemoryTagScope tag(MemoryTag::weights);
    weight = Parameter(empty({out_features, in_features}));
    if (with_bias) bias = Parameter(empty({out_features}));
  }
  reset_parameters();
}

void Linear::reset_parameters() {
  const double bound = 1 / std::sqrt(static_cast<double>(weight.size(1)));
  init::uniform(weight, -bound, bound);
  if (bias.defined()) init::uniform(bias, -bound, bound);
}

double Linear::flops(const Shape&, const Shape& y) const {
  return 2 * static_cast<double>(y.numel()) * static_cast<double>(in_features_);
}

}  // namespace gpunn
