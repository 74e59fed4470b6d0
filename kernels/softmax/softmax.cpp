#include "gpunn/kernels/softmax/softmax.h"

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

namespace gpunn {
namespace {

const char* accepts_cpu(DType dtype) { return dtype == DType::f32 ? nullptr : "takes f32"; }

const Implementation<SoftmaxProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const SoftmaxProblem& p) { return device_dtype_reason(p.dtype); },
     softmax_fwd_cuda_workspace, Determinism::bitwise, softmax_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const SoftmaxProblem& p) { return accepts_cpu(p.dtype); }, nullptr,
     Determinism::bitwise, softmax_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, softmax_fwd_ref},
};

const Implementation<SoftmaxBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const SoftmaxBackwardProblem& p) { return device_dtype_reason(p.dtype); },
     softmax_bwd_cuda_workspace, Determinism::bitwise, softmax_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, [](const SoftmaxBackwardProblem& p) { return accepts_cpu(p.dtype); }, nullptr,
     Determinism::bitwise, softmax_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, softmax_bwd_ref},
};

/// Rows of a contiguous tensor whose last dimension is the softmax's.
std::int64_t rows_of(const Tensor& x) { return x.numel() / x.size(-1); }

Tensor backward_fused(const Tensor& y, const Tensor& dy, bool log) {
  Tensor dx = empty_on(y.context(), y.shape(), y.dtype());
  if (y.numel() == 0) return dx;
  SoftmaxBackwardProblem p{y.dtype(), y.data(), dy.data(), dx.data(), rows_of(y), y.size(-1), log};
  execute(kSoftmaxBackward, p, {&y, &dy}, {&dx});
  return dx;
}

/// The same from public ops, for second derivatives.
Tensor backward_composed(const Tensor& y, const Tensor& dy, bool log) {
  if (log) return dy - exp(y) * sum(dy, {-1}, true);
  return y * (dy - sum(dy * y, {-1}, true));
}

Tensor softmax_last(const Tensor& strided, bool log, const char* name) {
  const Tensor x = strided.contiguous();
  Tensor y = empty_on(x.context(), x.shape(), x.dtype());
  if (x.numel() > 0) {
    SoftmaxProblem p{x.dtype(), x.data(), y.data(), rows_of(x), x.size(-1), log};
    execute(kSoftmaxForward, p, {&x}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, name, {&x}, [y = Saved::output(y), log](const Backward& b) -> Gradients {
      if (b.creates_graph()) return {backward_composed(y(b), b.grad(), log)};
      return {backward_fused(y(b), b.grad().contiguous(), log)};
    });
  return y;
}

Tensor softmax_over(const Tensor& x, int dim, bool log, const char* name) {
  OpScope scope(name);
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() >= 1, "expected x of rank >= 1, got a scalar");
  dim = normalize_dim(dim, x.dim());
  if (dim == x.dim() - 1) return softmax_last(x, log, name);
  return softmax_last(x.transpose(dim, -1), log, name).transpose(dim, -1).contiguous();
}

}  // namespace

const ImplementationList<SoftmaxProblem> kSoftmaxForward{"softmax", "forward", kForwardEntries};
const ImplementationList<SoftmaxBackwardProblem> kSoftmaxBackward{"softmax", "backward", kBackwardEntries};

std::vector<Operand> operands(SoftmaxProblem& p) {
  const std::int64_t n = p.rows * p.cols;
  return {{"x", const_cast<void**>(&p.x), p.dtype, n, Role::in}, {"y", &p.y, p.dtype, n, Role::out}};
}

std::vector<Operand> operands(SoftmaxBackwardProblem& p) {
  const std::int64_t n = p.rows * p.cols;
  return {{"y", const_cast<void**>(&p.y), p.dtype, n, Role::in},
          {"dy", const_cast<void**>(&p.dy), p.dtype, n, Role::in},
          {"dx", &p.dx, p.dtype, n, Role::out}};
}

// An exponential counts as one operation.
Cost cost(const SoftmaxProblem& p) {
  const double n = static_cast<double>(p.rows) * static_cast<double>(p.cols);
  return {2 * n * static_cast<double>(size_of(p.dtype)), 5 * n};
}

Cost cost(const SoftmaxBackwardProblem& p) {
  const double n = static_cast<double>(p.rows) * static_cast<double>(p.cols);
  return {3 * n * static_cast<double>(size_of(p.dtype)), 4 * n};
}

Tensor softmax(const Tensor& x, int dim) { return softmax_over(x, dim, false, "softmax"); }
Tensor log_softmax(const Tensor& x, int dim) { return softmax_over(x, dim, true, "log_softmax"); }

}  // namespace gpunn
