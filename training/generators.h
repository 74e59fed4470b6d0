#pragma once
// Generated data sets, under scikit-learn's names and conventions.
//
// The numbers come from the library's own counter-based generator and are computed on the host in double, so
// that one seed gives the same bits on every device and in every run; they are not scikit-learn's numbers.
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Points with a class each, on the CPU.
struct LabelledPoints {
  Tensor points;  // f32 [samples, dimensions]
  Tensor labels;  // i64 [samples]
};

struct CirclesOptions {
  std::int64_t samples = 100;
  double noise = 0;     // standard deviation of what is added to each coordinate
  double factor = 0.8;  // radius of the inner circle; the outer one has 1
  bool shuffle = true;  // else the outer circle's rows come first
  std::uint64_t seed = 0;
};

/// Two circles around the origin, points at even angles: samples / 2 on the outer one (class 0), the others
/// on the inner one (class 1). Throws InvalidArgument unless samples >= 2, noise is finite and >= 0, and
/// factor is in [0, 1).
GPUNN_API LabelledPoints make_circles(const CirclesOptions& options);

}  // namespace gpunn
