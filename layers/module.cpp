#include "gpunn/layers/module.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <typeinfo>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/detail/call_observer.h"

namespace gpunn {

namespace {

constinit thread_local Module* current_module = nullptr;
constinit thread_local detail::CallObserver* observer = nullptr;

Tensor copy_values(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  NoGrad no_grad;
  MemoryTagScope tag(MemoryTag::weights);
  return tensor.detach().clone();
}

// Depth-first walk with the full key of each tensor.
class Walk : public MemberVisitor {
 public:
  virtual void tensor(const std::string& key, Tensor& value, bool is_parameter) = 0;

  void parameter(const char* name, Parameter& value) final { tensor(prefix_ + name, value, true); }
  void buffer(const char* name, Buffer& value) final { tensor(prefix_ + name, value, false); }
  void child(const char* name, Module& module) final;

 protected:
  ~Walk() = default;

 private:
  std::string prefix_;
};

template <class F>
class WalkWith final : public Walk {
 public:
  explicit WalkWith(F f) : f_(std::move(f)) {}
  void tensor(const std::string& key, Tensor& value, bool is_parameter) override {
    f_(key, value, is_parameter);
  }

 private:
  F f_;
};

template <class F>
void walk(Module& module, F f) {
  WalkWith<F> visitor(std::move(f));
  module.visit_members(visitor);
}

StateDict collect(Module& module, bool parameters, bool buffers) {
  StateDict out;
  std::set<const TensorImpl*> seen;
  walk(module, [&](const std::string& key, Tensor& value, bool is_parameter) {
    if ((is_parameter ? parameters : buffers) && seen.insert(&value.impl()).second)
      out.push_back({key, value});
  });
  return out;
}

// The tensor behind `handle` becomes `value`'s, so that other handles (an optimizer's) follow.
void replace(Tensor& handle, const Tensor& value) {
  TensorImpl& to = handle.impl();
  const TensorImpl& from = value.impl();
  to.storage = from.storage;
  to.shape = from.shape;
  to.strides = from.strides;
  to.offset = from.offset;
  to.dtype = from.dtype;
  to.layout = from.layout;
}

}  // namespace

// Gives the direct children of a module their names.
struct ModuleNames final : MemberVisitor {
  static void give(Module& module) {
    ModuleNames visitor;
    module.visit_members(visitor);
  }
  static void set(Module& module, const char* name) {
    if (module.name_.load(std::memory_order_acquire) != name)
      module.name_.store(name, std::memory_order_release);
  }
  void parameter(const char*, Parameter&) override {}
  void buffer(const char*, Buffer&) override {}
  void child(const char* name, Module& module) override { set(module, name); }
};

namespace {
void Walk::child(const char* name, Module& module) {
  ModuleNames::set(module, name);
  const std::size_t length = prefix_.size();
  prefix_ += name;
  prefix_ += '.';
  module.visit_members(*this);
  prefix_.resize(length);
}
}  // namespace

MemberVisitor::~MemberVisitor() = default;

Parameter::Parameter(Tensor value) : Tensor(std::move(value)) {
  if (!defined()) return;
  storage().retag(MemoryTag::weights);
  requires_grad_();
}
Parameter::Parameter(const Parameter& other) : Tensor(copy_values(other)) {
  if (defined()) requires_grad_(other.requires_grad());
}
Parameter& Parameter::operator=(const Parameter& other) {
  if (this != &other) *this = Parameter(other);
  return *this;
}

Buffer::Buffer(Tensor value) : Tensor(std::move(value)) {
  if (defined()) storage().retag(MemoryTag::weights);
}
Buffer::Buffer(const Buffer& other) : Tensor(copy_values(other)) {}
Buffer& Buffer::operator=(const Buffer& other) {
  if (this != &other) *this = Buffer(other);
  return *this;
}

Module::~Module() = default;

Tensor Module::forward(const Tensor&) {
  throw Unsupported(where() + type_name() + " has no forward of one tensor");
}

Tensor Module::operator()(const Tensor& x) {
  ModuleScope scope(*this);
  if (observer) [[unlikely]]
    return observer->call(*this, x);
  return forward(x);
}

void Module::visit_members(MemberVisitor&) {}

std::unique_ptr<Module> Module::copy_module() const {
  throw Unsupported(type_name() + " cannot be copied: its class needs GPUNN_MEMBERS()");
}

std::vector<Tensor> Module::parameters() {
  std::vector<Tensor> out;
  for (NamedTensor& p : collect(*this, true, false)) out.push_back(std::move(p.second));
  return out;
}
StateDict Module::named_parameters() { return collect(*this, true, false); }
StateDict Module::named_buffers() { return collect(*this, false, true); }

StateDict Module::state_dict() {
  StateDict out;
  walk(*this, [&](const std::string& key, Tensor& value, bool) { out.push_back({key, value}); });
  return out;
}

void Module::load_state_dict(const StateDict& state, bool strict) {
  std::map<std::string_view, const Tensor*> given;
  for (const NamedTensor& entry : state) given.emplace(entry.first, &entry.second);
  std::string missing, unexpected, shapes;
  const auto add = [](std::string& list, const std::string& text) {
    list += (list.empty() ? "" : ", ") + text;
  };

  const StateDict own = state_dict();
  // A tied parameter has two keys, and files differ in which they hold.
  std::set<const TensorImpl*> filled;
  for (const NamedTensor& entry : own)
    if (given.count(entry.first)) filled.insert(&entry.second.impl());
  for (const NamedTensor& entry : own) {
    const auto found = given.find(entry.first);
    if (found == given.end()) {
      if (strict && !filled.count(&entry.second.impl())) add(missing, entry.first);
      continue;
    }
    if (!(found->second->shape() == entry.second.shape()))
      add(shapes, entry.first + " expected " + to_string(entry.second.shape()) + ", got " +
                      to_string(found->second->shape()));
  }
  if (strict) {
    std::set<std::string_view> keys;
    for (const NamedTensor& entry : own) keys.insert(entry.first);
    for (const NamedTensor& entry : state)
      if (!keys.count(entry.first)) add(unexpected, entry.first);
  }
  std::string message;
  if (!missing.empty()) message += "; missing: " + missing;
  if (!unexpected.empty()) message += "; unexpected: " + unexpected;
  if (!shapes.empty()) message += "; wrong shape: " + shapes;
  if (!message.empty()) throw InvalidArgument("state dict does not fit " + type_name() + message);

  NoGrad no_grad;
  for (const NamedTensor& entry : own) {
    const auto found = given.find(entry.first);
    if (found != given.end()) entry.second.copy_(*found->second);
  }
}

std::int64_t Module::parameter_count() {
  std::int64_t count = 0;
  for (const Tensor& p : parameters()) count += p.numel();
  return count;
}

void Module::to(Device device) {
  NoGrad no_grad;
  walk(*this, [&](const std::string&, Tensor& value, bool) {
    if (value.device() == device) return;
    const Tensor grad = value.grad();
    value.zero_grad();
    MemoryTagScope tag(MemoryTag::weights);
    replace(value, value.detach().to(device));
    if (grad.defined()) value.set_grad(grad.to(device));
  });
}

void Module::to(DType dtype) {
  GPUNN_CHECK(is_floating(dtype), "expected a floating dtype for a module, got ", dtype);
  NoGrad no_grad;
  walk(*this, [&](const std::string&, Tensor& value, bool) {
    if (!is_floating(value.dtype()) || value.dtype() == dtype) return;
    value.zero_grad();
    MemoryTagScope tag(MemoryTag::weights);
    replace(value, value.detach().to(dtype));
  });
}

void Module::train(bool on) {
  struct Modes final : MemberVisitor {
    bool on = true;
    void parameter(const char*, Parameter&) override {}
    void buffer(const char*, Buffer&) override {}
    void child(const char* name, Module& module) override {
      ModuleNames::set(module, name);
      module.train(on);
    }
  };
  training_ = on;
  Modes visitor;
  visitor.on = on;
  visit_members(visitor);
}

void Module::zero_grad() {
  walk(*this, [](const std::string&, Tensor& value, bool) { value.zero_grad(); });
}

const char* Module::name() const noexcept {
  const char* name = name_.load(std::memory_order_acquire);
  return name ? name : "";
}

std::string Module::type_name() const {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &status), std::free);
  std::string full = status == 0 ? text.get() : typeid(*this).name();
  // Scopes go, those of template arguments too: "SpectralNorm<Conv2d>". A scope may end in a parenthesis.
  for (std::size_t end; (end = full.rfind("::")) != std::string::npos;) {
    const std::size_t last = end > 0 && full[end - 1] == ')' ? full.rfind('(', end) : end;
    const std::size_t before = last == 0 ? std::string::npos : full.find_last_of("<, :", last - 1);
    const std::size_t start = before == std::string::npos ? 0 : before + 1;
    full.erase(start, end + 2 - start);
  }
  return full;
}

const char* ModuleScope::name_of(Module& module) {
  const char* name = module.name_.load(std::memory_order_acquire);
  if (!name && current_module) {
    // First call at this place: the parent names its children, and they keep the names until they are moved
    // away.
    ModuleNames::give(*current_module);
    name = module.name_.load(std::memory_order_acquire);
  }
  return name ? name : "";
}

ModuleScope::ModuleScope(Module& module) : parent_(current_module), layer_(name_of(module)) {
  current_module = &module;
}

ModuleScope::~ModuleScope() { current_module = parent_; }

namespace detail {

CallObserver* call_observer() noexcept { return observer; }
ObserveCalls::ObserveCalls(CallObserver* o) noexcept : previous_(observer) { observer = o; }
ObserveCalls::~ObserveCalls() { observer = previous_; }

const char* indexed_name(const char* name, std::size_t index) {
  // Leaked: names must outlive every module, those with static storage included.
  static std::mutex& mutex = *new std::mutex;
  static std::set<std::string>& names = *new std::set<std::string>;
  std::string key = *name ? std::string(name) + "." + std::to_string(index) : std::to_string(index);
  const std::lock_guard lock(mutex);
  return names.insert(std::move(key)).first->c_str();
}
}  // namespace detail

}  // namespace gpunn
