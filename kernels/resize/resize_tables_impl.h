#pragma once
// What the rows and columns of a resized picture read, worked out once for a call on the CPU.
#include <cstdint>
#include <vector>

#include "gpunn/kernels/resize/resize_impl.h"

namespace gpunn {

/// What the places of one dimension of y read.
struct ResizeTaps {
  std::vector<std::int32_t> first, second;
  std::vector<float> weight;

  ResizeTaps(const ResizeAxis& a, ResizeRule rule) {
    for (std::int32_t o = 0; o < a.out; ++o) {
      const ResizeTap t = resize_tap(a, rule, o);
      first.push_back(t.first);
      second.push_back(t.second);
      weight.push_back(t.weight);
    }
  }
  ResizeTap operator[](std::int32_t o) const {
    const auto i = static_cast<std::size_t>(o);
    return {first[i], second[i], weight[i]};
  }
};

struct ResizeTables {
  ResizeTaps h, w;
  explicit ResizeTables(const ResizeSizes& s) : h(s.h, s.rule), w(s.w, s.rule) {}
};

}  // namespace gpunn
