#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <utility>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/cross_entropy/class_targets_impl.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_tiles_impl.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/softmax/softmax.h"

namespace gpunn {
namespace {

using detail::LossGrads;
using detail::LossInputs;
using detail::LossTiling;
using detail::LossValue;
using detail::WantedGrads;

/// q / count of each row and class (linear_cross_entropy_impl.h), 0 in ignored rows: a constant made on the
/// host.
Tensor constant_weights(const LossInputs& in) {
  const std::vector<std::int64_t> labels = in.target.to_vector<std::int64_t>();
  double count = 0;
  for (const std::int64_t t : labels) count += t != in.ignore_index;
  if (in.reduction != Reduction::mean) count = 1;
  const auto classes = static_cast<std::size_t>(in.classes());
  std::vector<double> q(labels.size() * classes);
  for (std::size_t n = 0; n < labels.size(); ++n) {
    if (labels[n] == in.ignore_index) continue;
    for (std::size_t c = 0; c < classes; ++c) {
      const double own = static_cast<std::int64_t>(c) == labels[n];
      q[n * classes + c] =
          ((1 - in.smoothing) * own + in.smoothing / static_cast<double>(in.classes())) / count;
    }
  }
  return constant_like(q, {in.rows(), in.classes()}, in.x);
}

/// The gradients from public ops, with the logits stored: for second derivatives.
Gradients composed(const LossInputs& in, const Shape& x_shape, const Tensor& dloss) {
  const Tensor g = dloss.to(in.x.dtype()).reshape({in.reduction == Reduction::none ? in.rows() : 1, 1});
  const Tensor q = constant_weights(in);
  const Tensor dz = (sum(q, {1}, true) * softmax(linear(in.x, in.w, in.bias), 1) - q) * g;
  return {matmul(dz, in.w).reshape(x_shape), matmul(dz.t(), in.x),
          in.bias.defined() ? sum(dz, {0}) : Tensor()};
}

struct Rule {
  Saved x, w, bias, target, stats, count;
  LossGrads early;  // undefined once handed out
  LossTiling tiling;
  Shape x_shape;
  std::int64_t ignore_index;
  Reduction reduction;
  double smoothing;

  Gradients operator()(const Backward& b) {
    const Tensor input = x(b), weight = w(b), labels = target(b);
    LossInputs in{input.reshape({labels.numel(), weight.size(1)}).contiguous(),
                  weight.contiguous(),
                  bias.defined() ? bias(b).contiguous() : Tensor(),
                  labels,
                  ignore_index,
                  reduction,
                  smoothing};
    if (b.creates_graph()) return composed(in, x_shape, b.grad());
    const Tensor dloss =
        b.grad().contiguous().reshape(reduction == Reduction::none ? labels.shape() : Shape{});
    const WantedGrads wanted{b.needs(0), b.needs(1), in.bias.defined() && b.needs(2)};
    const LossGrads made = std::exchange(early, {});
    const bool at_hand = made.x.defined() || made.w.defined() || made.bias.defined();
    if (at_hand) {
      const LossGrads asked{wanted.x ? made.x : Tensor(), wanted.w ? made.w : Tensor(),
                            wanted.bias ? made.bias : Tensor()};
      scale_gradients(asked, dloss);
      return in_shape(asked);
    }
    const LossValue value{{}, stats(b), count.defined() ? count(b) : Tensor(), {}};
    return in_shape(loss_backward(in, tiling, value, dloss, wanted));
  }

 private:
  Gradients in_shape(const LossGrads& g) const {
    return {g.x.defined() ? g.x.reshape(x_shape) : Tensor(), g.w, g.bias};
  }
};

void check_arguments(const Tensor& x, const Tensor& weight, const Tensor& target,
                     const LinearCrossEntropyOptions& o) {
  check_floating(x, "input");
  check_same(x, "input", weight, "weight");
  GPUNN_CHECK(weight.dim() == 2 && weight.size(0) >= 1 && weight.size(1) >= 1,
              "expected weight [V, E] with V >= 1 and E >= 1, got ", weight.shape());
  GPUNN_CHECK(x.dim() >= 1 && x.size(-1) == weight.size(1), "expected input [*, ", weight.size(1), "], got ",
              x.shape());
  if (o.bias.defined()) {
    check_same(x, "input", o.bias, "bias");
    GPUNN_CHECK(o.bias.shape() == Shape{weight.size(0)}, "expected bias [", weight.size(0), "], got ",
                o.bias.shape());
  }
  GPUNN_CHECK(target.defined(), "expected target, got an undefined tensor");
  Shape rows;
  for (int d = 0; d + 1 < x.dim(); ++d) rows.push_back(x.size(d));
  check_class_target(x, target, rows);
  GPUNN_CHECK(o.label_smoothing >= 0 && o.label_smoothing <= 1, "expected label_smoothing in [0, 1], got ",
              o.label_smoothing);
}

}  // namespace

namespace detail {

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target,
                            const LinearCrossEntropyOptions& o, const LossTiling* own_tiling) {
  OpScope scope("linear_cross_entropy");
  check_arguments(x, weight, target, o);
  const Tensor labels = target.contiguous().reshape({target.numel()});
  const bool gpu = !x.context().is_cpu();
  if (o.check_targets || !gpu) check_classes(labels, weight.size(0), o.ignore_index);
  const bool wanted = autograd::wanted(x, weight, o.bias);
  const WantedGrads grads{wanted && x.requires_grad(), wanted && weight.requires_grad(),
                          wanted && o.bias.defined() && o.bias.requires_grad()};
  LossTiling tiling{};
  LossValue value;
  {
    const NoGrad off;  // copies and views are means to an end; the rule below speaks for the whole op
    const LossInputs in{x.reshape({labels.numel(), weight.size(1)}).contiguous(),
                        weight.contiguous(),
                        o.bias.defined() ? o.bias.contiguous() : Tensor(),
                        labels,
                        o.ignore_index,
                        o.reduction,
                        o.label_smoothing};
    const bool reduced = o.reduction != Reduction::none && wanted;
    tiling = own_tiling ? *own_tiling : loss_tiling(in.rows(), in.classes(), x.dtype(), gpu, reduced);
    value = loss_forward(in, tiling, grads);
    if (o.reduction == Reduction::none) value.loss = value.loss.view(target.shape());
  }
  if (wanted)
    autograd::record(value.loss, "linear_cross_entropy", {&x, &weight, &o.bias},
                     Rule{Saved(x), Saved(weight), o.bias.defined() ? Saved(o.bias) : Saved(), Saved(labels),
                          Saved(value.stats), value.count.defined() ? Saved(value.count) : Saved(),
                          value.grads, tiling, x.shape(), o.ignore_index, o.reduction, o.label_smoothing});
  return value.loss;
}

}  // namespace detail

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& target,
                            const LinearCrossEntropyOptions& options) {
  return detail::linear_cross_entropy(x, weight, target, options, nullptr);
}

}  // namespace gpunn
