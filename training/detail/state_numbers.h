#pragma once
// Numbers as tensors of a state dict, and back with checks.
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/tensor.h"
#include "gpunn/layers/module.h"

namespace gpunn::detail {

inline Tensor state_number(std::int64_t value) {
  return Tensor::from(std::vector<std::int64_t>{value}, {}, {.device = Device::cpu()});
}
inline Tensor state_number(double value) {
  return Tensor::from(std::vector<double>{value}, {}, {.device = Device::cpu()});
}

/// The entry's only element.
inline double number_of(const NamedTensor& entry) {
  GPUNN_CHECK(entry.second.defined() && entry.second.numel() == 1, "state: expected one number for ",
              entry.first);
  return entry.second.item();
}

/// A count from 0 on.
inline std::int64_t count_of(const NamedTensor& entry) {
  const double value = number_of(entry);
  GPUNN_CHECK(value >= 0 && value < 0x1p53 && value == std::floor(value), "state: expected a count for ",
              entry.first, ", got ", value);
  return static_cast<std::int64_t>(value);
}

/// Throws InvalidArgument unless `state` has exactly `names`, each once.
inline void check_names(const StateDict& state, const std::set<std::string>& names) {
  std::set<std::string> seen;
  for (const NamedTensor& entry : state)
    GPUNN_CHECK(names.count(entry.first) && seen.insert(entry.first).second, "state: unexpected key ",
                entry.first);
  for (const std::string& name : names) GPUNN_CHECK(seen.count(name), "state: missing key ", name);
}

}  // namespace gpunn::detail
