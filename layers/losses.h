#pragma once
// Losses as modules: loss(input, target) runs the op under the module's name. Defaults are PyTorch's.
#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/loss/loss.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Base of the losses: what a trainer needs to know.
class GPUNN_API Loss : public Module {
 public:
  using Module::forward;
  using Module::operator();
  virtual Tensor forward(const Tensor& input, const Tensor& target) = 0;
  Tensor operator()(const Tensor& input, const Tensor& target) {
    ModuleScope scope(*this);
    return forward(input, target);
  }
};

/// Softmax cross-entropy of logits [N, C] with class numbers i64 [N].
class GPUNN_API CrossEntropyLoss : public Loss {
 public:
  explicit CrossEntropyLoss(CrossEntropyOptions options = {}) : options_(options) {}
  using Loss::forward;
  Tensor forward(const Tensor& logits, const Tensor& target) override {
    return cross_entropy(logits, target, options_);
  }
  GPUNN_MEMBERS()

 private:
  CrossEntropyOptions options_;
};

/// (input - target)².
class GPUNN_API MSELoss : public Loss {
 public:
  explicit MSELoss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& input, const Tensor& target) override {
    return mse_loss(input, target, reduction_);
  }
  GPUNN_MEMBERS()

 private:
  Reduction reduction_;
};

/// Binary cross-entropy of probabilities.
class GPUNN_API BCELoss : public Loss {
 public:
  explicit BCELoss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& p, const Tensor& target) override {
    return binary_cross_entropy(p, target, reduction_);
  }
  GPUNN_MEMBERS()

 private:
  Reduction reduction_;
};

/// Binary cross-entropy of logits; stable for large ones.
class GPUNN_API BCEWithLogitsLoss : public Loss {
 public:
  explicit BCEWithLogitsLoss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& logits, const Tensor& target) override {
    return binary_cross_entropy_with_logits(logits, target, reduction_);
  }
  GPUNN_MEMBERS()

 private:
  Reduction reduction_;
};

}  // namespace gpunn
