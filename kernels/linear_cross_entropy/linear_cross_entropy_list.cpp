// The lists of what happens to a tile of logits, and what describes their problems.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"

namespace gpunn {
namespace {

template <class P>
const char* accepts_device(const P& p) {
  return device_dtype_reason(p.dtype);
}
template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

const Implementation<LogitStatsProblem> kStatsEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_device<LogitStatsProblem>, nullptr, Determinism::bitwise,
     logit_stats_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<LogitStatsProblem>, nullptr, Determinism::bitwise, logit_stats_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, logit_stats_ref},
};

const Implementation<LogitGradProblem> kGradEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_device<LogitGradProblem>, nullptr, Determinism::bitwise,
     logit_grad_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<LogitGradProblem>, nullptr, Determinism::bitwise, logit_grad_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, logit_grad_ref},
};

// A few operations per row: the reference is the CPU's path too.
const Implementation<RowLossProblem> kRowLossEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_device<RowLossProblem>, nullptr, Determinism::bitwise, row_loss_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, row_loss_ref},
};

const Implementation<ScaleGradProblem> kScaleEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, accepts_device<ScaleGradProblem>, nullptr, Determinism::bitwise,
     scale_grad_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<ScaleGradProblem>, nullptr, Determinism::bitwise, scale_grad_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, scale_grad_ref},
};

Operand labels(const std::int64_t*& target, std::int64_t rows) {
  return {"target", reinterpret_cast<void**>(const_cast<std::int64_t**>(&target)), DType::i64, rows,
          Role::in};
}

std::int64_t extent(const LogitTile& t) {
  return t.rows == 0 || t.cols == 0 ? 0 : (t.rows - 1) * t.ld + t.cols;
}

double elements(const LogitTile& t) { return static_cast<double>(t.rows) * static_cast<double>(t.cols); }

}  // namespace

const ImplementationList<LogitStatsProblem> kLogitStats{"linear_cross_entropy", "statistics", kStatsEntries};
const ImplementationList<LogitGradProblem> kLogitGrad{"linear_cross_entropy", "gradient", kGradEntries};
const ImplementationList<RowLossProblem> kRowLoss{"linear_cross_entropy", "loss", kRowLossEntries};
const ImplementationList<ScaleGradProblem> kScaleGrad{"linear_cross_entropy", "scale", kScaleEntries};

std::vector<Operand> operands(LogitStatsProblem& p) {
  return {{"logits", const_cast<void**>(&p.logits), p.dtype, extent(p.tile), Role::in},
          labels(p.target, p.tile.rows),
          {"stats", &p.stats, accumulator_of(p.dtype), 4 * p.tile.rows,
           p.tile.first > 0 ? Role::inout : Role::out}};
}

std::vector<Operand> operands(LogitGradProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  return {{"logits", &p.logits, p.dtype, extent(p.tile), Role::inout},
          labels(p.target, p.tile.rows),
          {"stats", const_cast<void**>(&p.stats), acc, 4 * p.tile.rows, Role::in},
          {"count", const_cast<void**>(&p.count), acc, p.has_count, Role::in},
          {"dloss", const_cast<void**>(&p.dloss), acc,
           !p.has_dloss     ? 0
           : p.dloss_by_row ? p.tile.rows
                            : 1,
           Role::in}};
}

std::vector<Operand> operands(RowLossProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  const std::int64_t losses = p.reduction == Reduction::none ? p.rows : 1;
  return {{"stats", const_cast<void**>(&p.stats), acc, p.count_only ? 0 : 4 * p.rows, Role::in},
          labels(p.target, p.rows),
          {"loss", &p.loss, acc, p.count_only ? 0 : losses, Role::out},
          {"count", &p.count, acc, p.reduction == Reduction::mean, Role::out}};
}

std::vector<Operand> operands(ScaleGradProblem& p) {
  return {{"y", &p.y, p.dtype, p.n, Role::inout},
          {"factor", const_cast<void**>(&p.factor), accumulator_of(p.dtype), 1, Role::in}};
}

// An exponential counts as one operation.
Cost cost(const LogitStatsProblem& p) {
  const double n = elements(p.tile), rows = static_cast<double>(p.tile.rows);
  return {n * static_cast<double>(size_of(p.dtype)) + 24 * rows, (p.want_sum ? 6 : 4) * n};
}

Cost cost(const LogitGradProblem& p) {
  const double n = elements(p.tile), rows = static_cast<double>(p.tile.rows);
  return {2 * n * static_cast<double>(size_of(p.dtype)) + 24 * rows, (p.smoothing > 0 ? 5 : 4) * n};
}

Cost cost(const RowLossProblem& p) {
  const double rows = static_cast<double>(p.rows);
  return p.count_only ? Cost{8 * rows, rows} : Cost{28 * rows, 8 * rows};
}

Cost cost(const ScaleGradProblem& p) {
  const double n = static_cast<double>(p.n);
  return {2 * n * static_cast<double>(size_of(p.dtype)), n};
}

}  // namespace gpunn
