#pragma once
// What cross_entropy and nll_loss check alike: class numbers and class weights.
#include <cstdint>
#include <vector>

#include "gpunn/core/tensor.h"

namespace gpunn {

/// Throws InvalidArgument unless `target` is i64 on the device of `x` and has `shape`.
void check_class_target(const Tensor& x, const Tensor& target, const Shape& shape);
/// Throws InvalidArgument naming the first of the classes (contiguous, any shape) that is neither in [0,
/// classes) nor ignore_index. Waits for a device.
void check_classes(const Tensor& target, std::int64_t classes, std::int64_t ignore_index);
/// `weight` in the accumulator's dtype, contiguous, without history; undefined for undefined. Throws
/// InvalidArgument unless it is floating, [classes], on the device of `x` and needs no gradient.
Tensor class_weights(const Tensor& weight, const Tensor& x, std::int64_t classes);
/// What a shape keeps when classes (dimension 1; 0 of a vector) are taken out.
Shape without_classes(const Shape& shape);
/// On the host, for composed second derivatives: weight of the target at each position, 0 where ignored.
std::vector<double> weights_of_targets(const std::vector<std::int64_t>& target, const Tensor& weight,
                                       std::int64_t ignore_index);
/// Host values as a tensor with dtype and device of `like`.
Tensor constant_like(const std::vector<double>& values, const Shape& shape, const Tensor& like);

}  // namespace gpunn
