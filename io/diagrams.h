#pragma once
// Diagrams as SVG drawings: networks of neurons, and graphs of operations (also as DOT text).
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/svg.h"

namespace gpunn {

/// Layers of neurons from left to right, every neuron joined with all of the next layer. Hovering over a
/// connection shows its weight; where few connections meet, the weights are written on them.
struct NetworkDiagram {
  struct Layer {
    std::string name{};
    std::int64_t neurons = 0;
    std::vector<std::string> labels{};  // inside the neurons: none or one each
    std::vector<std::string> notes{};   // below them, such as biases: none or one each
  };
  std::string title{};
  std::vector<Layer> layers{};
  /// Of each pair of neighbouring layers [neurons of the right one, neurons of the left one], as a Linear's;
  /// no entries at all, or one for each pair, which may be empty. Positive weights take the first series
  /// colour, negative ones the second, large ones a thick line.
  std::vector<std::vector<double>> weights{};
  std::int64_t max_neurons = 10;  // of a larger layer only the first and the last ones are drawn
  int width = kFullWidth;
};

/// A directed graph without cycles, laid out in ranks: a node is drawn past everything that leads to it.
struct GraphDrawing {
  enum class Kind : std::uint8_t { operation, input, result };
  enum class Direction : std::uint8_t { right, down };
  struct Node {
    std::string label{};
    std::string note{};  // a second line
    Kind kind = Kind::operation;
  };
  struct Arrow {
    std::size_t from = 0, to = 0;  // indices of nodes; a pair may occur more than once
  };
  std::string title{};
  std::vector<Node> nodes{};
  std::vector<Arrow> arrows{};
  Direction direction = Direction::right;
};

/// Throws InvalidArgument for fewer than two layers, a layer without neurons, labels, notes or weights of
/// another number, max_neurons below 2 or above 64, and a width outside 200 to 2,000.
GPUNN_API Svg draw(const NetworkDiagram& diagram);

/// Ranks by the longest path; within a rank, an order with few crossings (barycentres in both directions:
/// Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures", 1981). As
/// large as it needs to be. Throws InvalidArgument for arrows to nodes that are not there, cycles, and more
/// than 500 nodes.
GPUNN_API Svg draw(const GraphDrawing& graph);
/// The same graph as DOT text, for Graphviz. Any graph will do.
GPUNN_API std::string to_dot(const GraphDrawing& graph);

}  // namespace gpunn
