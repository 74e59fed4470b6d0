#include "gpunn/io/svg.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/report_style.h"
#include "gpunn/io/detail/utf8.h"

namespace gpunn {
namespace {

constexpr double kMaxSide = 10'000;

std::string attribute(std::string_view name, double value) {
  return " " + std::string(name) + "=\"" + svg_number(value) + "\"";
}

std::string class_attribute(std::string_view classes) {
  return classes.empty() ? "" : " class=\"" + std::string(classes) + "\"";
}

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (length == 0 || (length == 1 && (c == 0x7f || (c < 0x20 && c != '\n' && c != '\t')))) {
      out += "\xef\xbf\xbd";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string svg_number(double value) {
  if (!std::isfinite(value) || std::abs(value) > 1e7) return "0";
  // A tenth of a pixel is below what is visible; full digits would double the size of a report.
  const double tenths = std::round(value * 10);
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, tenths / 10 + 0.0).ptr;
  return {buffer, end};
}

Svg::Svg(double width, double height, std::string_view description)
    : description_(description), width_(width), height_(height) {
  GPUNN_CHECK(width >= 1 && width <= kMaxSide && height >= 1 && height <= kMaxSide,
              "Svg: expected sides of 1 to ", kMaxSide, ", got ", width, " x ", height);
}

Svg& Svg::line(double x1, double y1, double x2, double y2, std::string_view classes) {
  body_ += "<line" + class_attribute(classes) + attribute("x1", x1) + attribute("y1", y1) +
           attribute("x2", x2) + attribute("y2", y2) + "/>";
  return *this;
}

Svg& Svg::rect(double x, double y, double width, double height, std::string_view classes, double opacity) {
  body_ += "<rect" + class_attribute(classes) + attribute("x", x) + attribute("y", y) +
           attribute("width", width) + attribute("height", height);
  // Opacity wants two decimals, or pale cells of a heat map would look alike.
  const long percent = std::lround(opacity * 100);
  if (percent < 100)
    body_ += " fill-opacity=\"." + std::to_string(100 + std::max(percent, 0L)).substr(1) + "\"";
  body_ += "/>";
  return *this;
}

Svg& Svg::circle(double x, double y, double radius, std::string_view classes) {
  body_ += "<circle" + class_attribute(classes) + attribute("cx", x) + attribute("cy", y) +
           attribute("r", radius) + "/>";
  return *this;
}

Svg& Svg::polyline(std::span<const std::pair<double, double>> points, std::string_view classes) {
  body_ += "<polyline" + class_attribute(classes) + " points=\"";
  for (const auto& [x, y] : points) body_ += svg_number(x) + "," + svg_number(y) + " ";
  if (body_.back() == ' ') body_.pop_back();
  body_ += "\"/>";
  return *this;
}

Svg& Svg::text(double x, double y, std::string_view text, std::string_view classes) {
  body_ += "<text" + class_attribute(classes) + attribute("x", x) + attribute("y", y) + ">" +
           html_escape(text) + "</text>";
  return *this;
}

Svg& Svg::vertical_text(double x, double y, std::string_view text, std::string_view classes) {
  body_ += "<text" + class_attribute(classes) + " transform=\"translate(" + svg_number(x) + " " +
           svg_number(y) + ") rotate(-90)\">" + html_escape(text) + "</text>";
  return *this;
}

Svg& Svg::image(double x, double y, double width, double height, std::string_view uri) {
  body_ += "<image" + attribute("x", x) + attribute("y", y) + attribute("width", width) +
           attribute("height", height) + " preserveAspectRatio=\"none\" href=\"" + html_escape(uri) + "\"/>";
  return *this;
}

Svg& Svg::begin_group(std::string_view classes, std::string_view hover) {
  body_ += "<g" + class_attribute(classes) + ">";
  if (!hover.empty()) body_ += "<title>" + html_escape(hover) + "</title>";
  return *this;
}

Svg& Svg::end_group() {
  body_ += "</g>";
  return *this;
}

std::string Svg::markup() const {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\"" + attribute("width", width_) +
         attribute("height", height_) + " viewBox=\"0 0 " + svg_number(width_) + " " + svg_number(height_) +
         "\" role=\"img\" aria-label=\"" + html_escape(description_) + "\">" + body_ + "</svg>";
}

std::string Svg::document() const {
  std::string out = markup();
  // The first '>' ends the opening tag: attributes are escaped.
  const std::size_t inside = out.find('>') + 1;
  out.insert(inside, "<style>" + html_escape(detail::drawing_style()) + "svg{background:var(--bg)}</style>");
  return out + "\n";
}

}  // namespace gpunn
