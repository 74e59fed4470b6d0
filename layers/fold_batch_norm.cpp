#include "gpunn/layers/fold_batch_norm.h"

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/math_functions.h"

namespace gpunn {

FoldsBatchNorm::~FoldsBatchNorm() = default;

void fold_batch_norm(Conv2d& conv, BatchNorm2d& norm) {
  GPUNN_CHECK(!norm.is_folded(), "expected a batch norm with its statistics, got one that was folded before");
  GPUNN_CHECK(!norm.is_training(), "expected a batch norm in evaluation mode to fold, got one in training");
  GPUNN_CHECK(norm.running_mean.defined(), "expected a batch norm with running statistics to fold");
  const std::int64_t channels = conv.weight.size(0);
  GPUNN_CHECK(norm.running_mean.numel() == channels, "expected a batch norm of ", channels, " channels, got ",
              norm.running_mean.numel());
  NoGrad no_grad;
  // Halves have statistics in f32 beside them: computed there, rounded once.
  const DType precise = norm.running_var.dtype(), own = conv.weight.dtype();
  Tensor scale = rsqrt(norm.running_var + norm.eps());
  if (norm.weight.defined()) scale = scale * norm.weight.detach();
  Tensor bias = neg(norm.running_mean.detach());
  if (conv.bias.defined()) bias = bias + conv.bias.detach().to(precise);
  bias = bias * scale;
  if (norm.bias.defined()) bias = bias + norm.bias.detach();
  conv.weight.copy_(conv.weight.detach().to(precise) * scale.reshape({channels, 1, 1, 1}));
  if (conv.bias.defined()) {
    conv.bias.copy_(bias);
  } else {
    conv.bias = Parameter(bias.to(own));
    conv.bias.requires_grad_(conv.weight.requires_grad());
  }
  norm.set_folded();
}

std::int64_t fold_pair(Conv2d& conv, BatchNorm2d& norm) {
  if (norm.is_folded()) return 0;
  fold_batch_norm(conv, norm);
  return 1;
}

namespace {

struct Folding final : MemberVisitor {
  std::int64_t pairs = 0;

  void parameter(const char*, Parameter&) override {}
  void buffer(const char*, Buffer&) override {}
  void child(const char*, Module& module) override { fold(module); }
  void fold(Module& module) {
    if (auto* known = dynamic_cast<FoldsBatchNorm*>(&module)) pairs += known->fold_own_batch_norms();
    module.visit_members(*this);
  }
};

}  // namespace

std::int64_t fold_batch_norm(Module& model) {
  Folding folding;
  folding.fold(model);
  return folding.pairs;
}

}  // namespace gpunn
