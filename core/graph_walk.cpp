#include "gpunn/core/graph_walk.h"

#include <algorithm>

#include "gpunn/core/detail/graph.h"

namespace gpunn::autograd {

Edge gradient_edge(const Tensor& tensor) { return GraphAccess::edge_of(tensor); }

void visit_graph(std::span<const Tensor> outputs, const std::function<void(const Node&)>& visit) {
  Backward::NodeSet seen;
  std::vector<const Node*> ops, leaves;
  const auto reach = [&](const Edge& edge, std::vector<const Node*>& found, bool want_leaf) {
    const Node* node = edge.node.get();
    if (!node || (dynamic_cast<const LeafNode*>(node) != nullptr) != want_leaf) return;
    if (seen.insert(node).second) found.push_back(node);
  };
  std::vector<Edge> roots;
  for (const Tensor& out : outputs) roots.push_back(GraphAccess::edge_of(out));
  for (const Edge& root : roots) reach(root, ops, false);
  for (std::size_t i = 0; i < ops.size(); ++i)
    for (const Edge& edge : ops[i]->inputs()) reach(edge, ops, false);
  std::sort(ops.begin(), ops.end(),
            [](const Node* a, const Node* b) { return a->sequence() > b->sequence(); });
  // Leaves apart: their nodes are made on first use, so that their numbers say nothing about the order.
  for (const Edge& root : roots) reach(root, leaves, true);
  for (const Node* op : ops)
    for (const Edge& edge : op->inputs()) reach(edge, leaves, true);
  for (const auto* nodes : {&ops, &leaves})
    for (const Node* node : *nodes) visit(*node);
}

}  // namespace gpunn::autograd
