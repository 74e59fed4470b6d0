#pragma once
// A data set that anything learns.
#include <cstdint>
#include <memory>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/training/dataset.h"

namespace gpunn::testing {

/// Three gaussian clouds a class apart, `size` points in `features` dimensions.
inline std::shared_ptr<const Dataset> clouds(std::int64_t size, std::int64_t features, std::uint64_t seed) {
  PhiloxStream random(seed, 77);
  std::vector<float> x;
  std::vector<std::int64_t> y;
  for (std::int64_t i = 0; i < size; ++i) {
    y.push_back(i % 3);
    for (std::int64_t f = 0; f < features; ++f) x.push_back(random.normal() + (f % 3 == i % 3 ? 2.5f : 0.0f));
  }
  return std::make_shared<TensorDataset>(Tensor::from(x, {size, features}, {.device = Device::cpu()}),
                                         Tensor::from(y, {size}, {.device = Device::cpu()}));
}

}  // namespace gpunn::testing
