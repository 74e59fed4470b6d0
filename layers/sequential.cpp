#include "gpunn/layers/sequential.h"

#include <typeinfo>

#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/detail/call_observer.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"

namespace gpunn {

namespace {
// Exact types only: a class derived from ReLU may compute something else.
Activation activation_of(const Module& module) {
  if (typeid(module) == typeid(ReLU)) return Activation::relu;
  if (typeid(module) == typeid(Sigmoid)) return Activation::sigmoid;
  if (typeid(module) == typeid(Tanh)) return Activation::tanh;
  if (typeid(module) == typeid(GELU))
    return static_cast<const GELU&>(module).approximate() == GeluApproximate::tanh ? Activation::gelu_tanh
                                                                                   : Activation::gelu;
  return Activation::none;
}
}  // namespace

Sequential::Sequential(const Sequential& other) : Module(other) {
  for (const Entry& entry : other.entries_) add(entry.module->copy_module());
}

Sequential& Sequential::operator=(const Sequential& other) {
  if (this != &other) *this = Sequential(other);
  return *this;
}

void Sequential::add(std::unique_ptr<Module> layer) {
  GPUNN_CHECK(layer != nullptr, "expected a layer for Sequential, got null");
  const Module& module = *layer;
  Kind kind = Kind::other;
  if (typeid(module) == typeid(Linear)) kind = Kind::linear;
  if (typeid(module) == typeid(Conv2d)) kind = Kind::conv;
  if (typeid(module) == typeid(BatchNorm1d) || typeid(module) == typeid(BatchNorm2d)) kind = Kind::norm;
  const Activation activation = activation_of(module);
  entries_.push_back({std::move(layer), kind, activation});
}

Module& Sequential::operator[](std::size_t i) {
  GPUNN_CHECK(i < entries_.size(), "expected a layer number below ", entries_.size(), ", got ", i);
  return *entries_[i].module;
}

// Where the activation stands that layer i can run with: behind it, or behind a batch norm that became a part
// of it. 0: nowhere.
std::size_t Sequential::activation_after(std::size_t i) const {
  const Kind kind = entries_[i].kind;
  if (kind == Kind::other) return 0;
  std::size_t next = i + 1;
  while (kind == Kind::conv && next < entries_.size() && entries_[next].kind == Kind::norm &&
         static_cast<const BatchNorm&>(*entries_[next].module).is_folded())
    ++next;
  if (next == entries_.size()) return 0;
  const Activation activation = entries_[next].activation;
  const bool fits = kind == Kind::linear ? activation != Activation::none : activation == Activation::relu;
  return fits ? next : 0;
}

Tensor Sequential::forward(const Tensor& x) {
  const bool fuse = !detail::call_observer();
  Tensor y = x;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Module& module = *entries_[i].module;
    const std::size_t next = fuse ? activation_after(i) : 0;
    if (next == 0) {
      y = module(y);
      continue;
    }
    ModuleScope scope(module);
    if (entries_[i].kind == Kind::linear)
      y = static_cast<Linear&>(module).forward(y, entries_[next].activation);
    else if (entries_[i].kind == Kind::conv)
      y = static_cast<Conv2d&>(module).forward_relu(y);
    else
      y = static_cast<BatchNorm&>(module).forward_relu(y);
    i = next;
  }
  return y;
}

std::int64_t Sequential::fold_own_batch_norms() {
  std::int64_t pairs = 0;
  for (std::size_t i = 0; i + 1 < entries_.size(); ++i) {
    if (entries_[i].kind != Kind::conv) continue;
    if (auto* norm = dynamic_cast<BatchNorm2d*>(entries_[i + 1].module.get()))
      pairs += fold_pair(static_cast<Conv2d&>(*entries_[i].module), *norm);
  }
  return pairs;
}

void Sequential::visit_members(MemberVisitor& visitor) {
  for (std::size_t i = 0; i < entries_.size(); ++i)
    visitor.child(detail::indexed_name("", i), *entries_[i].module);
}

}  // namespace gpunn
