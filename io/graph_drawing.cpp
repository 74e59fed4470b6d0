#include <algorithm>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/detail/graph_layout.h"
#include "gpunn/io/diagrams.h"

namespace gpunn {
namespace {

using Point = std::pair<double, double>;
using detail::GraphLayout;
using detail::LaidNode;

constexpr double kMargin = 8, kTitle = 34, kMaxLabel = 260;

/// Turns "along the ranks, across them" into x and y.
struct Canvas {
  bool down;
  double top;
  Point at(double along, double across) const {
    return down ? Point(kMargin + across, top + along) : Point(kMargin + along, top + across);
  }
};

Point size_of(const GraphDrawing::Node& node) {
  const double text = std::max(detail::text_width(detail::fitted(node.label, kMaxLabel)),
                               detail::text_width(detail::fitted(node.note, kMaxLabel)));
  return {std::ceil(std::max(34.0, text + 20)), node.note.empty() ? 30.0 : 44.0};
}

/// Where the ends of arrows touch a node, in the order of what they lead to, so that arrows between the same
/// two nodes lie side by side. offset[a] is the distance of arrow a from the middle.
std::vector<double> ports(const GraphLayout& layout, std::size_t nodes, bool at_end) {
  std::vector<double> offset(layout.routes.size());
  for (std::size_t n = 0; n < nodes; ++n) {
    std::vector<std::size_t> arrows;
    for (std::size_t a = 0; a < layout.routes.size(); ++a)
      if ((at_end ? layout.routes[a].back() : layout.routes[a].front()) == n) arrows.push_back(a);
    const auto other = [&](std::size_t a) {
      const auto& route = layout.routes[a];
      return layout.nodes[at_end ? route[route.size() - 2] : route[1]].across;
    };
    std::stable_sort(arrows.begin(), arrows.end(),
                     [&](std::size_t a, std::size_t b) { return other(a) < other(b); });
    const double step =
        std::min(12.0, layout.nodes[n].across_extent / static_cast<double>(arrows.size() + 1));
    for (std::size_t i = 0; i < arrows.size(); ++i)
      offset[arrows[i]] = step * (static_cast<double>(i) - (static_cast<double>(arrows.size()) - 1) / 2);
  }
  return offset;
}

void draw_arrows(Svg& svg, const GraphDrawing& graph, const GraphLayout& layout, const Canvas& canvas) {
  const auto starts = ports(layout, graph.nodes.size(), false),
             ends = ports(layout, graph.nodes.size(), true);
  for (std::size_t a = 0; a < layout.routes.size(); ++a) {
    const auto& route = layout.routes[a];
    const LaidNode &from = layout.nodes[route.front()], &to = layout.nodes[route.back()];
    const double start = from.along + from.along_extent / 2, end = to.along - to.along_extent / 2;
    const double end_across = to.across + ends[a];
    std::vector<Point> line{canvas.at(start, from.across + starts[a])};
    for (std::size_t i = 1; i + 1 < route.size(); ++i)
      line.push_back(canvas.at(layout.nodes[route[i]].along, layout.nodes[route[i]].across));
    line.push_back(canvas.at(end - 9, end_across));
    line.push_back(canvas.at(end - 1, end_across));
    svg.polyline(line, "s6");
    const Point head[] = {canvas.at(end - 7, end_across - 4), canvas.at(end - 1, end_across),
                          canvas.at(end - 7, end_across + 4)};
    svg.polyline(head, "s6");
  }
}

void draw_node(Svg& svg, const GraphDrawing::Node& node, const Point& middle) {
  const auto [width, height] = size_of(node);
  const double x = middle.first - width / 2, y = middle.second - height / 2;
  svg.begin_group("", node.note.empty() ? node.label : node.label + ": " + node.note);
  svg.rect(x, y, width, height, "box");
  if (node.kind != GraphDrawing::Kind::operation)
    svg.rect(x, y, width, height, node.kind == GraphDrawing::Kind::input ? "f0" : "f2", 0.22);
  svg.text(middle.first, middle.second + (node.note.empty() ? 4 : -3), detail::fitted(node.label, kMaxLabel),
           "middle");
  if (!node.note.empty())
    svg.text(middle.first, middle.second + 13, detail::fitted(node.note, kMaxLabel), "muted middle");
  svg.end_group();
}

/// For a quoted string of DOT.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace

Svg draw(const GraphDrawing& graph) {
  const bool down = graph.direction == GraphDrawing::Direction::down;
  std::vector<Point> extents;
  for (const GraphDrawing::Node& node : graph.nodes) {
    const auto [width, height] = size_of(node);
    extents.emplace_back(down ? height : width, down ? width : height);
  }
  const GraphLayout layout = detail::lay_out(graph, extents);
  const double width = down ? layout.across : layout.along, height = down ? layout.along : layout.across;
  const Canvas canvas{down, graph.title.empty() ? kMargin : kTitle};
  const double least = graph.title.empty() ? 0 : 1.2 * detail::text_width(graph.title);
  Svg svg(std::ceil(std::max(width, least) + 2 * kMargin), std::ceil(canvas.top + height + kMargin),
          graph.title.empty() ? "graph" : graph.title);
  if (!graph.title.empty()) svg.text(0, 15, graph.title, "title");
  draw_arrows(svg, graph, layout, canvas);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n)
    draw_node(svg, graph.nodes[n], canvas.at(layout.nodes[n].along, layout.nodes[n].across));
  return svg;
}

std::string to_dot(const GraphDrawing& graph) {
  const bool down = graph.direction == GraphDrawing::Direction::down;
  std::string out = "digraph \"" + escaped(graph.title) + "\" {\n  rankdir=" + (down ? "TB" : "LR") + ";\n";
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const GraphDrawing::Node& node = graph.nodes[n];
    const std::string note = node.note.empty() ? "" : "\\n" + escaped(node.note);
    out += "  n" + std::to_string(n) + " [label=\"" + escaped(node.label) + note +
           "\", shape=" + (node.kind == GraphDrawing::Kind::operation ? "box" : "ellipse") + "];\n";
  }
  for (const GraphDrawing::Arrow& arrow : graph.arrows)
    out += "  n" + std::to_string(arrow.from) + " -> n" + std::to_string(arrow.to) + ";\n";
  return out + "}\n";
}

}  // namespace gpunn
