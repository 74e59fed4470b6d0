#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "gpunn/core/error.h"
#include "gpunn/core/shape.h"
#include "gpunn/io/detail/chart_axis.h"
#include "gpunn/io/diagrams.h"

namespace gpunn {
namespace {

using Layer = NetworkDiagram::Layer;
using detail::value_text;

constexpr double kSide = 60, kTitle = 34, kNames = 26;
constexpr std::size_t kWrittenWeights =
    16;                                  // connections of a pair of layers that carry their weight as text
constexpr std::size_t kClearLines = 60;  // more of them are drawn faintly

/// A neuron that is drawn, with its number in the layer.
struct Neuron {
  std::size_t number;
  double x, y;
};

/// A rectangle around a text already placed.
struct Label {
  double x, y, half_width;
  bool meets(const Label& other) const {
    return std::abs(x - other.x) < half_width + other.half_width && std::abs(y - other.y) < 15;
  }
};

bool truncated(const NetworkDiagram& diagram, const Layer& layer) {
  return layer.neurons > diagram.max_neurons;
}

/// Rows of a layer, the one that stands for the neurons left out included.
std::size_t rows_of(const NetworkDiagram& diagram, const Layer& layer) {
  return static_cast<std::size_t>(truncated(diagram, layer) ? diagram.max_neurons + 1 : layer.neurons);
}

void check(const NetworkDiagram& diagram) {
  const auto& layers = diagram.layers;
  GPUNN_CHECK(diagram.width >= 200 && diagram.width <= 2000,
              "NetworkDiagram: expected a width of 200 to 2000, got ", diagram.width);
  GPUNN_CHECK(diagram.max_neurons >= 2 && diagram.max_neurons <= 64,
              "NetworkDiagram: expected max_neurons of 2 to 64, got ", diagram.max_neurons);
  GPUNN_CHECK(layers.size() >= 2, "NetworkDiagram: expected at least two layers, got ", layers.size());
  GPUNN_CHECK(diagram.weights.empty() || diagram.weights.size() + 1 == layers.size(),
              "NetworkDiagram: expected ", layers.size() - 1, " entries of weights or none, got ",
              diagram.weights.size());
  for (const Layer& layer : layers) {
    GPUNN_CHECK(layer.neurons >= 1, "NetworkDiagram: layer '", layer.name, "' has no neurons");
    for (const auto* texts : {&layer.labels, &layer.notes})
      GPUNN_CHECK(texts->empty() || texts->size() == static_cast<std::size_t>(layer.neurons),
                  "NetworkDiagram: layer '", layer.name, "' has ", layer.neurons, " neurons and ",
                  texts->size(), " texts");
  }
  for (std::size_t l = 0; l < diagram.weights.size(); ++l) {
    const auto expected = static_cast<std::size_t>(checked_mul(layers[l].neurons, layers[l + 1].neurons));
    GPUNN_CHECK(diagram.weights[l].empty() || diagram.weights[l].size() == expected,
                "NetworkDiagram: expected ", expected, " weights after layer ", l, ", got ",
                diagram.weights[l].size());
  }
}

/// The drawing's measures and the neurons of each layer.
struct Frame {
  double top = 0, radius = 0, row = 0, height = 0;
  std::vector<std::vector<Neuron>> layers;
};

Frame frame_of(const NetworkDiagram& diagram) {
  Frame frame;
  std::size_t most = 1;
  bool notes = false, texts = false;
  for (std::size_t l = 0; l < diagram.layers.size(); ++l) {
    const Layer& layer = diagram.layers[l];
    most = std::max(most, rows_of(diagram, layer));
    notes = notes || !layer.notes.empty();
    texts = texts || !layer.labels.empty();
    if (l > 0 && !diagram.weights.empty() && !diagram.weights[l - 1].empty())
      notes = notes || rows_of(diagram, layer) * rows_of(diagram, diagram.layers[l - 1]) <= kWrittenWeights;
  }
  frame.radius = texts ? 24 : most > 16 ? 7 : 12;
  frame.row = 2 * frame.radius + (notes ? 44 : 10);
  frame.top = (diagram.title.empty() ? 0 : kTitle) + kNames;
  frame.height = frame.top + static_cast<double>(most) * frame.row;
  const double step = (diagram.width - 2 * kSide) / static_cast<double>(diagram.layers.size() - 1);
  for (std::size_t l = 0; l < diagram.layers.size(); ++l) {
    const Layer& layer = diagram.layers[l];
    const std::size_t rows = rows_of(diagram, layer);
    const double start = frame.top + (static_cast<double>(most - rows) / 2 + 0.5) * frame.row;
    std::vector<Neuron> neurons;
    for (std::size_t row = 0; row < rows; ++row) {
      const bool cut = truncated(diagram, layer);
      const std::size_t gap = rows / 2;
      if (cut && row == gap) continue;
      const std::size_t number =
          cut && row > gap ? static_cast<std::size_t>(layer.neurons) - (rows - row) : row;
      neurons.push_back(
          {number, kSide + static_cast<double>(l) * step, start + static_cast<double>(row) * frame.row});
    }
    frame.layers.push_back(std::move(neurons));
  }
  return frame;
}

/// How far a point lies from the line between two neurons, measured upright (lines run from left to right).
double distance_to(const Neuron& from, const Neuron& to, double x, double y) {
  const double t = (x - from.x) / (to.x - from.x);
  return std::abs(from.y + t * (to.y - from.y) - y);
}

/// Writes the weights on their lines, each where it meets as few texts and other lines as possible.
void write_weights(Svg& svg, const std::vector<Neuron>& left, const std::vector<Neuron>& right,
                   const auto& weight_of) {
  constexpr std::array<double, 13> kPlaces = {0.5,  0.44, 0.56, 0.38, 0.62, 0.32, 0.68,
                                              0.26, 0.74, 0.2,  0.8,  0.15, 0.85};
  std::vector<Label> placed;
  for (const Neuron& from : left)
    for (const Neuron& to : right) {
      const std::string text = value_text(weight_of(from, to));
      Label best{};
      std::size_t least = SIZE_MAX;
      for (const double t : kPlaces) {
        const Label here{from.x + t * (to.x - from.x), from.y + t * (to.y - from.y),
                         detail::text_width(text) / 2 + 4};
        std::size_t met = 0;
        for (const Label& label : placed) met += here.meets(label) ? 10 : 0;
        for (const Neuron& a : left)
          for (const Neuron& b : right)
            met +=
                (a.number != from.number || b.number != to.number) && distance_to(a, b, here.x, here.y) < 11;
        if (met >= least) continue;
        best = here;
        least = met;
      }
      placed.push_back(best);
      svg.rect(best.x - best.half_width, best.y - 8, 2 * best.half_width, 16, "inverse");
      svg.text(best.x, best.y + 4, text, "middle");
    }
}

void draw_connections(Svg& svg, const NetworkDiagram& diagram, const Frame& frame, std::size_t l) {
  static const std::vector<double> kNone;
  const std::vector<double>& weights = diagram.weights.empty() ? kNone : diagram.weights[l];
  const auto inputs = static_cast<std::size_t>(diagram.layers[l].neurons);
  const auto weight_of = [&](const Neuron& from, const Neuron& to) {
    return weights[to.number * inputs + from.number];
  };
  double largest = 0;
  for (const double w : weights)
    if (std::isfinite(w)) largest = std::max(largest, std::abs(w));
  const std::size_t count = frame.layers[l].size() * frame.layers[l + 1].size();
  const std::string faint = count > kClearLines ? " faint" : "";
  for (const Neuron& from : frame.layers[l])
    for (const Neuron& to : frame.layers[l + 1]) {
      if (weights.empty()) {
        svg.line(from.x, from.y, to.x, to.y, "s6" + faint);
        continue;
      }
      const double weight = weight_of(from, to), share = largest > 0 ? std::abs(weight) / largest : 0;
      const char* width = share > 0.66 ? " wide" : share > 0.33 ? " medium" : "";
      svg.begin_group("", std::to_string(from.number + 1) + " to " + std::to_string(to.number + 1) + ": " +
                              value_text(weight));
      svg.line(from.x, from.y, to.x, to.y, (weight < 0 ? "s1" : "s0") + std::string(width) + faint);
      svg.end_group();
    }
  if (weights.empty() || count > kWrittenWeights) return;
  write_weights(svg, frame.layers[l], frame.layers[l + 1], weight_of);
}

void draw_layer(Svg& svg, const NetworkDiagram& diagram, const Frame& frame, std::size_t l) {
  const Layer& layer = diagram.layers[l];
  const auto& neurons = frame.layers[l];
  for (const Neuron& n : neurons) {
    svg.circle(n.x, n.y, frame.radius, "box");
    if (!layer.labels.empty())
      svg.text(n.x, n.y + 4, detail::fitted(layer.labels[n.number], 2 * frame.radius + 8), "middle");
    if (!layer.notes.empty())
      svg.text(n.x, n.y + frame.radius + 15, layer.notes[n.number], "muted halo middle");
  }
  const double x = neurons.front().x;
  const bool cut = truncated(diagram, layer);
  if (cut) {
    const Neuron& before = neurons[rows_of(diagram, layer) / 2 - 1];
    for (const double dot : {-6.0, 0.0, 6.0}) svg.circle(x, before.y + frame.row + dot, 1.5, "muted");
  }
  const std::string name = cut && !layer.name.empty() ? layer.name + " " + std::to_string(layer.neurons)
                           : cut                      ? std::to_string(layer.neurons)
                                                      : layer.name;
  // The outer names may not leave the picture.
  const double half = detail::text_width(name) / 2;
  svg.text(
      std::clamp(x, std::min(half, diagram.width / 2.0), std::max(diagram.width - half, diagram.width / 2.0)),
      frame.top - 10, name, "muted middle");
}

}  // namespace

Svg draw(const NetworkDiagram& diagram) {
  check(diagram);
  const Frame frame = frame_of(diagram);
  Svg svg(diagram.width, std::ceil(frame.height) + 4, diagram.title.empty() ? "network" : diagram.title);
  if (!diagram.title.empty()) svg.text(0, 15, detail::fitted(diagram.title, diagram.width / 1.15), "title");
  for (std::size_t l = 0; l + 1 < diagram.layers.size(); ++l) draw_connections(svg, diagram, frame, l);
  for (std::size_t l = 0; l < diagram.layers.size(); ++l) draw_layer(svg, diagram, frame, l);
  return svg;
}

}  // namespace gpunn
