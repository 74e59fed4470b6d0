// Diagrams: what is drawn, how graphs are laid out, and what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/graph_layout.h"
#include "gpunn/io/diagrams.h"
#include "tests/io/markup.h"

namespace gpunn {
namespace {

using testing::count_of;
using testing::expect_well_formed;

NetworkDiagram small_net() {
  return {.title = "2-3-1",
          .layers = {{.name = "input", .neurons = 2, .labels = {"2", "<3>"}},
                     {.name = "hidden", .neurons = 3, .notes = {"b 0.1", "b -0.2", "b 0.3"}},
                     {.name = "output", .neurons = 1}},
          .weights = {{0.5, 0.2, -0.3, 0.6, 0.8, -0.4}, {0.4, -0.5, 0.7}}};
}

TEST(NetworkDiagram, DrawsNeuronsConnectionsAndWeights) {
  const std::string svg = draw(small_net()).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "<circle class=\"box\""), 6U);
  EXPECT_EQ(count_of(svg, "<line class=\"s0"), 6U);
  EXPECT_EQ(count_of(svg, "<line class=\"s1"), 3U);
  for (const char* text : {">2-3-1<", ">input<", ">hidden<", ">&lt;3&gt;<", ">b -0.2<", ">-0.3<", ">0.7<",
                           "<title>1 to 2: -0.3</title>", "<title>2 to 1: 0.2</title>"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  EXPECT_EQ(count_of(svg, " wide\""), 4U);  // 0.6 and 0.8 of 0.8, 0.5 and 0.7 of 0.7: above two thirds
}

TEST(NetworkDiagram, LargeLayersAreCut) {
  NetworkDiagram diagram{.layers = {{.name = "pixels", .neurons = 784}, {.name = "classes", .neurons = 10}}};
  const std::string svg = draw(diagram).markup();
  expect_well_formed(svg);
  EXPECT_EQ(count_of(svg, "<circle class=\"box\""), 20U);
  EXPECT_EQ(count_of(svg, "<line class=\"s6 faint\""), 100U);
  EXPECT_NE(svg.find(">pixels 784<"), std::string::npos);
  // The last neuron keeps its number.
  diagram.weights = {std::vector<double>(7840, 0.5)};
  diagram.weights[0].back() = -1;
  EXPECT_NE(draw(diagram).markup().find("<title>784 to 10: -1</title>"), std::string::npos);
}

TEST(NetworkDiagram, RefusesWhatDoesNotFit) {
  const auto refused = [](auto change) {
    NetworkDiagram diagram = small_net();
    change(diagram);
    EXPECT_THROW(draw(diagram), InvalidArgument);
  };
  refused([](NetworkDiagram& d) { d.layers.resize(1); });
  refused([](NetworkDiagram& d) { d.layers[1].neurons = 0; });
  refused([](NetworkDiagram& d) { d.layers[0].labels.pop_back(); });
  refused([](NetworkDiagram& d) { d.layers[1].notes.emplace_back("more"); });
  refused([](NetworkDiagram& d) { d.weights.pop_back(); });
  refused([](NetworkDiagram& d) { d.weights[0].pop_back(); });
  refused([](NetworkDiagram& d) { d.width = 100; });
  refused([](NetworkDiagram& d) { d.max_neurons = 1; });
}

GraphDrawing graph_of(std::size_t nodes, const std::vector<GraphDrawing::Arrow>& arrows) {
  GraphDrawing graph;
  for (std::size_t n = 0; n < nodes; ++n) graph.nodes.push_back({.label = "n" + std::to_string(n)});
  graph.arrows = arrows;
  return graph;
}

detail::GraphLayout layout_of(const GraphDrawing& graph) {
  return detail::lay_out(graph, std::vector<std::pair<double, double>>(graph.nodes.size(), {50, 30}));
}

TEST(GraphDrawing, RanksFollowTheLongestPath) {
  // 0 -> 1 -> 2 -> 3 with 0 -> 3 as well, and a source 4 that only 3 uses.
  const auto layout = layout_of(graph_of(5, {{0, 1}, {1, 2}, {2, 3}, {0, 3}, {4, 3}}));
  EXPECT_EQ(layout.nodes[3].rank, 3U);
  EXPECT_EQ(layout.nodes[4].rank, 2U);
  EXPECT_EQ(layout.routes[3].size(), 4U) << "two bends";
  for (const auto& route : layout.routes)
    for (std::size_t i = 1; i < route.size(); ++i)
      EXPECT_LT(layout.nodes[route[i - 1]].along, layout.nodes[route[i]].along);
}

TEST(GraphDrawing, NodesDoNotOverlapAndStayInside) {
  const auto layout =
      layout_of(graph_of(9, {{0, 4}, {1, 4}, {2, 5}, {3, 5}, {4, 6}, {5, 6}, {0, 6}, {7, 8}, {1, 8}}));
  for (const auto& rank : layout.ranks)
    for (std::size_t i = 1; i < rank.size(); ++i) {
      const auto &a = layout.nodes[rank[i - 1]], &b = layout.nodes[rank[i]];
      EXPECT_GE(b.across - a.across, (a.across_extent + b.across_extent) / 2 + 1);
    }
  for (const auto& node : layout.nodes) {
    EXPECT_GE(node.across, node.across_extent / 2 - 1e-9);
    EXPECT_LE(node.across, layout.across - node.across_extent / 2 + 1e-9);
    EXPECT_LE(node.along, layout.along);
  }
}

TEST(GraphDrawing, CrossingsThatNeedNotBeAreRemoved) {
  // Three chains whose ends are listed in the opposite order.
  const auto layout = layout_of(graph_of(9, {{0, 5}, {1, 4}, {2, 3}, {5, 6}, {4, 7}, {3, 8}}));
  EXPECT_EQ(detail::crossings_of(layout), 0U);
  // Every one of three joined with every one of three: nine crossings whatever the order.
  std::vector<GraphDrawing::Arrow> all;
  for (std::size_t a = 0; a < 3; ++a)
    for (std::size_t b = 3; b < 6; ++b) all.push_back({a, b});
  EXPECT_EQ(detail::crossings_of(layout_of(graph_of(6, all))), 9U);
}

TEST(GraphDrawing, DrawsNodesAndArrowsBothWays) {
  GraphDrawing graph = graph_of(3, {{0, 1}, {0, 1}, {1, 2}});
  graph.title = "a < b";
  graph.nodes[0] = {.label = "a", .note = "[3]", .kind = GraphDrawing::Kind::input};
  graph.nodes[2].kind = GraphDrawing::Kind::result;
  for (const auto direction : {GraphDrawing::Direction::right, GraphDrawing::Direction::down}) {
    graph.direction = direction;
    const std::string svg = draw(graph).markup();
    expect_well_formed(svg);
    EXPECT_EQ(count_of(svg, "<polyline"), 6U);  // a line and a head each
    EXPECT_EQ(count_of(svg, "<rect class=\"box\""), 3U);
    for (const char* text : {">a &lt; b<", ">a<", ">[3]<", ">n1<"})
      EXPECT_NE(svg.find(text), std::string::npos) << text;
    // The two arrows from a to n1 lie side by side.
    const std::size_t first = svg.find("points=\""),
                      second = svg.find("points=\"", svg.find("points=\"", first + 1) + 1);
    EXPECT_NE(svg.substr(first, 24), svg.substr(second, 24));
  }
}

TEST(GraphDrawing, DotText) {
  GraphDrawing graph = graph_of(2, {{0, 1}, {0, 1}});
  graph.title = "say \"x\"";
  graph.nodes[0] = {.label = "a\\b", .note = "[2]\nmore", .kind = GraphDrawing::Kind::input};
  EXPECT_EQ(to_dot(graph),
            "digraph \"say \\\"x\\\"\" {\n  rankdir=LR;\n  n0 [label=\"a\\\\b\\n[2] more\", shape=ellipse];\n"
            "  n1 [label=\"n1\", shape=box];\n  n0 -> n1;\n  n0 -> n1;\n}\n");
}

TEST(GraphDrawing, RefusesWhatCannotBeDrawn) {
  EXPECT_THROW(draw(GraphDrawing{}), InvalidArgument);
  EXPECT_THROW(draw(graph_of(2, {{0, 2}})), InvalidArgument);
  EXPECT_THROW(draw(graph_of(2, {{0, 1}, {1, 0}})), InvalidArgument);
  EXPECT_THROW(draw(graph_of(1, {{0, 0}})), InvalidArgument);
  EXPECT_THROW(draw(graph_of(501, {})), InvalidArgument);
  expect_well_formed(draw(graph_of(1, {})).markup());
}

}  // namespace
}  // namespace gpunn
