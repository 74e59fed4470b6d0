#pragma once
// Losses as modules: loss(input, target) runs the op under the module's name. Names and defaults are
// PyTorch's; formulas, shapes and errors are those of the ops (kernels/loss, kernels/cross_entropy). Weights
// are buffers: they move with the module and appear in its state dict.
#include <utility>

#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/ctc/ctc.h"
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

/// Losses of three tensors run as loss(a, b, c).
class GPUNN_API TripleLoss : public Module {
 public:
  using Module::forward;
  using Module::operator();
  virtual Tensor forward(const Tensor& a, const Tensor& b, const Tensor& c) = 0;
  Tensor operator()(const Tensor& a, const Tensor& b, const Tensor& c) {
    ModuleScope scope(*this);
    return forward(a, b, c);
  }
};

/// Softmax cross-entropy of logits [N, C, ...] with classes i64 [N, ...] or probabilities [N, C, ...].
class GPUNN_API CrossEntropyLoss : public Loss {
 public:
  Buffer weight;  // [C]; undefined without class weights
  GPUNN_MEMBERS(weight)
  explicit CrossEntropyLoss(CrossEntropyOptions options = {})
      : weight(options.weight), options_(std::move(options)) {}
  using Loss::forward;
  Tensor forward(const Tensor& logits, const Tensor& target) override {
    options_.weight = weight;
    return cross_entropy(logits, target, options_);
  }

 private:
  CrossEntropyOptions options_;
};

/// Negative log likelihood of log-probabilities [N, C, ...] with classes i64 [N, ...].
class GPUNN_API NLLLoss : public Loss {
 public:
  Buffer weight;  // [C]; undefined without class weights
  GPUNN_MEMBERS(weight)
  explicit NLLLoss(NllLossOptions options = {}) : weight(options.weight), options_(std::move(options)) {}
  using Loss::forward;
  Tensor forward(const Tensor& log_probabilities, const Tensor& target) override {
    options_.weight = weight;
    return nll_loss(log_probabilities, target, options_);
  }

 private:
  NllLossOptions options_;
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

/// |input - target|.
class GPUNN_API L1Loss : public Loss {
 public:
  explicit L1Loss(Reduction reduction = Reduction::mean) : reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& input, const Tensor& target) override {
    return l1_loss(input, target, reduction_);
  }
  GPUNN_MEMBERS()

 private:
  Reduction reduction_;
};

/// Quadratic below `beta`, linear beyond.
class GPUNN_API SmoothL1Loss : public Loss {
 public:
  explicit SmoothL1Loss(Reduction reduction = Reduction::mean, double beta = 1)
      : reduction_(reduction), beta_(beta) {}
  using Loss::forward;
  Tensor forward(const Tensor& input, const Tensor& target) override {
    return smooth_l1_loss(input, target, reduction_, beta_);
  }
  GPUNN_MEMBERS()

 private:
  Reduction reduction_;
  double beta_;
};

/// Quadratic up to `delta`, linear beyond.
class GPUNN_API HuberLoss : public Loss {
 public:
  explicit HuberLoss(Reduction reduction = Reduction::mean, double delta = 1)
      : reduction_(reduction), delta_(delta) {}
  using Loss::forward;
  Tensor forward(const Tensor& input, const Tensor& target) override {
    return huber_loss(input, target, reduction_, delta_);
  }
  GPUNN_MEMBERS()

 private:
  Reduction reduction_;
  double delta_;
};

/// Kullback-Leibler divergence of log-probabilities from `target`.
class GPUNN_API KLDivLoss : public Loss {
 public:
  explicit KLDivLoss(KlDivOptions options = {}) : options_(options) {}
  using Loss::forward;
  Tensor forward(const Tensor& input, const Tensor& target) override {
    return kl_div(input, target, options_);
  }
  GPUNN_MEMBERS()

 private:
  KlDivOptions options_;
};

/// input where target is 1, max(0, margin - input) where it is -1.
class GPUNN_API HingeEmbeddingLoss : public Loss {
 public:
  explicit HingeEmbeddingLoss(double margin = 1, Reduction reduction = Reduction::mean)
      : margin_(margin), reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& input, const Tensor& target) override {
    return hinge_embedding_loss(input, target, reduction_, margin_);
  }
  GPUNN_MEMBERS()

 private:
  double margin_;
  Reduction reduction_;
};

/// Binary cross-entropy of probabilities.
class GPUNN_API BCELoss : public Loss {
 public:
  Buffer weight;  // undefined: ones
  GPUNN_MEMBERS(weight)
  explicit BCELoss(Reduction reduction = Reduction::mean, const Tensor& weight_values = {})
      : weight(weight_values), reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& p, const Tensor& target) override {
    return binary_cross_entropy(p, target, reduction_, weight);
  }

 private:
  Reduction reduction_;
};

/// Binary cross-entropy of logits; stable for large ones.
class GPUNN_API BCEWithLogitsLoss : public Loss {
 public:
  Buffer weight, pos_weight;  // undefined: ones
  GPUNN_MEMBERS(weight, pos_weight)
  explicit BCEWithLogitsLoss(Reduction reduction = Reduction::mean, const Tensor& weight_values = {},
                             const Tensor& pos_weight_values = {})
      : weight(weight_values), pos_weight(pos_weight_values), reduction_(reduction) {}
  using Loss::forward;
  Tensor forward(const Tensor& logits, const Tensor& target) override {
    return binary_cross_entropy_with_logits(logits, target, reduction_, weight, pos_weight);
  }

 private:
  Reduction reduction_;
};

/// 1 - cosine of x1 and x2 where y is 1, max(0, cosine - margin) where it is -1.
class GPUNN_API CosineEmbeddingLoss : public TripleLoss {
 public:
  explicit CosineEmbeddingLoss(double margin = 0, Reduction reduction = Reduction::mean)
      : margin_(margin), reduction_(reduction) {}
  using TripleLoss::forward;
  Tensor forward(const Tensor& x1, const Tensor& x2, const Tensor& y) override {
    return cosine_embedding_loss(x1, x2, y, reduction_, margin_);
  }
  GPUNN_MEMBERS()

 private:
  double margin_;
  Reduction reduction_;
};

/// max(0, margin - y (x1 - x2)).
class GPUNN_API MarginRankingLoss : public TripleLoss {
 public:
  explicit MarginRankingLoss(double margin = 0, Reduction reduction = Reduction::mean)
      : margin_(margin), reduction_(reduction) {}
  using TripleLoss::forward;
  Tensor forward(const Tensor& x1, const Tensor& x2, const Tensor& y) override {
    return margin_ranking_loss(x1, x2, y, reduction_, margin_);
  }
  GPUNN_MEMBERS()

 private:
  double margin_;
  Reduction reduction_;
};

/// max(0, margin + d(anchor, positive) - d(anchor, negative)).
class GPUNN_API TripletMarginLoss : public TripleLoss {
 public:
  explicit TripletMarginLoss(TripletMarginOptions options = {}) : options_(options) {}
  using TripleLoss::forward;
  Tensor forward(const Tensor& anchor, const Tensor& positive, const Tensor& negative) override {
    return triplet_margin_loss(anchor, positive, negative, options_);
  }
  GPUNN_MEMBERS()

 private:
  TripletMarginOptions options_;
};

/// Connectionist temporal classification of log-probabilities [T, N, C]; see kernels/ctc.
class GPUNN_API CTCLoss : public Module {
 public:
  explicit CTCLoss(CtcLossOptions options = {}) : options_(options) {}
  using Module::forward;
  using Module::operator();
  Tensor forward(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                 const Tensor& target_lengths) {
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, options_);
  }
  Tensor operator()(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                    const Tensor& target_lengths) {
    ModuleScope scope(*this);
    return forward(log_probs, targets, input_lengths, target_lengths);
  }
  GPUNN_MEMBERS()

 private:
  CtcLossOptions options_;
};

}  // namespace gpunn
