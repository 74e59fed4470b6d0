// The backward walk: from the newest node to the oldest, so that every consumer of a tensor has run before
// its producer.
#include <algorithm>

#include "gpunn/core/autograd.h"
#include "gpunn/core/detail/graph.h"
#include "gpunn/core/detail/node_streams.h"
#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/error.h"
#include "gpunn/core/stream.h"

namespace gpunn {
namespace {

/// a + b, recorded when gradients of gradients are wanted.
Tensor recorded_add(const Tensor& a, const Tensor& b) {
  Tensor y = detail::raw_add(a, b);
  if (autograd::wanted(a, b))
    autograd::record(y, "add", {&a, &b},
                     [](const Backward& back) -> Gradients { return {back.grad(), back.grad()}; });
  return y;
}

/// Nobody else holds this tensor or its memory.
bool exclusive(const Tensor& t) {
  return t.impl().references.load(std::memory_order_acquire) == 1 && t.storage().exclusive() &&
         t.is_contiguous();
}

void accumulate_into_leaf(TensorImpl& leaf, const Tensor& gradient, bool create_graph) {
  AutogradSlot& slot = *leaf.autograd;
  const MemoryTagScope tag(MemoryTag::gradients);
  if (!slot.grad.defined()) {
    // A gradient that a rule also handed elsewhere must not be shared: optimizers and clipping write into
    // .grad.
    slot.grad = create_graph || exclusive(gradient) ? gradient : gradient.clone();
    slot.grad.storage().retag(MemoryTag::gradients);  // what is taken over was made as an activation
  } else if (create_graph || slot.grad.requires_grad()) {
    slot.grad = recorded_add(slot.grad, gradient);
  } else if (slot.grad.is_contiguous()) {
    detail::raw_add_(slot.grad, gradient);
  } else {
    slot.grad = detail::raw_add(slot.grad, gradient);
  }
}

/// Nodes from which one of `targets` can be reached, targets included. Iterative: graphs may be deep.
Backward::NodeSet reaching(const std::vector<Edge>& roots, const std::vector<Edge>& targets) {
  Backward::NodeSet needed, seen;
  for (const Edge& t : targets) needed.insert(t.node.get());
  std::vector<std::pair<const Node*, std::size_t>> path;
  for (const Edge& root : roots) {
    if (!root.node || !seen.insert(root.node.get()).second) continue;
    path.emplace_back(root.node.get(), 0);
    while (!path.empty()) {
      auto& [node, next] = path.back();
      if (next < node->inputs().size()) {
        const Node* input = node->inputs()[next++].node.get();
        if (input && seen.insert(input).second) path.emplace_back(input, 0);
        continue;
      }
      for (const Edge& e : node->inputs())
        if (e.node && needed.contains(e.node.get())) needed.insert(node);
      path.pop_back();
    }
  }
  return needed;
}

class Walk {
 public:
  /// With `targets`, gradients arriving there are kept in results(); without, they go to the leaves' .grad.
  Walk(bool retain_graph, bool create_graph, const std::vector<Edge>* targets,
       const Backward::NodeSet* needed)
      : retain_graph_(retain_graph), create_graph_(create_graph), targets_(targets), needed_(needed) {
    if (targets) results_.resize(targets->size());
  }

  void add(const Edge& edge, const Tensor& gradient) {
    if (!edge.node || (needed_ && !needed_->contains(edge.node.get()))) return;
    if (auto* leaf = dynamic_cast<LeafNode*>(edge.node.get())) {
      if (targets_)
        keep(edge, gradient);
      else if (leaf->leaf())
        accumulate_into_leaf(*leaf->leaf(), gradient, create_graph_);
      return;
    }
    Pending& pending = pending_for(edge.node);
    Tensor& sum = pending.gradients[edge.index];
    sum = sum.defined() ? recorded_add(sum, gradient) : gradient;
  }

  void run() {
    while (!pending_.empty()) {
      const Pending pending = std::move(pending_.back());
      pending_.pop_back();
      visit(*pending.node, pending.gradients);
    }
  }

  std::vector<Tensor>& results() { return results_; }

 private:
  struct Pending {
    Ref<Node> node;
    Gradients gradients;  // one per output of the node
  };

  /// The waiting entry of `node`; entries are sorted by age, the newest node last. Few wait at a time.
  Pending& pending_for(const Ref<Node>& node) {
    const auto at =
        std::lower_bound(pending_.begin(), pending_.end(), node->sequence(),
                         [](const Pending& p, std::uint64_t s) { return p.node->sequence() < s; });
    if (at != pending_.end() && at->node == node) return *at;
    return *pending_.insert(at, Pending{node, Gradients(node->outputs())});
  }

  void keep(const Edge& edge, const Tensor& gradient) {
    for (std::size_t i = 0; i < targets_->size(); ++i) {
      const Edge& t = (*targets_)[i];
      if (t.node == edge.node && t.index == edge.index)
        results_[i] = results_[i].defined() ? recorded_add(results_[i], gradient) : gradient;
    }
  }

  void visit(Node& node, const Gradients& gradients) {
    if (targets_)
      for (std::uint32_t i = 0; i < gradients.size(); ++i)
        if (gradients[i].defined()) keep({Ref<Node>::share(&node), i}, gradients[i]);
    const detail::ProfiledNode profiled(node.name());
    const LayerScope layer(node.layer());
    if (node.released()) {
      const OpScope op(node.name());
      detail::throw_invalid(
          "backward a second time through a graph that was freed; pass retain_graph to the first");
    }
    // Where its forward ran: branches overlap in backward as well. The order of issue, and so every bit of
    // the result, stays the same.
    std::optional<StreamScope> on_stream;
    if (const auto s = gpunn::detail::node_stream(node); s.context) on_stream.emplace(*s.context, s.stream);
    const Backward backward(node, gradients, create_graph_, needed_);
    Gradients input_gradients = node.apply(backward);
    if (!retain_graph_) GraphAccess::set_released(node);
    for (std::size_t i = 0; i < input_gradients.size(); ++i) {
      // Moved out, so that a gradient given to one input only is not shared any more.
      const Tensor gradient = std::move(input_gradients[i]);
      if (gradient.defined() && i < node.inputs().size()) add(node.inputs()[i], gradient);
    }
  }

  bool retain_graph_, create_graph_;
  const std::vector<Edge>* targets_;
  const Backward::NodeSet* needed_;
  std::vector<Pending> pending_;
  std::vector<Tensor> results_;
};

/// Edges of the outputs, each with its starting gradient added to `walk`.
std::vector<Edge> edges_of(std::span<const Tensor> tensors, const char* role) {
  std::vector<Edge> edges;
  for (const Tensor& t : tensors) {
    edges.push_back(GraphAccess::edge_of(t));
    GPUNN_CHECK(edges.back().node, "expected ", role, " that require a gradient, got one that does not");
  }
  return edges;
}

void start(Walk& walk, std::span<const Tensor> outputs, const std::vector<Edge>& edges,
           std::span<const Tensor> gradients) {
  GPUNN_CHECK(gradients.empty() || gradients.size() == outputs.size(), "expected ", outputs.size(),
              " gradients, got ", gradients.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor& out = outputs[i];
    Tensor g = i < gradients.size() ? gradients[i] : Tensor();
    if (!g.defined()) {
      GPUNN_CHECK(out.numel() == 1, "expected a gradient for an output of shape ", out.shape(),
                  "; only a single element has an implied one");
      g = ones_like(out);
    }
    GPUNN_CHECK(g.shape() == out.shape() && g.dtype() == out.dtype() && g.device() == out.device(),
                "expected a gradient ", out.shape(), " of ", out.dtype(), " on ", out.device(), ", got ",
                g.shape(), " of ", g.dtype(), " on ", g.device());
    walk.add(edges[i], g);
  }
}

}  // namespace

namespace autograd {

void backward(std::span<const Tensor> outputs, std::span<const Tensor> gradients, bool retain_graph,
              bool create_graph) {
  const OpScope scope("backward");
  const auto roots = edges_of(outputs, "outputs");
  const GradMode mode(create_graph);
  Walk walk(retain_graph || create_graph, create_graph, nullptr, nullptr);
  start(walk, outputs, roots, gradients);
  walk.run();
}

std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> gradients, bool retain_graph, bool create_graph,
                         bool allow_unused) {
  const OpScope scope("grad");
  const auto roots = edges_of(outputs, "outputs");
  const auto targets = edges_of(inputs, "inputs");
  const auto needed = reaching(roots, targets);
  const GradMode mode(create_graph);
  Walk walk(retain_graph || create_graph, create_graph, &targets, &needed);
  start(walk, outputs, roots, gradients);
  walk.run();
  for (std::size_t i = 0; i < inputs.size(); ++i)
    GPUNN_CHECK(allow_unused || walk.results()[i].defined(), "input ", i,
                " is not used by the outputs; pass allow_unused to get no gradient for it");
  return std::move(walk.results());
}

}  // namespace autograd
}  // namespace gpunn
