#pragma once
// What recording and the backward walk know about nodes beyond the public face.
#include <span>

#include "gpunn/core/autograd.h"

namespace gpunn {

/// Where a gradient ends: belongs to a leaf tensor, which it does not keep alive.
class LeafNode final : public Node {
 public:
  explicit LeafNode(TensorImpl* leaf) : Node("leaf"), leaf_(leaf) {}
  Gradients apply(const Backward&) override { return {}; }
  void release_saved() override {}
  TensorImpl* leaf() const noexcept { return leaf_; }
  void detach() noexcept { leaf_ = nullptr; }

 private:
  TensorImpl* leaf_;
};

struct GraphAccess {
  /// The edge that leads to `t`'s gradient; its node is null when none is wanted.
  static Edge edge_of(const Tensor& t) {
    AutogradSlot* slot = t.defined() ? t.impl().autograd.get() : nullptr;
    if (!slot) return {};
    if (slot->node) return {slot->node, slot->index};
    if (!slot->requires_grad) return {};
    if (!slot->accumulator) slot->accumulator = Ref<Node>::adopt(new LeafNode(&t.impl()));
    return {slot->accumulator, 0};
  }

  static void set_inputs(Node& node, std::span<const Tensor* const> inputs) {
    node.inputs_.reserve(inputs.size());
    for (const Tensor* t : inputs) node.inputs_.push_back(edge_of(*t));
  }
  static void set_outputs(Node& node, std::uint32_t count) { node.outputs_ = count; }
  static void set_released(Node& node) {
    node.release_saved();
    node.released_ = true;
  }

  static void attach(Tensor& t, Ref<Node> node, std::uint32_t index) {
    TensorImpl& impl = t.impl();
    if (!impl.autograd) impl.autograd = std::make_unique<AutogradSlot>();
    impl.autograd->node = std::move(node);
    impl.autograd->index = index;
  }
  static void detach_leaf(Node& accumulator) { static_cast<LeafNode&>(accumulator).detach(); }
};

}  // namespace gpunn
