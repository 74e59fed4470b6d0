#pragma once
// Where the nodes of a graph stand: ranks, order within a rank, positions.
#include <cstddef>
#include <utility>
#include <vector>

#include "gpunn/io/diagrams.h"

namespace gpunn::detail {

/// A node's extent along the ranks and across them; bends of long arrows have none.
struct LaidNode {
  double along = 0, across = 0;                // of its middle
  double along_extent = 0, across_extent = 0;  // whole
  std::size_t rank = 0;
};

struct GraphLayout {
  std::vector<LaidNode> nodes;                   // the graph's, then the bends
  std::vector<std::vector<std::size_t>> ranks;   // indices of `nodes`, in order
  std::vector<std::vector<std::size_t>> routes;  // of each arrow: from, bends, to
  double along = 0, across = 0;                  // of the whole
};

/// `extents`: {along, across} of each node. Throws InvalidArgument as draw(GraphDrawing).
GraphLayout lay_out(const GraphDrawing& graph, const std::vector<std::pair<double, double>>& extents);

/// Crossings between neighbouring ranks, in the layout's order.
std::size_t crossings_of(const GraphLayout& layout);

}  // namespace gpunn::detail
