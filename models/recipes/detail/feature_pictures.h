#pragma once
// Pictures of what a convolutional net has learnt, for reports.
#include <string>

#include "gpunn/core/tensor.h"
#include "gpunn/io/html_report.h"

namespace gpunn::detail {

/// Each filter of a first layer, weight [K, C, R, S] with C 1 or 3, on one scale for all of a picture's
/// channels: grey is zero, or the colour that a filter answers to. At most `most` of them.
void report_filters(HtmlReport& report, const Tensor& weight, int scale = 12, int most = 64);

/// Each channel of `maps` [C, H, W] from its smallest value (black) to its largest. At most `most` of them;
/// `name` stands before the channel's number.
void report_maps(HtmlReport& report, const Tensor& maps, const std::string& name, int scale = 3,
                 int most = 64);

}  // namespace gpunn::detail
