#pragma once
// The style sheet of reports and drawings.
#include <string>

namespace gpunn::detail {

/// Colours (light and dark) and the classes of Svg.
std::string drawing_style();
/// drawing_style() and the layout of the page.
std::string report_style();

}  // namespace gpunn::detail
