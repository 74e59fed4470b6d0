#pragma once
// SVG drawings as text: for the charts of reports, and for pictures that recipes draw themselves (networks,
// graphs).
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gpunn/core/api.h"

namespace gpunn {

/// `text` for HTML and SVG: & < > " ' escaped, bytes that are not UTF-8 and control characters replaced by
/// U+FFFD.
GPUNN_API std::string html_escape(std::string_view text);
/// A coordinate with at most one decimal: "12", "12.5". Not-a-number and infinities become "0".
GPUNN_API std::string svg_number(double value);

/// Builds one drawing; y grows downwards. Looks come from classes of the report's style sheet:
///   s0 … s6 (series colour as stroke), f0 … f6 (as fill), grid, axis, accent, muted, good, bad, box, medium
///   and wide (lines), faint, and for text: label, tick, value, end (right-aligned), middle. Class names are
///   trusted text, everything else is escaped.
class GPUNN_API Svg {
 public:
  /// `description` is read by screen readers. Throws InvalidArgument unless both sides are from 1 to 10,000.
  Svg(double width, double height, std::string_view description);

  double width() const noexcept { return width_; }
  double height() const noexcept { return height_; }

  Svg& line(double x1, double y1, double x2, double y2, std::string_view classes);
  Svg& rect(double x, double y, double width, double height, std::string_view classes, double opacity = 1);
  Svg& circle(double x, double y, double radius, std::string_view classes);
  Svg& polyline(std::span<const std::pair<double, double>> points, std::string_view classes);
  Svg& text(double x, double y, std::string_view text, std::string_view classes);
  /// Text turned a quarter to the left around its anchor.
  Svg& vertical_text(double x, double y, std::string_view text, std::string_view classes);
  /// A PNG or other picture given as a data URI, with hard pixel edges.
  Svg& image(double x, double y, double width, double height, std::string_view uri);
  /// What follows up to end_group() shows `hover` while the pointer is on it.
  Svg& begin_group(std::string_view classes, std::string_view hover = "");
  Svg& end_group();

  /// The drawing for a page that has the style sheet.
  std::string markup() const;
  /// The drawing as a file of its own, style included.
  std::string document() const;

 private:
  std::string body_, description_;
  double width_, height_;
};

}  // namespace gpunn
