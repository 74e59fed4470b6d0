// Layer and RMS norm of residual + dropout(x): arguments, implementation lists, gradient.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/norm/add_norm_impl.h"
#include "gpunn/kernels/norm/norm.h"
#include "gpunn/kernels/norm/norm_checks_impl.h"
#include "gpunn/kernels/norm/row_norm_impl.h"
#include "gpunn/kernels/random/dropout_impl.h"

namespace gpunn {
namespace {

using detail::contiguous_or_none;
using detail::data_or_null;
using detail::RowNormSettings;
using detail::writable_or_null;

template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}
#if GPUNN_HAS_CUDA
template <class P>
const char* accepts_cuda(const P& p) {
  return device_dtype_reason(p.dtype);
}
#endif

const Implementation<AddNormProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<AddNormProblem>, nullptr, Determinism::bitwise,
     add_norm_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<AddNormProblem>, nullptr, Determinism::bitwise, add_norm_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, add_norm_fwd_ref},
};

const Implementation<AddNormBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_cuda<AddNormBackwardProblem>, add_norm_bwd_cuda_workspace,
     Determinism::bitwise, add_norm_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<AddNormBackwardProblem>, add_norm_bwd_cpu_workspace,
     Determinism::bitwise, add_norm_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, add_norm_bwd_ref},
};

struct Kept {
  Saved sum, weight, mean, rstd;
  RowNormSettings settings;
  Shape weight_shape;
  DropoutMask mask;
  bool drop;
};

/// All gradients, from that of the sum.
Gradients spread(const Backward& b, const Kept& kept, const Tensor& total, const Tensor& dw = {},
                 const Tensor& db = {}) {
  if (!kept.drop) return {total, total, dw, db};
  return {b.needs(0) ? detail::drop(total, kept.mask) : Tensor(), total, dw, db};
}

Gradients backward_fused(const Backward& b, const Kept& kept) {
  const Tensor sum = kept.sum(b), dy = b.grad(0).contiguous(), dsum = contiguous_or_none(b.grad(1));
  const Tensor weight = kept.weight(b), mean = kept.mean(b), rstd = kept.rstd(b);
  AddNormBackwardProblem p{};
  p.dtype = sum.dtype(), p.sizes = kept.settings.sizes;
  p.rms = kept.settings.rms, p.wide_weights = kept.settings.wide, p.has_weight = weight.defined();
  p.want_dw = b.needs(2), p.want_db = b.needs(3);
  p.has_dsum = dsum.defined(), p.want_dbranch = kept.drop && b.needs(0), p.mask = kept.mask;
  const auto like_weight = [&](bool wanted) {
    return wanted ? empty_on(sum.context(), kept.weight_shape, weight_dtype(p)) : Tensor();
  };
  const auto like_sum = [&] { return empty_on(sum.context(), sum.shape(), sum.dtype()); };
  const Tensor dx = like_sum(), dbranch = p.want_dbranch ? like_sum() : Tensor(), dw = like_weight(p.want_dw),
               db = like_weight(p.want_db);
  if (sum.numel() == 0) {
    NoGrad guard;
    for (const Tensor* t : {&dw, &db})
      if (t->defined()) t->zero_();
    return spread(b, kept, dx, dw, db);
  }
  p.x = sum.data(), p.dy = dy.data(), p.weight = data_or_null(weight), p.dsum = data_or_null(dsum);
  p.mean = data_or_null(mean), p.rstd = rstd.data();
  p.dx = dx.data(), p.dbranch = writable_or_null(dbranch);
  p.dw = writable_or_null(dw), p.db = writable_or_null(db);
  execute(kAddNormBackward, p, {&sum, &dy, &weight, &mean, &rstd, &dsum}, {&dx, &dbranch, &dw, &db});
  return {kept.drop ? dbranch : dx, dx, dw, db};
}

/// From public ops, for second derivatives.
Gradients backward_composed(const Backward& b, const Kept& kept) {
  Gradients norm =
      detail::row_norm_gradients(kept.sum(b), kept.weight(b), b.grad(0), kept.settings, kept.weight_shape);
  return spread(b, kept, b.grad(1).defined() ? norm[0] + b.grad(1) : norm[0], norm[1], norm[2]);
}

Gradients backward(const Backward& b, const Kept& kept) {
  if (!b.grad(0).defined()) return spread(b, kept, b.grad(1));  // nobody looked at y
  return b.creates_graph() ? backward_composed(b, kept) : backward_fused(b, kept);
}

void check_residual(const Tensor& x, const Tensor& residual, const AddNormOptions& options) {
  check_floating(x, "x");
  check_floating(residual, "residual");
  GPUNN_CHECK(residual.shape() == x.shape(), "expected residual ", x.shape(), " like x, got ",
              residual.shape());
  GPUNN_CHECK(residual.dtype() == x.dtype(), "expected residual of dtype ", x.dtype(), " like x, got ",
              residual.dtype());
  GPUNN_CHECK(&residual.context() == &x.context(), "expected residual on ", to_string(x.device()),
              " like x, got ", to_string(residual.device()));
  GPUNN_CHECK(options.dropout_p >= 0 && options.dropout_p <= 1, "expected dropout_p in [0, 1], got ",
              options.dropout_p);
  if (options.eps) detail::check_eps(*options.eps);
}

/// What the norm is over: the dimensions of the weights, else the last.
Shape normalized_shape(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  for (const Tensor* t : {&weight, &bias})
    if (t->defined()) return t->shape();
  GPUNN_CHECK(x.dim() > 0, "expected x [*, features], got ", x.shape());
  return {x.size(-1)};
}

/// Checked arguments; y and sum with x's shape.
AddNormOutput add_norm(const Tensor& x_in, const Tensor& residual_in, const Tensor& weight_in,
                       const Tensor& bias_in, const AddNormOptions& options, const RowNormSettings& settings,
                       const Shape& weight_shape) {
  const Tensor x = x_in.contiguous(), residual = residual_in.contiguous();
  const Tensor weight = contiguous_or_none(weight_in), bias = contiguous_or_none(bias_in);
  const bool recorded = autograd::wanted(x, residual, weight, bias);
  const DType acc = accumulator_of(x.dtype());
  const NormRows& s = settings.sizes;
  AddNormOutput out{empty_on(x.context(), x.shape(), x.dtype()), empty_on(x.context(), x.shape(), x.dtype())};
  Tensor mean, rstd;
  if (recorded) {
    if (!settings.rms) mean = empty_on(x.context(), {s.rows}, acc);
    rstd = empty_on(x.context(), {s.rows}, acc);
  }
  AddNormProblem p{};
  if (x.numel() > 0) {
    p.dtype = x.dtype(), p.sizes = s, p.eps = settings.eps;
    p.rms = settings.rms, p.save = recorded, p.wide_weights = settings.wide;
    p.has_weight = weight.defined(), p.has_bias = bias.defined();
    p.drop = options.training && options.dropout_p > 0;
    if (p.drop) p.mask = detail::draw_dropout(x.numel(), options.dropout_p);
    p.x = x.data(), p.residual = residual.data();
    p.weight = data_or_null(weight), p.bias = data_or_null(bias);
    p.sum = out.sum.data(), p.y = out.y.data();
    p.mean = writable_or_null(mean), p.rstd = writable_or_null(rstd);
    execute(kAddNormForward, p, {&x, &residual, &weight, &bias}, {&out.sum, &out.y, &mean, &rstd});
  }
  if (recorded) {
    Kept kept{Saved::output(out.sum, 1),
              Saved(weight),
              Saved(mean),
              Saved(rstd),
              settings,
              weight_shape,
              p.mask,
              p.drop};
    autograd::record({&out.y, &out.sum}, settings.op, {&x, &residual, &weight, &bias},
                     [kept = std::move(kept)](const Backward& b) { return backward(b, kept); });
  }
  return out;
}

double bytes(std::int64_t passes, const NormRows& s, DType dtype) {
  return static_cast<double>(passes * s.elements()) * static_cast<double>(size_of(dtype));
}

}  // namespace

const ImplementationList<AddNormProblem> kAddNormForward{"add_norm", "forward", kForwardEntries};
const ImplementationList<AddNormBackwardProblem> kAddNormBackward{"add_norm", "backward", kBackwardEntries};

std::vector<Operand> operands(AddNormProblem& p) {
  std::vector<Operand> all = operands(static_cast<RowNormProblem&>(p));
  const std::int64_t n = p.sizes.elements();
  all.push_back({"residual", const_cast<void**>(&p.residual), p.dtype, n, Role::in});
  all.push_back({"sum", &p.sum, p.dtype, n, Role::out});
  return all;
}

std::vector<Operand> operands(AddNormBackwardProblem& p) {
  std::vector<Operand> all = operands(static_cast<RowNormBackwardProblem&>(p));
  const std::int64_t n = p.sizes.elements();
  all.push_back({"dsum", const_cast<void**>(&p.dsum), p.dtype, p.has_dsum ? n : 0, Role::in});
  all.push_back({"dbranch", &p.dbranch, p.dtype, p.want_dbranch ? n : 0, Role::out});
  return all;
}

// Philox's integer work is not counted, as for dropout.
Cost cost(const AddNormProblem& p) {
  return {bytes(4, p.sizes, p.dtype), 9.0 * static_cast<double>(p.sizes.elements())};
}

Cost cost(const AddNormBackwardProblem& p) {
  const std::int64_t passes = 3 + (p.has_dsum ? 1 : 0) + (p.want_dbranch ? 1 : 0);
  return {bytes(passes, p.sizes, p.dtype), 13.0 * static_cast<double>(p.sizes.elements())};
}

AddNormOutput add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                             const Tensor& bias, const AddNormOptions& options) {
  OpScope scope("add_layer_norm");
  check_residual(x, residual, options);
  const Shape shape = normalized_shape(x, weight, bias);
  const NormRows sizes = detail::rows_of(x, shape);
  const bool wide = detail::check_weights(x, shape, {{weight, "weight"}, {bias, "bias"}});
  return add_norm(x, residual, weight, bias, options,
                  {"add_layer_norm", sizes, options.eps.value_or(1e-5), false, wide}, shape);
}

AddNormOutput add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                           const AddNormOptions& options) {
  OpScope scope("add_rms_norm");
  check_residual(x, residual, options);
  const Shape shape = normalized_shape(x, weight, {});
  const NormRows sizes = detail::rows_of(x, shape);
  const bool wide = detail::check_weights(x, shape, {{weight, "weight"}});
  return add_norm(x, residual, weight, {}, options,
                  {"add_rms_norm", sizes, options.eps.value_or(detail::rms_eps(x.dtype())), true, wide},
                  shape);
}

}  // namespace gpunn
