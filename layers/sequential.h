#pragma once
// Sequential: layers called one after another.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/layers/fold_batch_norm.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Keys "0.weight", "1.weight", … . A Linear followed by a plain ReLU, Sigmoid, Tanh or GELU runs as one
/// kernel with the same values, and so does a Conv2d or a batch norm followed by a ReLU; the activation keeps
/// its place and number.
///   Sequential net(Linear(784, 128), ReLU(), Linear(128, 10));
class GPUNN_API Sequential : public Module, public FoldsBatchNorm {
 public:
  Sequential() = default;
  /// Takes the layers over. A single Sequential is copied or moved, not nested.
  template <std::derived_from<Module>... M>
    requires(sizeof...(M) > 1 || (sizeof...(M) == 1 && !(std::same_as<M, Sequential> && ...)))
  explicit Sequential(M... layers) {
    (add(std::make_unique<M>(std::move(layers))), ...);
  }
  Sequential(const Sequential& other);
  Sequential(Sequential&&) noexcept = default;
  Sequential& operator=(const Sequential& other);
  Sequential& operator=(Sequential&&) noexcept = default;

  /// Appends. Throws InvalidArgument for null.
  void add(std::unique_ptr<Module> layer);
  template <std::derived_from<Module> M>
  void add(M layer) {
    add(std::unique_ptr<Module>(std::make_unique<M>(std::move(layer))));
  }
  std::size_t size() const noexcept { return entries_.size(); }
  /// Throws InvalidArgument when out of range.
  Module& operator[](std::size_t i);
  using Module::operator();

  Tensor forward(const Tensor& x) override;
  /// Each Conv2d with the BatchNorm2d that follows it.
  std::int64_t fold_own_batch_norms() override;
  void visit_members(MemberVisitor& visitor) override;
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<Sequential>(*this); }

 private:
  enum class Kind : std::uint8_t { other, linear, conv, norm };
  struct Entry {
    std::unique_ptr<Module> module;
    Kind kind;
    Activation activation;  // what it computes, when it is a plain activation layer
  };
  std::size_t activation_after(std::size_t i) const;
  std::vector<Entry> entries_;
};

}  // namespace gpunn
