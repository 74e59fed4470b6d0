// Argument checks and gradients of the activations.
//
// A gradient is one fused kernel of (dy, x). While gradients are recorded through backward it is dy times the
// slope composed from public ops, so that derivatives of any order exist.
#include "gpunn/kernels/elementwise/activations.h"

#include "gpunn/kernels/elementwise/activation_functors_impl.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/elementwise/map_op_impl.h"
#include "gpunn/kernels/elementwise/math_functions.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {

/// f'(x) in public ops.
using Slope = Tensor (*)(const Tensor& x, double s, double t);

Tensor activation(const char* name, ActivationFunction f, const Tensor& x, Slope slope, double s = 0,
                  double t = 0) {
  OpScope scope(name);
  Tensor y = elementwise::map(f, x, s, t);
  if (autograd::wanted(x))
    autograd::record(y, name, {&x}, [x = Saved(x), f, slope, s, t](const Backward& g) -> Gradients {
      const Tensor in = x(g);
      if (g.creates_graph()) return {mul(g.grad(), slope(in, s, t))};
      return {elementwise::map(static_cast<ActivationGrad>(f), g.grad(), in, s, t)};
    });
  return y;
}

/// 1 where the condition holds, else 0, in x's dtype.
Tensor mask(const Tensor& condition, const Tensor& x) { return condition.to(x.dtype()); }
/// e^min(x, 0): exponentials stay finite where another branch is taken.
Tensor exp_below_zero(const Tensor& x) { return exp(clamp(x, std::nullopt, 0)); }

Tensor leaky_relu_slope(const Tensor& x, double s, double) { return mask(gt(x, 0), x) * (1 - s) + s; }
Tensor elu_slope(const Tensor& x, double s, double) {
  return where(le(x, 0), exp_below_zero(x) * s, ones_like(x));
}
Tensor selu_slope(const Tensor& x, double, double) {
  return elu_slope(x, elementwise::kSeluAlpha, 0) * elementwise::kSeluScale;
}
Tensor celu_slope(const Tensor& x, double s, double) {
  return where(le(x, 0), exp_below_zero(x / s), ones_like(x));
}
Tensor gelu_slope(const Tensor& x, double, double) {
  const Tensor cdf = (erf(x * elementwise::kSqrtHalf) + 1) * 0.5;
  return cdf + x * exp(x * x * -0.5) * elementwise::kNormalDensity;
}
Tensor gelu_tanh_slope(const Tensor& x, double, double) {
  const Tensor square = x * x;
  const Tensor gate = sigmoid(x * (square * elementwise::kGeluCubic + 1) * (2 * elementwise::kGeluScale));
  const Tensor inner = (square * (3 * elementwise::kGeluCubic) + 1) * (2 * elementwise::kGeluScale);
  return gate + x * inner * gate * (1 - gate);
}
Tensor silu_slope(const Tensor& x, double, double) {
  const Tensor gate = sigmoid(x);
  return gate * (x * (1 - gate) + 1);
}
Tensor mish_slope(const Tensor& x, double, double) {
  const Tensor w = tanh(softplus(x));
  return w + x * (1 - w * w) * sigmoid(x);
}
Tensor softplus_slope(const Tensor& x, double s, double t) {
  const Tensor v = x * s;
  return where(gt(v, t), ones_like(x), sigmoid(v));
}
Tensor softsign_slope(const Tensor& x, double, double) { return square(reciprocal(abs(x) + 1)); }
Tensor hardtanh_slope(const Tensor& x, double s, double t) {
  return mask(logical_not(logical_or(le(x, s), ge(x, t))), x);
}
Tensor hardsigmoid_slope(const Tensor& x, double, double) {
  return mask(logical_and(gt(x, -3), lt(x, 3)), x) / 6;
}
Tensor hardswish_slope(const Tensor& x, double, double) {
  return where(le(x, -3), 0, where(lt(x, 3), x / 3 + 0.5, ones_like(x)));
}
Tensor logsigmoid_slope(const Tensor& x, double, double) { return sigmoid(neg(x)); }

/// One slope for all, or one per channel, as a tensor that broadcasts to x.
Tensor channel_weight(const Tensor& x, const Tensor& weight) {
  GPUNN_CHECK(weight.defined(), "expected a weight, got an undefined one");
  if (weight.numel() == 1) return weight.reshape({1});
  const std::int64_t channels = x.dim() == 0 ? 1 : x.size(x.dim() == 1 ? 0 : 1);
  GPUNN_CHECK(weight.dim() == 1 && weight.numel() == channels, "expected a weight [1] or [", channels,
              "], got ", weight.shape());
  Dims extents;
  for (int i = 0; i < x.dim() - 1; ++i) extents.push_back(i == 0 ? channels : 1);
  return x.dim() == 1 ? weight : weight.reshape(extents);
}

/// activation(gate) up; `value` and `slope` are the activation and its derivative in public ops.
Tensor gated(const char* name, GatedFunction f, const Tensor& gate, const Tensor& up,
             Tensor (*value)(const Tensor&), Slope slope) {
  elementwise::check_map_dtype(f, gate);
  Tensor y = elementwise::map(f, gate, up);
  if (autograd::wanted(gate, up))
    autograd::record(y, name, {&gate, &up},
                     [gate = Saved(gate), up = Saved(up), f, value, slope](const Backward& g) -> Gradients {
                       const Tensor gated_by = gate(g), through = up(g), dy = g.grad();
                       Tensor dgate, dup;
                       if (g.creates_graph()) {
                         if (g.needs(0)) dgate = mul(mul(dy, through), slope(gated_by, 0, 0));
                         if (g.needs(1)) dup = mul(dy, value(gated_by));
                       } else {
                         if (g.needs(0))
                           dgate = elementwise::map(static_cast<GatedGrad>(f), dy, gated_by, through);
                         if (g.needs(1)) dup = elementwise::map(f, gated_by, dy);
                       }
                       return {dgate.defined() ? sum_to(dgate, gated_by.shape()) : dgate,
                               dup.defined() ? sum_to(dup, through.shape()) : dup};
                     });
  return y;
}

Tensor sigmoid_value(const Tensor& x) { return sigmoid(x); }
Tensor sigmoid_slope(const Tensor& x, double, double) {
  const Tensor gate = sigmoid(x);
  return gate * (1 - gate);
}
Tensor gelu_value(const Tensor& x) { return gelu(x); }

}  // namespace

Tensor leaky_relu(const Tensor& x, double negative_slope) {
  return activation("leaky_relu", ActivationFunction::leaky_relu, x, leaky_relu_slope, negative_slope);
}
Tensor elu(const Tensor& x, double alpha) {
  return activation("elu", ActivationFunction::elu, x, elu_slope, alpha);
}
Tensor selu(const Tensor& x) { return activation("selu", ActivationFunction::selu, x, selu_slope); }
Tensor celu(const Tensor& x, double alpha) {
  {
    OpScope scope("celu");
    GPUNN_CHECK(alpha != 0, "expected an alpha other than 0, got 0");
  }
  return activation("celu", ActivationFunction::celu, x, celu_slope, alpha);
}
Tensor gelu(const Tensor& x, GeluApproximate approximate) {
  if (approximate == GeluApproximate::tanh)
    return activation("gelu", ActivationFunction::gelu_tanh, x, gelu_tanh_slope);
  return activation("gelu", ActivationFunction::gelu, x, gelu_slope);
}
Tensor silu(const Tensor& x) { return activation("silu", ActivationFunction::silu, x, silu_slope); }
Tensor mish(const Tensor& x) { return activation("mish", ActivationFunction::mish, x, mish_slope); }
Tensor softplus(const Tensor& x, double beta, double threshold) {
  return activation("softplus", ActivationFunction::softplus, x, softplus_slope, beta, threshold);
}
Tensor softsign(const Tensor& x) {
  return activation("softsign", ActivationFunction::softsign, x, softsign_slope);
}
Tensor hardtanh(const Tensor& x, double min_val, double max_val) {
  {
    OpScope scope("hardtanh");
    GPUNN_CHECK(min_val <= max_val, "expected min_val <= max_val, got ", min_val, " and ", max_val);
  }
  return activation("hardtanh", ActivationFunction::hardtanh, x, hardtanh_slope, min_val, max_val);
}
Tensor relu6(const Tensor& x) {
  return activation("relu6", ActivationFunction::hardtanh, x, hardtanh_slope, 0, 6);
}
Tensor hardsigmoid(const Tensor& x) {
  return activation("hardsigmoid", ActivationFunction::hardsigmoid, x, hardsigmoid_slope);
}
Tensor hardswish(const Tensor& x) {
  return activation("hardswish", ActivationFunction::hardswish, x, hardswish_slope);
}
Tensor logsigmoid(const Tensor& x) {
  return activation("logsigmoid", ActivationFunction::logsigmoid, x, logsigmoid_slope);
}

Tensor prelu(const Tensor& x, const Tensor& weight) {
  OpScope scope("prelu");
  elementwise::check_map_dtype(BinaryMath::prelu, x);
  const Tensor w = channel_weight(x, weight);
  Tensor y = elementwise::map(BinaryMath::prelu, x, w);
  if (autograd::wanted(x, w))
    autograd::record(y, "prelu", {&x, &w}, [x = Saved(x), w = Saved(w)](const Backward& g) -> Gradients {
      const Tensor in = x(g), slope = w(g), dy = g.grad();
      Tensor dx, dw;
      if (g.creates_graph()) {
        const Tensor positive = gt(in, 0);
        if (g.needs(0)) dx = where(positive, dy, mul(dy, slope));
        if (g.needs(1)) dw = where(positive, 0, mul(dy, in));
      } else {
        if (g.needs(0)) dx = elementwise::map(BinaryMathGrad::prelu_x, dy, in, slope);
        if (g.needs(1)) dw = elementwise::map(BinaryMathGrad::prelu_w, dy, in, slope);
      }
      return {dx, dw.defined() ? sum_to(dw, slope.shape()) : dw};
    });
  return y;
}

Tensor glu(const Tensor& x, int dim) {
  OpScope scope("glu");
  elementwise::check_map_dtype(ActivationFunction::silu, x);
  const int axis = normalize_dim(dim, x.dim());
  const std::int64_t extent = x.size(axis);
  GPUNN_CHECK(extent % 2 == 0, "expected an even extent of dimension ", axis, ", got ", extent);
  return gated("glu", GatedFunction::glu, x.narrow(axis, extent / 2, extent / 2),
               x.narrow(axis, 0, extent / 2), sigmoid_value, sigmoid_slope);
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  OpScope scope("swiglu");
  return gated("swiglu", GatedFunction::swiglu, gate, up, silu, silu_slope);
}

Tensor geglu(const Tensor& gate, const Tensor& up) {
  OpScope scope("geglu");
  return gated("geglu", GatedFunction::geglu, gate, up, gelu_value, gelu_slope);
}

}  // namespace gpunn
