#pragma once
// On which stream the forward of a recorded op ran, so that its backward can run there too.
//
// Kept beside the nodes: only those recorded within a StreamScope are here, and programs without streams pay
// a load per node. A stream's handle lives as long as its context, so it may be used after the Stream is
// gone.
#include "gpunn/core/exec.h"

namespace gpunn {
class Node;
}

namespace gpunn::detail {

struct NodeStream {
  DeviceContext* context = nullptr;  // null: recorded on no stream but the default ones
  RawStream stream = nullptr;
};

/// `node` ran on `context`, on the calling thread's current stream there.
void note_node_stream(const Node& node, DeviceContext& context);
NodeStream node_stream(const Node& node) noexcept;
void forget_node_stream(const Node& node) noexcept;

}  // namespace gpunn::detail
