#pragma once
// The small convolutional net that several recipes train.
#include <cstddef>
#include <cstdint>

#include "gpunn/core/device.h"
#include "gpunn/io/html_report.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/dataset.h"

namespace gpunn::detail {

/// [N, 1, 28, 28] to logits: conv 32, batch norm, ReLU, pool; conv 64, batch norm, ReLU, pool; 128, ReLU,
/// dropout; classes.
Sequential small_cnn(std::int64_t classes, double dropout);
/// Layers of its first block without the pooling, and of all that comes before the dense layers.
inline constexpr std::size_t kSmallCnnBlock = 3, kSmallCnnFeatures = 9;

/// Sections with the first layer's filters and what they make of the first picture of `data`.
void report_small_cnn(HtmlReport& report, Sequential& model, const Dataset& data, Device device);

}  // namespace gpunn::detail
