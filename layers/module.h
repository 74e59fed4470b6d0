#pragma once
// Module: state (parameters, buffers, children), listed once, and a forward that calls ops.
//
//   struct Net : gpunn::Module {
//     gpunn::Linear fc1{784, 128}, fc2{128, 10};
//     GPUNN_MEMBERS(fc1, fc2)
//     gpunn::Tensor forward(const gpunn::Tensor& x) override { return fc2(relu(fc1(x))); }
//   };
//
// Nothing points to a member, so a module moves freely, and moving keeps its tensors: an optimizer made
// before stays attached. Copying copies the values. Keys of the state dict are PyTorch's ("fc1.weight"). A
// child called from its parent's forward runs under its own name, so errors read "[fc1: linear] expected
// input [*, 784], got [64, 783]".
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/tensor.h"
#include "gpunn/layers/detail/for_each.h"

namespace gpunn {

class Module;

/// A trained tensor of a module: a leaf that needs a gradient. Copying copies the values, moving keeps the
/// tensor.
class GPUNN_API Parameter : public Tensor {
 public:
  Parameter() = default;
  /// Takes `value` over. Throws InvalidArgument for integers and for results of recorded ops.
  Parameter(Tensor value);
  Parameter(const Parameter& other);
  Parameter(Parameter&&) noexcept = default;
  Parameter& operator=(const Parameter& other);
  Parameter& operator=(Parameter&&) noexcept = default;
};

/// State that is saved with a module and not trained (running statistics). Copies and moves like a Parameter.
class GPUNN_API Buffer : public Tensor {
 public:
  Buffer() = default;
  Buffer(Tensor value);
  Buffer(const Buffer& other);
  Buffer(Buffer&&) noexcept = default;
  Buffer& operator=(const Buffer& other);
  Buffer& operator=(Buffer&&) noexcept = default;
};

/// In the order of GPUNN_MEMBERS, depth first.
using StateDict = std::vector<NamedTensor>;

/// What GPUNN_MEMBERS reports to. Names are literals or interned: they live as long as the process.
class GPUNN_API MemberVisitor {
 public:
  virtual void parameter(const char* name, Parameter& value) = 0;
  virtual void buffer(const char* name, Buffer& value) = 0;
  virtual void child(const char* name, Module& value) = 0;

 protected:
  ~MemberVisitor();
};

class GPUNN_API Module {
 public:
  Module() = default;
  virtual ~Module();
  // A name belongs to a place, not to a value: a new object has none yet, an assigned one keeps its own.
  Module(const Module& other) noexcept : training_(other.training_) {}
  Module& operator=(const Module& other) noexcept {
    training_ = other.training_;
    return *this;
  }

  /// The computation. The default throws Unsupported.
  virtual Tensor forward(const Tensor& x);
  /// forward() under this module's name.
  Tensor operator()(const Tensor& x);

  /// Calls `visitor` for each direct member; written by GPUNN_MEMBERS.
  virtual void visit_members(MemberVisitor& visitor);
  /// A copy behind the base class; written by GPUNN_MEMBERS. Without it: throws Unsupported.
  virtual std::unique_ptr<Module> copy_module() const;

  /// Every parameter once (a tied one at its first place), frozen ones included.
  std::vector<Tensor> parameters();
  StateDict named_parameters();
  StateDict named_buffers();
  /// Parameters and buffers; the tensors are the module's own, not copies.
  StateDict state_dict();
  /// Copies values in, converting dtype and device. `strict` demands the same keys on both sides. Throws
  /// InvalidArgument that lists every missing and unexpected key and every wrong shape; the module is then
  /// unchanged.
  void load_state_dict(const StateDict& state, bool strict = true);
  std::int64_t parameter_count();

  /// Moves parameters, their gradients and buffers; handles to them stay valid.
  void to(Device device);
  /// Converts floating parameters and buffers; gradients are dropped.
  void to(DType dtype);
  /// Training mode, for layers that behave differently in it; reaches all children.
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const noexcept { return training_; }
  void zero_grad();

  /// Name under the parent, "" for a root or when no parent listed it yet.
  const char* name() const noexcept;
  /// Class name without namespace, for summaries.
  std::string type_name() const;

 private:
  friend class ModuleScope;
  friend struct ModuleNames;
  std::atomic<const char*> name_{nullptr};  // atomic: concurrent forwards may name a child at the same time
  bool training_ = true;
};

/// Runs the code of a module under its name. `operator()` opens it; a module with another signature opens its
/// own:
///   Tensor operator()(const Tensor& q, const Tensor& k) { ModuleScope scope(*this); … }
class GPUNN_API ModuleScope {
 public:
  explicit ModuleScope(Module& module);
  ~ModuleScope();
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  static const char* name_of(Module& module);

  Module* parent_;
  LayerScope layer_;
};

/// A copy with its own values; the same as copying, said aloud.
template <std::derived_from<Module> M>
M clone(const M& module) {
  return M(module);
}

namespace detail {
/// "blocks.3" as text that lives as long as the process.
GPUNN_API const char* indexed_name(const char* name, std::size_t index);

inline void visit_member(MemberVisitor& v, const char* name, Parameter& p) {
  if (p.defined()) v.parameter(name, p);
}
inline void visit_member(MemberVisitor& v, const char* name, Buffer& b) {
  if (b.defined()) v.buffer(name, b);
}
inline void visit_member(MemberVisitor& v, const char* name, Module& m) { v.child(name, m); }
template <std::derived_from<Module> M>
void visit_member(MemberVisitor& v, const char* name, std::optional<M>& m) {
  if (m) v.child(name, *m);
}
template <class T>
void visit_member(MemberVisitor& v, const char* name, std::vector<T>& list) {
  for (std::size_t i = 0; i < list.size(); ++i) visit_member(v, indexed_name(name, i), list[i]);
}
}  // namespace detail
}  // namespace gpunn

#define GPUNN_VISIT_MEMBER(member) ::gpunn::detail::visit_member(gpunn_visitor, #member, member);

/// Lists the members that are state: Parameter, Buffer, modules, and std::optional or std::vector of modules.
/// A module without state writes GPUNN_MEMBERS().
#define GPUNN_MEMBERS(...)                                                                       \
  void visit_members([[maybe_unused]] ::gpunn::MemberVisitor& gpunn_visitor)                     \
      override{GPUNN_FOR_EACH(GPUNN_VISIT_MEMBER, __VA_ARGS__)} std::unique_ptr<::gpunn::Module> \
          copy_module() const override {                                                         \
    return std::make_unique<std::remove_cvref_t<decltype(*this)>>(*this);                        \
  }
