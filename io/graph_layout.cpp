// Layers of a graph after Sugiyama: longest-path ranks, bends in long arrows, barycentre order, positions.
#include <algorithm>
#include <numeric>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/graph_layout.h"

namespace gpunn::detail {
namespace {

constexpr std::size_t kMaxNodes = 500;
constexpr double kRankGap = 46, kNodeGap = 20;
constexpr int kOrderSweeps = 12, kPlaceSweeps = 8;

using Index = std::size_t;
using Neighbours = std::vector<std::vector<Index>>;

/// Nodes so that arrows lead from earlier to later ones.
std::vector<Index> topological_order(const GraphDrawing& graph) {
  std::vector<Index> missing(graph.nodes.size()), order;
  for (const auto& arrow : graph.arrows) ++missing[arrow.to];
  for (Index n = 0; n < missing.size(); ++n)
    if (missing[n] == 0) order.push_back(n);
  for (Index i = 0; i < order.size(); ++i)
    for (const auto& arrow : graph.arrows)
      if (arrow.from == order[i] && --missing[arrow.to] == 0) order.push_back(arrow.to);
  GPUNN_CHECK(order.size() == graph.nodes.size(), "GraphDrawing: the arrows of '", graph.title,
              "' form a cycle");
  return order;
}

std::vector<Index> ranks_of(const GraphDrawing& graph) {
  std::vector<Index> rank(graph.nodes.size());
  std::vector<bool> has_input(graph.nodes.size());
  for (const Index n : topological_order(graph))
    for (const auto& arrow : graph.arrows)
      if (arrow.from == n) rank[arrow.to] = std::max(rank[arrow.to], rank[n] + 1);
  for (const auto& arrow : graph.arrows) has_input[arrow.to] = true;
  // A source stands right before what uses it first.
  for (Index n = 0; n < rank.size(); ++n) {
    Index nearest = graph.nodes.size();
    for (const auto& arrow : graph.arrows)
      if (arrow.from == n) nearest = std::min(nearest, rank[arrow.to]);
    if (!has_input[n] && nearest < graph.nodes.size()) rank[n] = nearest - 1;
  }
  return rank;
}

/// Neighbours in the rank before (`back`) or after.
Neighbours neighbours_of(const GraphLayout& layout, bool back) {
  Neighbours near(layout.nodes.size());
  for (const auto& route : layout.routes)
    for (Index i = 1; i < route.size(); ++i) near[route[back ? i : i - 1]].push_back(route[back ? i - 1 : i]);
  return near;
}

std::vector<double> places_of(const GraphLayout& layout) {
  std::vector<double> place(layout.nodes.size());
  for (const auto& rank : layout.ranks)
    for (Index i = 0; i < rank.size(); ++i) place[rank[i]] = static_cast<double>(i);
  return place;
}

double mean_of(const std::vector<Index>& near, const std::vector<double>& values, double otherwise) {
  if (near.empty()) return otherwise;
  double total = 0;
  for (const Index n : near) total += values[n];
  return total / static_cast<double>(near.size());
}

void reduce_crossings(GraphLayout& layout) {
  const Neighbours before = neighbours_of(layout, true), after = neighbours_of(layout, false);
  auto best = layout.ranks;
  std::size_t fewest = crossings_of(layout);
  for (int sweep = 0; sweep < kOrderSweeps && fewest > 0; ++sweep) {
    const bool forward = sweep % 2 == 0;
    for (Index step = 0; step < layout.ranks.size(); ++step) {
      auto& rank = layout.ranks[forward ? step : layout.ranks.size() - 1 - step];
      const std::vector<double> place = places_of(layout);
      std::vector<double> wish(layout.nodes.size());
      for (const Index n : rank) wish[n] = mean_of(forward ? before[n] : after[n], place, place[n]);
      std::stable_sort(rank.begin(), rank.end(), [&](Index a, Index b) { return wish[a] < wish[b]; });
    }
    const std::size_t now = crossings_of(layout);
    if (now < fewest) {
      fewest = now;
      best = layout.ranks;
    }
  }
  layout.ranks = std::move(best);
}

/// Moves the nodes of a rank towards what they are joined with, as far as their order and extents allow.
void settle(GraphLayout& layout, const std::vector<Index>& rank, const Neighbours& near) {
  std::vector<double> now(layout.nodes.size());
  for (Index n = 0; n < now.size(); ++n) now[n] = layout.nodes[n].across;
  double wished = 0, placed = 0, end = -1e300;
  for (const Index n : rank) {
    LaidNode& node = layout.nodes[n];
    const double wish = mean_of(near[n], now, now[n]);
    node.across = std::max(wish, end + node.across_extent / 2);
    end = node.across + node.across_extent / 2 + kNodeGap;
    wished += wish;
    placed += node.across;
  }
  for (const Index n : rank) layout.nodes[n].across -= (placed - wished) / static_cast<double>(rank.size());
}

void place(GraphLayout& layout) {
  double along = 0;
  for (const auto& rank : layout.ranks) {
    double widest = 0, total = 0;
    for (const Index n : rank) {
      widest = std::max(widest, layout.nodes[n].along_extent);
      total += layout.nodes[n].across_extent + kNodeGap;
    }
    double across = -total / 2;
    for (const Index n : rank) {
      LaidNode& node = layout.nodes[n];
      node.along = along + widest / 2;
      node.across = across + (node.across_extent + kNodeGap) / 2;
      across += node.across_extent + kNodeGap;
    }
    along += widest + kRankGap;
  }
  layout.along = along - kRankGap;
  const Neighbours before = neighbours_of(layout, true), after = neighbours_of(layout, false);
  for (int sweep = 0; sweep < kPlaceSweeps; ++sweep) {
    for (Index r = 1; r < layout.ranks.size(); ++r) settle(layout, layout.ranks[r], before);
    for (Index r = layout.ranks.size(); r-- > 0;) settle(layout, layout.ranks[r], after);
  }
  double low = 1e300, high = -1e300;
  for (const LaidNode& node : layout.nodes) {
    low = std::min(low, node.across - node.across_extent / 2);
    high = std::max(high, node.across + node.across_extent / 2);
  }
  for (LaidNode& node : layout.nodes) node.across -= low;
  layout.across = high - low;
}

}  // namespace

std::size_t crossings_of(const GraphLayout& layout) {
  const std::vector<double> place = places_of(layout);
  std::vector<std::vector<std::pair<double, double>>> steps(layout.ranks.size());
  for (const auto& route : layout.routes)
    for (Index i = 1; i < route.size(); ++i)
      steps[layout.nodes[route[i]].rank].emplace_back(place[route[i - 1]], place[route[i]]);
  std::size_t crossings = 0;
  for (const auto& rank : steps)
    for (Index i = 0; i < rank.size(); ++i)
      for (Index j = i + 1; j < rank.size(); ++j)
        if ((rank[i].first - rank[j].first) * (rank[i].second - rank[j].second) < 0) ++crossings;
  return crossings;
}

GraphLayout lay_out(const GraphDrawing& graph, const std::vector<std::pair<double, double>>& extents) {
  GPUNN_CHECK(!graph.nodes.empty() && graph.nodes.size() <= kMaxNodes, "GraphDrawing: expected 1 to ",
              kMaxNodes, " nodes, got ", graph.nodes.size());
  GPUNN_CHECK(graph.arrows.size() <= 4 * kMaxNodes, "GraphDrawing: expected at most ", 4 * kMaxNodes,
              " arrows, got ", graph.arrows.size());
  for (const auto& arrow : graph.arrows)
    GPUNN_CHECK(arrow.from < graph.nodes.size() && arrow.to < graph.nodes.size(),
                "GraphDrawing: an arrow from ", arrow.from, " to ", arrow.to, " in a graph of ",
                graph.nodes.size(), " nodes");
  GraphLayout layout;
  const std::vector<Index> rank = ranks_of(graph);
  layout.ranks.resize(1 + *std::max_element(rank.begin(), rank.end()));
  for (Index n = 0; n < rank.size(); ++n) {
    layout.nodes.push_back(
        {.along_extent = extents[n].first, .across_extent = extents[n].second, .rank = rank[n]});
    layout.ranks[rank[n]].push_back(n);
  }
  for (const auto& arrow : graph.arrows) {
    std::vector<Index> route{arrow.from};
    for (Index r = rank[arrow.from] + 1; r < rank[arrow.to]; ++r) {
      route.push_back(layout.nodes.size());
      layout.ranks[r].push_back(layout.nodes.size());
      layout.nodes.push_back({.rank = r});
    }
    route.push_back(arrow.to);
    layout.routes.push_back(std::move(route));
  }
  reduce_crossings(layout);
  place(layout);
  return layout;
}

}  // namespace gpunn::detail
