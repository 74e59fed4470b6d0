#pragma once
// What a layer tells summary() about its work.
#include "gpunn/core/api.h"
#include "gpunn/core/shape.h"

namespace gpunn {

/// Base of layers that handle each sample (index of dimension 0) by itself while they are in evaluation mode.
/// summary() asks them for the shape of an empty batch instead of computing.
class GPUNN_API LayerCost {
 public:
  /// Arithmetic of a forward from `x` to `y`, a multiply-add counted as two. Linear layers and convolutions
  /// count their products, without the bias.
  virtual double flops(const Shape& x, const Shape& y) const = 0;
  /// Dimensions of one sample. An input with no more than these has no batch.
  virtual int sample_rank() const = 0;

 protected:
  LayerCost() = default;
  LayerCost(const LayerCost&) = default;
  LayerCost& operator=(const LayerCost&) = default;
  virtual ~LayerCost();
};

}  // namespace gpunn
