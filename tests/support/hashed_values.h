#pragma once
// Values that scripts in other languages compute as well: tests/golden/conv_nets.py.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/module.h"

namespace gpunn::testing {

/// Element i of tensor number `tensor`: a hash of both in [-1, 1).
inline Tensor hashed(const Shape& shape, std::uint32_t tensor) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t h = static_cast<std::uint32_t>(i) * 2654435761u + tensor * 40503u + 374761393u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    h *= 3266489917u;
    h ^= h >> 16;
    values[i] = static_cast<float>(static_cast<double>(h) / 2147483648.0 - 1);
  }
  return Tensor::from(values, shape);
}

/// Every tensor of the state dict but the counters, numbered in the order of sorted keys.
inline void fill_state(Module& module) {
  StateDict state = module.state_dict();
  std::sort(state.begin(), state.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  NoGrad no_grad;
  for (std::size_t n = 0; n < state.size(); ++n) {
    const auto& [key, tensor] = state[n];
    if (key.ends_with("num_batches_tracked")) continue;
    std::vector<float> values = hashed(tensor.shape(), static_cast<std::uint32_t>(n)).to_vector<float>();
    const bool near_one = tensor.dim() < 2 && (key.ends_with("weight") || key.ends_with("running_var"));
    const double fan_in = tensor.dim() < 2 ? 1 : static_cast<double>(tensor.numel() / tensor.size(0));
    const double scale = tensor.dim() >= 2 ? std::sqrt(3 / fan_in) : near_one ? 0.2 : 0.1;
    for (float& v : values) v = static_cast<float>((near_one ? 1 : 0) + scale * static_cast<double>(v));
    tensor.copy_(Tensor::from(values, tensor.shape()));
  }
}

}  // namespace gpunn::testing
