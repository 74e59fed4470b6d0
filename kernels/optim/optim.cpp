// Argument checks and the cutting of a list of tensors into problems.
#include "gpunn/kernels/optim/optim.h"

#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn {

std::vector<Operand> operands(SgdProblem& p) {
  std::vector<Operand> list;
  for (int t = 0; t < p.count; ++t) {
    SgdSlot& slot = p.slots[t];
    list.push_back({"param", &slot.param, p.dtype, slot.n, Role::inout});
    list.push_back({"grad", const_cast<void**>(&slot.grad), p.dtype, slot.n, Role::in});
    list.push_back({"momentum", &slot.momentum, p.dtype, p.momentum != 0 ? slot.n : 0,
                    p.first_step ? Role::out : Role::inout});
  }
  return list;
}

Cost cost(const SgdProblem& p) {
  const auto n = static_cast<double>(numel_of(p));
  const double buffers = 3 + (p.momentum != 0 ? (p.first_step ? 1 : 2) : 0);
  return {n * buffers * static_cast<double>(size_of(p.dtype)),
          n * (2 + (p.weight_decay != 0 ? 2 : 0) + (p.momentum != 0 ? 3 : 0) + (p.nesterov ? 2 : 0))};
}

namespace {

const char* cpu_accepts(const SgdProblem& p) { return p.dtype == DType::f32 ? nullptr : "takes f32"; }
#if GPUNN_HAS_CUDA
const char* cuda_accepts(const SgdProblem& p) { return device_dtype_reason(p.dtype); }
#endif

constexpr Implementation<SgdProblem> kSgdEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, nullptr, Determinism::bitwise, sgd_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, nullptr, Determinism::bitwise, sgd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, sgd_ref},
};

}  // namespace

constexpr ImplementationList<SgdProblem> kSgdStep{"sgd_step", "forward", kSgdEntries};

namespace {

void check_options(const SgdOptions& o) {
  const auto not_negative = [](double v) { return std::isfinite(v) && v >= 0; };
  GPUNN_CHECK(not_negative(o.lr), "expected a learning rate >= 0, got ", o.lr);
  GPUNN_CHECK(not_negative(o.momentum), "expected momentum >= 0, got ", o.momentum);
  GPUNN_CHECK(not_negative(o.weight_decay), "expected weight_decay >= 0, got ", o.weight_decay);
  GPUNN_CHECK(std::isfinite(o.dampening), "expected a finite dampening, got ", o.dampening);
  GPUNN_CHECK(!o.nesterov || (o.momentum > 0 && o.dampening == 0),
              "expected momentum > 0 and dampening 0 with nesterov, got ", o.momentum, " and ", o.dampening);
}

/// `t` belongs to `param`: same shape, dtype and device, contiguous.
void check_like(const Tensor& param, const Tensor& t, const char* name) {
  check_same(param, "param", t, name);
  GPUNN_CHECK(t.shape() == param.shape(), "expected ", name, " of shape ", param.shape(), " like param, got ",
              t.shape());
  GPUNN_CHECK(t.is_contiguous(), "expected a contiguous ", name, ", got strides ", t.strides());
}

void check_tensor(const SgdTensor& t, const Tensor& first, bool has_momentum) {
  check_floating(t.param, "param");
  check_same(first, "the first param", t.param, "param");
  GPUNN_CHECK(t.param.is_contiguous(), "expected a contiguous param, got strides ", t.param.strides());
  check_like(t.param, t.grad, "grad");
  if (!has_momentum) return;
  GPUNN_CHECK(t.momentum_buffer.defined(), "expected a momentum buffer, since momentum is not 0, got none");
  check_like(t.param, t.momentum_buffer, "momentum_buffer");
}

/// Collects slots and runs a problem whenever its table is full.
class Batch {
 public:
  explicit Batch(const SgdOptions& o) {
    problem_.nesterov = o.nesterov;
    problem_.maximize = o.maximize;
    problem_.first_step = o.first_step;
    problem_.lr = o.lr;
    problem_.momentum = o.momentum;
    problem_.dampening = o.dampening;
    problem_.weight_decay = o.weight_decay;
    problem_.count = 0;
  }

  void add(const SgdTensor& t) {
    problem_.dtype = t.param.dtype();
    const bool has_momentum = problem_.momentum != 0;
    problem_.slots[problem_.count++] = {t.param.data(), t.grad.data(),
                                        has_momentum ? t.momentum_buffer.data() : nullptr, t.param.numel()};
    context_ = &t.param.context();
    reads_.push_back(&t.grad.storage());
    writes_.push_back(&t.param.storage());
    if (has_momentum) writes_.push_back(&t.momentum_buffer.storage());
    if (problem_.count == kSgdTensors) flush();
  }

  void flush() {
    if (problem_.count == 0) return;
    execute(kSgdStep, problem_, *context_, reads_, writes_);
    problem_.count = 0;
    reads_.clear();
    writes_.clear();
  }

 private:
  SgdProblem problem_;
  DeviceContext* context_ = nullptr;
  std::vector<Storage*> reads_, writes_;
};

}  // namespace

void sgd_step(std::span<const SgdTensor> tensors, const SgdOptions& options) {
  OpScope scope("sgd_step");
  NoGrad guard;
  check_options(options);
  const SgdTensor* first = nullptr;
  // Everything is checked before anything is written.
  for (const SgdTensor& t : tensors) {
    GPUNN_CHECK(t.param.defined(), "expected param, got an undefined tensor");
    if (!t.grad.defined()) continue;
    if (!first) first = &t;
    check_tensor(t, first->param, options.momentum != 0);
  }
  Batch batch(options);
  for (const SgdTensor& t : tensors)
    if (t.grad.defined() && t.param.numel() > 0) batch.add(t);
  batch.flush();
}

}  // namespace gpunn
