// Argument checks, implementation lists and gradients of the running sums and products.
#include "gpunn/kernels/scan/scan.h"

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/scan/scan_impl.h"

namespace gpunn {

std::vector<Operand> operands(ScanProblem& p) {
  const std::int64_t n = p.outer * p.length * p.inner;
  return {{"x", const_cast<void**>(&p.x), p.dtype, n, Role::in}, {"y", &p.y, value_dtype(p), n, Role::out}};
}

std::vector<Operand> operands(CumprodBackwardProblem& p) {
  const std::int64_t n = p.outer * p.length * p.inner;
  return {{"x", const_cast<void**>(&p.x), p.dtype, n, Role::in},
          {"y", const_cast<void**>(&p.y), p.dtype, n, Role::in},
          {"dy", const_cast<void**>(&p.dy), p.dtype, n, Role::in},
          {"dx", &p.dx, p.dtype, n, Role::out}};
}

Cost cost(const ScanProblem& p) {
  const auto n = static_cast<double>(p.outer * p.length * p.inner);
  return {n * static_cast<double>(size_of(p.dtype) + size_of(value_dtype(p))), n};
}

Cost cost(const CumprodBackwardProblem& p) {
  const auto n = static_cast<double>(p.outer * p.length * p.inner);
  return {4 * n * static_cast<double>(size_of(p.dtype)), 3 * n};
}

namespace {

const char* ref_accepts(const ScanProblem& p) {
  return is_floating(p.dtype) || p.function == ScanFunction::sum ? nullptr : "takes floating dtypes";
}
const char* cpu_accepts(const ScanProblem& p) { return p.dtype == DType::f32 ? nullptr : "takes f32"; }

#if GPUNN_HAS_CUDA
const char* cuda_accepts(const ScanProblem& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : ref_accepts(p);
}
const char* bwd_cuda_accepts(const CumprodBackwardProblem& p) {
  return p.dtype == DType::f64 ? "f64 runs on the CPU only" : nullptr;
}
#if !GPUNN_EMULATED
const char* cub_accepts(const ScanProblem& p) {
  return p.outer * p.inner == 1 && !p.reverse ? nullptr : "takes one row, from its first element on";
}
const char* cub_integers(const ScanProblem& p) {
  return is_floating(p.dtype) ? "takes integers" : cub_accepts(p);
}
const char* cub_floats(const ScanProblem& p) { return p.dtype == DType::f32 ? cub_accepts(p) : "takes f32"; }
#endif
#endif

constexpr Implementation<ScanProblem> kSumEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, scan_cuda_workspace, Determinism::bitwise, scan_cuda},
#endif
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
    {"cub", DeviceType::cuda, cub_integers, scan_cub_workspace, Determinism::bitwise, scan_cub},
    {"cub_f32", DeviceType::cuda, cub_floats, scan_cub_workspace, Determinism::varies, scan_cub},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, scan_cpu_workspace, Determinism::bitwise, scan_cpu},
    {"ref", DeviceType::cpu, ref_accepts, nullptr, Determinism::bitwise, scan_ref},
};

constexpr Implementation<ScanProblem> kProductEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, scan_cuda_workspace, Determinism::bitwise, scan_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, scan_cpu_workspace, Determinism::bitwise, scan_cpu},
    {"ref", DeviceType::cpu, ref_accepts, nullptr, Determinism::bitwise, scan_ref},
};

constexpr Implementation<CumprodBackwardProblem> kCumprodBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, bwd_cuda_accepts, cumprod_bwd_cuda_workspace, Determinism::bitwise,
     cumprod_bwd_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, cumprod_bwd_ref},
};

/// Sets outer, length and inner of a problem for dimension `dim` of a contiguous tensor; a scalar is a row of
/// one.
template <class P>
void cut_at(P& p, const Tensor& x, int dim) {
  p.outer = p.length = p.inner = 1;
  if (x.dim() == 0) return;
  for (int i = 0; i < x.dim(); ++i) (i < dim ? p.outer : i > dim ? p.inner : p.length) *= x.shape()[i];
}

int dimension(const Tensor& x, int dim) {
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  return x.dim() == 0 && (dim == 0 || dim == -1) ? 0 : normalize_dim(dim, x.dim());
}

}  // namespace

void describe(const ScanProblem& p, TuningKey& key) {
  key.add("outer", p.outer).add("length", p.length).add("inner", p.inner).add("reverse", p.reverse);
  key.add_alignment({p.x, p.y});
}

namespace {

/// The op without gradients, of a contiguous tensor.
Tensor scan(ScanFunction function, const Tensor& x, int dim, bool reverse) {
  ScanProblem p;
  p.dtype = x.dtype();
  p.function = function;
  p.reverse = reverse;
  Tensor y = empty_on(x.context(), x.shape(), value_dtype(p));
  if (y.numel() == 0) return y;
  p.x = x.data();
  p.y = y.data();
  cut_at(p, x, dim);
  execute(Tuned(kScan[static_cast<int>(function)], p, y.context(), describe).list(), p, {&x}, {&y});
  return y;
}

/// The gradient of a sum from one end is the sum from the other.
Tensor running_sum(const Tensor& strided, int dim, bool reverse) {
  const Tensor x = strided.contiguous();
  Tensor y = scan(ScanFunction::sum, x, dim, reverse);
  if (autograd::wanted(x))
    autograd::record(y, "cumsum", {&x}, [dim, reverse](const Backward& b) -> Gradients {
      return {running_sum(b.grad(), dim, !reverse)};
    });
  return y;
}

Tensor cumprod_backward(const Tensor& x, const Tensor& y, const Tensor& strided_dy, int dim) {
  const Tensor dy = strided_dy.contiguous();
  Tensor dx = empty_on(x.context(), x.shape(), x.dtype());
  if (dx.numel() == 0) return dx;
  CumprodBackwardProblem p;
  p.dtype = x.dtype();
  p.x = x.data();
  p.y = y.data();
  p.dy = dy.data();
  p.dx = dx.data();
  cut_at(p, x, dim);
  execute(kCumprodBackward, p, {&x, &y, &dy}, {&dx});
  return dx;
}

}  // namespace

constexpr ImplementationList<ScanProblem> kScan[kScanFunctions] = {
    {"cumsum", "forward", kSumEntries},
    {"cumprod", "forward", kProductEntries},
};
constexpr ImplementationList<CumprodBackwardProblem> kCumprodBackward{"cumprod", "backward",
                                                                      kCumprodBackwardEntries};

Tensor cumsum(const Tensor& x, int dim) {
  OpScope scope("cumsum");
  return running_sum(x, dimension(x, dim), false);
}

Tensor cumprod(const Tensor& strided, int dim) {
  OpScope scope("cumprod");
  const int at = dimension(strided, dim);
  check_floating(strided, "tensor");
  const Tensor x = strided.contiguous();
  Tensor y = scan(ScanFunction::prod, x, at, false);
  if (autograd::wanted(x))
    autograd::record(y, "cumprod", {&x},
                     [x = Saved(x), y = Saved::output(y), at](const Backward& b) -> Gradients {
                       if (b.creates_graph()) b.unsupported();
                       return {cumprod_backward(x(b), y(b), b.grad(), at)};
                     });
  return y;
}

}  // namespace gpunn
