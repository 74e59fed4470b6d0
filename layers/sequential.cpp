#include "gpunn/layers/sequential.h"

#include <typeinfo>

#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"

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
  const bool is_linear = typeid(module) == typeid(Linear);
  const Activation activation = activation_of(module);
  entries_.push_back({std::move(layer), is_linear, activation});
}

Module& Sequential::operator[](std::size_t i) {
  GPUNN_CHECK(i < entries_.size(), "expected a layer number below ", entries_.size(), ", got ", i);
  return *entries_[i].module;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Module& module = *entries_[i].module;
    if (entries_[i].is_linear && i + 1 < entries_.size() && entries_[i + 1].activation != Activation::none) {
      ModuleScope scope(module);
      y = static_cast<Linear&>(module).forward(y, entries_[i + 1].activation);
      ++i;
    } else {
      y = module(y);
    }
  }
  return y;
}

void Sequential::visit_members(MemberVisitor& visitor) {
  for (std::size_t i = 0; i < entries_.size(); ++i)
    visitor.child(detail::indexed_name("", i), *entries_[i].module);
}

}  // namespace gpunn
