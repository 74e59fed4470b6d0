// Recording: slots, nodes, saved tensors. The walk itself is in backward.cpp.
#include "gpunn/core/autograd.h"

#include <atomic>

#include "gpunn/core/detail/graph.h"
#include "gpunn/core/detail/node_streams.h"
#include "gpunn/core/error.h"
#include "gpunn/core/stream.h"

namespace gpunn {

namespace {
constinit thread_local bool recording = true;
std::atomic<std::uint64_t> next_sequence{1};
std::atomic<std::int64_t> node_count{0};
// Nodes waiting to be deleted on this thread: deleting one drops its edges and saved tensors, and those may
// drop the last reference to further nodes. Queuing them keeps the depth of the call stack constant.
constinit thread_local std::vector<Node*>* doomed = nullptr;
}  // namespace

bool grad_enabled() noexcept { return recording; }
GradMode::GradMode(bool on) noexcept : previous_(std::exchange(recording, on)) {}
GradMode::~GradMode() { recording = previous_; }

Node::Node(const char* name)
    : layer_(layer_path()), name_(name), sequence_(next_sequence.fetch_add(1, std::memory_order_relaxed)) {
  node_count.fetch_add(1, std::memory_order_relaxed);
}
Node::~Node() {
  gpunn::detail::forget_node_stream(*this);
  node_count.fetch_sub(1, std::memory_order_relaxed);
}

void Node::destroy(Node* node) noexcept {
  if (doomed) {
    doomed->push_back(node);
    return;
  }
  std::vector<Node*> queue{node};
  doomed = &queue;
  while (!queue.empty()) {
    Node* next = queue.back();
    queue.pop_back();
    delete next;
  }
  doomed = nullptr;
}

bool Backward::needs(std::size_t i) const noexcept {
  const Node* input = i < node_.inputs().size() ? node_.inputs()[i].node.get() : nullptr;
  return input && (!needed_ || needed_->contains(input));
}

void Backward::unsupported() const {
  OpScope scope(node_.name());
  detail::throw_unsupported("has no second derivative; run backward without create_graph");
}

// ---------------------------------------------------------------- tensors' side

TensorImpl::~TensorImpl() {
  if (autograd && autograd->accumulator) GraphAccess::detach_leaf(*autograd->accumulator);
}

bool Tensor::requires_grad() const noexcept {
  const AutogradSlot* slot = impl_ ? impl_->autograd.get() : nullptr;
  return slot && (slot->requires_grad || slot->node);
}

bool Tensor::is_leaf() const noexcept { return !impl_ || !impl_->autograd || !impl_->autograd->node; }

const Tensor& Tensor::requires_grad_(bool on) const {
  TensorImpl& t = impl();
  GPUNN_CHECK(!on || is_floating(t.dtype), "expected a floating tensor to require a gradient, got ", t.dtype);
  GPUNN_CHECK(on || is_leaf(), "only a leaf can stop requiring a gradient; use detach()");
  if (!t.autograd) t.autograd = std::make_unique<AutogradSlot>();
  t.autograd->requires_grad = on;
  return *this;
}

Tensor Tensor::grad() const { return impl().autograd ? impl().autograd->grad : Tensor(); }

void Tensor::set_grad(const Tensor& grad) const {
  TensorImpl& t = impl();
  GPUNN_CHECK(!grad.defined() || (grad.shape() == t.shape && grad.dtype() == t.dtype), "expected a gradient ",
              t.shape, " of ", t.dtype, ", got another shape or dtype");
  if (!t.autograd) t.autograd = std::make_unique<AutogradSlot>();
  if (grad.defined()) grad.storage().retag(MemoryTag::gradients);
  t.autograd->grad = grad;
}

Tensor Tensor::detach() const { return detail::raw_view(*this, shape(), strides(), 0); }

void Tensor::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  const Tensor* const given = gradient.defined() ? &gradient : nullptr;
  autograd::backward(std::span(this, 1), std::span(given, given ? 1 : 0), retain_graph, create_graph);
}

// ---------------------------------------------------------------- saved tensors

Saved::Saved(const Tensor& input)
    : tensor_(input), version_(input.defined() ? input.storage().version() : 0) {}

Saved Saved::output(const Tensor& output, std::uint32_t index) {
  Saved saved(output.detach());
  saved.output_ = index;
  saved.is_output_ = true;
  return saved;
}

Tensor Saved::operator()(const Backward& b) const {
  if (!tensor_.defined()) return tensor_;
  const std::uint32_t now = tensor_.storage().version();
  if (now != version_) {
    const Node& node = b.node();
    detail::throw_invalid(detail::concat(
        "a tensor ", tensor_.shape(), " that ", node.layer(), node.layer().empty() ? "" : ": ", node.name(),
        " needs for backward was overwritten in place: expected version ", version_, ", got ", now));
  }
  if (!is_output_ || !b.creates_graph()) return tensor_;
  Tensor with_history = tensor_.detach();
  GraphAccess::attach(with_history, Ref<Node>::share(&b.node()), output_);
  return with_history;
}

namespace autograd {

namespace detail {

void connect(Ref<Node> node, std::span<const Tensor* const> inputs, std::span<Tensor* const> outputs) {
  GraphAccess::set_inputs(*node, inputs);
  GraphAccess::set_outputs(*node, static_cast<std::uint32_t>(outputs.size()));
  std::uint32_t index = 0;
  for (Tensor* out : outputs) {
    if (out->defined() && is_floating(out->dtype())) GraphAccess::attach(*out, node, index);
    ++index;
  }
  if (gpunn::detail::in_stream_scope() && !outputs.empty() && outputs[0]->defined())
    gpunn::detail::note_node_stream(*node, outputs[0]->context());
}

}  // namespace detail

void check_in_place(const Tensor& tensor, const char* op) {
  if (!grad_enabled() || !tensor.requires_grad()) return;
  OpScope scope(op);
  gpunn::detail::throw_unsupported("in-place change of a tensor that needs a gradient; do it under NoGrad");
}

std::int64_t live_nodes() noexcept { return node_count.load(std::memory_order_relaxed); }

}  // namespace autograd
}  // namespace gpunn
