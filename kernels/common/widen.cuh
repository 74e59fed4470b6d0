#pragma once
// Integers of any width as the 64 bits that vendor calls add up in.
#include <cstdint>

#include "gpunn/core/hd.h"

namespace gpunn {

using Wide = unsigned long long;  // wraps around, as the sums of our own kernels do

struct Widen {
  template <class T>
  GPUNN_HD Wide operator()(T v) const {
    return static_cast<Wide>(static_cast<std::int64_t>(v));
  }
};

}  // namespace gpunn
