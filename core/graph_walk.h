#pragma once
// The recorded graph from outside, for drawings and inspection. Nothing here computes or releases anything;
// graphs that backward has freed can be looked at too.
#include <functional>
#include <span>

#include "gpunn/core/api.h"
#include "gpunn/core/autograd.h"

namespace gpunn::autograd {

/// Where the gradient of `tensor` goes: the node that made it and which of that node's outputs it is; for a
/// leaf the node, named "leaf", that stands for it. The node is null when `tensor` wants no gradient.
GPUNN_API Edge gradient_edge(const Tensor& tensor);

/// Calls `visit` once for each node that the gradients of `outputs` can reach, leaves included. A node comes
/// after every node that uses it: ops from the newest to the oldest, then leaves in the order in which those
/// ops name them. Outputs that want no gradient are passed over. Takes n log n for n nodes, no deep stack.
GPUNN_API void visit_graph(std::span<const Tensor> outputs, const std::function<void(const Node&)>& visit);

}  // namespace gpunn::autograd
