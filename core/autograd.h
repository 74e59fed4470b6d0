#pragma once
// Autograd: define-by-run. An op records a Node whose rule maps output gradients to input gradients; this
// file walks the graph and knows no op.
//
// Writing a rule:
//   Tensor y = …;
//   if (autograd::wanted(x, w))
//     autograd::record(y, "op", {x, w}, [x = Saved(x), w = Saved(w)](const Backward& b) -> Gradients {
//       const Tensor& dy = b.grad();
//       return {b.needs(0) ? op_dx(dy, w(b)) : Tensor(), b.needs(1) ? op_dw(dy, x(b)) : Tensor()};
//     });
// Rules call public ops where they can: with create_graph, those record themselves and second derivatives
// work. A fused rule asks `b.creates_graph()` and then runs its composed definition or throws Unsupported
// through b.unsupported().
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/storage.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Is the calling thread recording?
GPUNN_API bool grad_enabled() noexcept;

/// Turns recording off (or on) for a scope.
class GPUNN_API GradMode {
 public:
  explicit GradMode(bool on) noexcept;
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};
class NoGrad : public GradMode {
 public:
  NoGrad() noexcept : GradMode(false) {}
};

/// Gradients by input; an undefined Tensor means none (zero).
using Gradients = std::vector<Tensor>;

/// An edge of the graph: gradient goes to output `index` of `node`.
struct Edge {
  Ref<Node> node;
  std::uint32_t index = 0;
};

/// What a rule sees of the walk.
class GPUNN_API Backward {
 public:
  using NodeSet = std::unordered_set<const Node*>;
  /// `needed`: the nodes whose gradients are asked for; null means all.
  Backward(Node& node, const Gradients& grads, bool create_graph, const NodeSet* needed) noexcept
      : node_(node), grads_(grads), needed_(needed), create_graph_(create_graph) {}
  /// Gradient of output `i`; undefined when nothing flowed there.
  const Tensor& grad(std::size_t i = 0) const { return grads_[i]; }
  /// Does input `i` need a gradient?
  bool needs(std::size_t i) const noexcept;
  /// Is backward itself being recorded (second derivatives)?
  bool creates_graph() const noexcept { return create_graph_; }
  Node& node() const noexcept { return node_; }
  /// Throws Unsupported: this op has no second derivative.
  [[noreturn]] void unsupported() const;

 private:
  Node& node_;
  const Gradients& grads_;
  const NodeSet* needed_;
  bool create_graph_;
};

/// A recorded op. Nodes are destroyed iteratively, so graphs may be deep.
class GPUNN_API Node {
 public:
  explicit Node(const char* name);
  virtual ~Node();
  /// Input gradients, one per input edge (shorter: the rest is none).
  virtual Gradients apply(const Backward& backward) = 0;
  /// Drops what was saved; a second backward through it then throws.
  virtual void release_saved() = 0;

  const char* name() const noexcept { return name_; }
  const std::string& layer() const noexcept { return layer_; }
  const std::vector<Edge>& inputs() const noexcept { return inputs_; }
  std::uint64_t sequence() const noexcept { return sequence_; }
  std::uint32_t outputs() const noexcept { return outputs_; }
  bool released() const noexcept { return released_; }

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(this);
  }

 private:
  friend struct GraphAccess;
  static void destroy(Node* node) noexcept;

  std::vector<Edge> inputs_;
  std::string layer_;  // module path at recording time, "" outside modules
  const char* name_;
  std::uint64_t sequence_;  // creation order: backward goes from high to low, a fixed order of accumulation
  std::atomic<std::uint32_t> references_{1};
  std::uint32_t outputs_ = 1;
  bool released_ = false;
};

/// Autograd state of a tensor.
struct AutogradSlot {
  Ref<Node> node;           // the op that made it; null for a leaf
  std::uint32_t index = 0;  // which of the node's outputs
  bool requires_grad = false;
  Ref<Node> accumulator;  // of a leaf, made on first use
  Tensor grad;
};

/// A tensor kept for backward, with the version its storage had. Reading it after an in-place overwrite, or
/// after the graph was released, throws InvalidArgument naming the op and layer.
class GPUNN_API Saved {
 public:
  Saved() = default;
  /// An input of the op (keeps its history).
  explicit Saved(const Tensor& input);
  /// The op's own output `index`: kept without its node, so that the graph has no cycle.
  static Saved output(const Tensor& output, std::uint32_t index = 0);
  /// The tensor, with its history when backward is being recorded.
  Tensor operator()(const Backward& backward) const;
  bool defined() const noexcept { return tensor_.defined(); }

 private:
  Tensor tensor_;
  std::uint32_t version_ = 0;
  std::uint32_t output_ = 0;
  bool is_output_ = false;
};

namespace autograd {

/// Does any of these need a gradient while recording is on?
inline bool wanted(std::initializer_list<const Tensor*> inputs) noexcept {
  if (!grad_enabled()) return false;
  for (const Tensor* t : inputs)
    if (t->defined() && t->requires_grad()) return true;
  return false;
}
template <class... T>
bool wanted(const T&... inputs) noexcept {
  return wanted({&inputs...});
}

namespace detail {
template <class F>
class RuleNode final : public Node {
 public:
  RuleNode(const char* name, F rule) : Node(name), rule_(std::move(rule)) {}
  Gradients apply(const Backward& b) override { return (*rule_)(b); }
  void release_saved() override { rule_.reset(); }

 private:
  std::optional<F> rule_;
};
GPUNN_API void connect(Ref<Node> node, std::span<const Tensor* const> inputs,
                       std::span<Tensor* const> outputs);
}  // namespace detail

/// Makes `output` the result of a node named `name` (a literal) over `inputs`; undefined inputs are skipped
/// but counted.
template <class F>
void record(Tensor& output, const char* name, std::initializer_list<const Tensor*> inputs, F rule) {
  Tensor* const out = &output;
  detail::connect(Ref<Node>::adopt(new detail::RuleNode<F>(name, std::move(rule))),
                  std::span(inputs.begin(), inputs.size()), std::span(&out, 1));
}
/// The same for several outputs.
template <class F>
void record(std::initializer_list<Tensor*> outputs, const char* name,
            std::initializer_list<const Tensor*> inputs, F rule) {
  detail::connect(Ref<Node>::adopt(new detail::RuleNode<F>(name, std::move(rule))),
                  std::span(inputs.begin(), inputs.size()), std::span(outputs.begin(), outputs.size()));
}

/// Runs backward from `outputs` and adds to the .grad of every leaf. Gradients default to one for single
/// elements.
GPUNN_API void backward(std::span<const Tensor> outputs, std::span<const Tensor> gradients = {},
                        bool retain_graph = false, bool create_graph = false);

/// d outputs / d inputs, returned instead of accumulated. Undefined where an input is not reached and
/// `allow_unused`.
GPUNN_API std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                                   std::span<const Tensor> gradients = {}, bool retain_graph = false,
                                   bool create_graph = false, bool allow_unused = false);

/// Throws Unsupported when an in-place write to `tensor` would corrupt gradients.
GPUNN_API void check_in_place(const Tensor& tensor, const char* op);

/// Number of live nodes in the process, for leak tests.
GPUNN_API std::int64_t live_nodes() noexcept;

}  // namespace autograd
}  // namespace gpunn
