// The recorded graph as a visitor sees it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpunn/core/graph_walk.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

std::vector<const Node*> nodes_of(const std::vector<Tensor>& outputs) {
  std::vector<const Node*> nodes;
  autograd::visit_graph(outputs, [&](const Node& node) { nodes.push_back(&node); });
  return nodes;
}

std::vector<std::string> names_of(const std::vector<const Node*>& nodes) {
  std::vector<std::string> names;
  names.reserve(nodes.size());
  for (const Node* node : nodes) names.emplace_back(node->name());
  return names;
}

std::size_t place_of(const std::vector<const Node*>& nodes, const Node* node) {
  return static_cast<std::size_t>(std::find(nodes.begin(), nodes.end(), node) - nodes.begin());
}

TEST(GraphWalk, OpsFromTheNewestThenLeaves) {
  const Tensor a = Tensor::from({2, 3}).requires_grad_(), b = Tensor::from({4, 5}).requires_grad_();
  const Tensor squares = a * a, product = squares * b, y = sum(product);
  const std::vector<const Node*> nodes = nodes_of({y});
  EXPECT_EQ(names_of(nodes), (std::vector<std::string>{"sum", "mul", "mul", "leaf", "leaf"}));
  // a is used twice and comes once; the edges say which operand is which.
  EXPECT_EQ(nodes[0], autograd::gradient_edge(y).node.get());
  ASSERT_EQ(nodes[1]->inputs().size(), 2U);
  EXPECT_EQ(nodes[1]->inputs()[0].node.get(), autograd::gradient_edge(squares).node.get());
  EXPECT_EQ(nodes[1]->inputs()[1].node.get(), autograd::gradient_edge(b).node.get());
  for (const Edge& edge : nodes[2]->inputs())
    EXPECT_EQ(edge.node.get(), autograd::gradient_edge(a).node.get());
  for (const Node* node : nodes)
    for (const Edge& edge : node->inputs())
      EXPECT_LT(place_of(nodes, node), place_of(nodes, edge.node.get())) << node->name();
}

TEST(GraphWalk, ConstantsAndUnrecordedTensorsHaveNoNode) {
  const Tensor a = Tensor::from({1, 2}).requires_grad_(), c = Tensor::from({3, 4});
  EXPECT_EQ(autograd::gradient_edge(c).node.get(), nullptr);
  EXPECT_EQ(autograd::gradient_edge(Tensor()).node.get(), nullptr);
  EXPECT_TRUE(nodes_of({c, Tensor()}).empty());
  const Tensor y = a * c;
  const std::vector<const Node*> nodes = nodes_of({c, y, y});
  ASSERT_EQ(names_of(nodes), (std::vector<std::string>{"mul", "leaf"}));
  EXPECT_EQ(nodes[0]->inputs()[1].node.get(), nullptr);
  NoGrad no_grad;
  EXPECT_TRUE(nodes_of({a * c}).empty());
}

TEST(GraphWalk, WalkingChangesNothing) {
  const Tensor a = Tensor::from({3}).requires_grad_();
  const Tensor y = a * a;
  const std::int64_t live = autograd::live_nodes();
  EXPECT_EQ(nodes_of({y}).size(), 2U);
  EXPECT_EQ(autograd::live_nodes(), live);
  y.backward();
  EXPECT_EQ(a.grad().item(), 6);
  EXPECT_EQ(names_of(nodes_of({y})), (std::vector<std::string>{"mul", "leaf"})) << "freed graphs too";
}

TEST(GraphWalk, DeepGraphsNeedNoDeepStack) {
  const Tensor a = Tensor::from({1}).requires_grad_();
  Tensor y = a;
  for (int i = 0; i < 20'000; ++i) y = y + 1;
  EXPECT_EQ(nodes_of({y}).size(), 20'001U);
}

}  // namespace
}  // namespace gpunn
