// Argument checks and the cutting of a list of tensors into problems; implementation lists of the step.
#include "gpunn/kernels/optim/optim.h"

#include <cmath>
#include <cstring>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/optim/update_functors_impl.h"

namespace gpunn {

std::vector<Operand> operands(UpdateProblem& p) {
  static constexpr const char* kStateNames[kMaxStates] = {"state0", "state1", "state2"};
  const DType state = state_dtype(p);
  std::vector<Operand> list;
  for (int t = 0; t < p.count; ++t) {
    UpdateSlot& slot = p.slots[t];
    list.push_back({"param", &slot.param, p.dtype, slot.n, p.master ? Role::out : Role::inout});
    list.push_back({"grad", const_cast<void**>(&slot.grad), p.dtype, slot.n, Role::in});
    for (int j = 0; j < kMaxStates; ++j)
      if (optim::has_state(p.settings, j))
        list.push_back({kStateNames[j], &slot.states[j], state, slot.n,
                        p.settings.first_step ? Role::out : Role::inout});
    if (p.master) list.push_back({"master", &slot.master, state, slot.n, Role::inout});
  }
  list.push_back({"values", reinterpret_cast<void**>(const_cast<double**>(&p.values)), DType::f64,
                  kStepValues, Role::in});
  return list;
}

Cost cost(const UpdateProblem& p) {
  constexpr double kFlops[kUpdateRules] = {5, 6, 14, 12, 13, 15, 9};
  const auto n = static_cast<double>(numel_of(p));
  int states = 0;
  for (int j = 0; j < kMaxStates; ++j) states += optim::has_state(p.settings, j);
  const auto size = static_cast<double>(size_of(p.dtype)),
             wide = static_cast<double>(size_of(state_dtype(p)));
  const double per_state = p.settings.first_step ? wide : 2 * wide;
  const double bytes = (p.master ? 2 * wide + 2 * size : 3 * size) + states * per_state;
  return {n * bytes, n * kFlops[static_cast<int>(p.settings.rule)]};
}

namespace {

const char* cpu_accepts(const UpdateProblem& p) {
  return p.dtype == DType::f32 && !p.master ? nullptr : "takes f32 without masters";
}
#if GPUNN_HAS_CUDA
const char* cuda_accepts(const UpdateProblem& p) {
  return p.master ? "has no masters" : device_dtype_reason(p.dtype);
}
const char* master_accepts(const UpdateProblem& p) {
  return p.master && (p.dtype == DType::f16 || p.dtype == DType::bf16) ? nullptr
                                                                       : "takes f16 and bf16 with masters";
}
#endif

constexpr Implementation<UpdateProblem> kEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, cuda_accepts, nullptr, Determinism::bitwise, update_cuda},
    {"cuda-master", DeviceType::cuda, master_accepts, nullptr, Determinism::bitwise, update_master_cuda},
#endif
    {"cpu", DeviceType::cpu, cpu_accepts, nullptr, Determinism::bitwise, update_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, update_ref},
};

}  // namespace

constexpr ImplementationList<UpdateProblem> kUpdateStep[kUpdateRules] = {
    {"sgd_step", "forward", kEntries},      {"adagrad_step", "forward", kEntries},
    {"adadelta_step", "forward", kEntries}, {"rmsprop_step", "forward", kEntries},
    {"adam_step", "forward", kEntries},     {"nadam_step", "forward", kEntries},
    {"lion_step", "forward", kEntries},
};

const char* state_name(const UpdateSettings& settings, int i) noexcept {
  static constexpr const char* kNames[kUpdateRules][kMaxStates] = {
      {"momentum_buffer", nullptr, nullptr},
      {"sum", nullptr, nullptr},
      {"square_avg", "acc_delta", nullptr},
      {"square_avg", "momentum_buffer", "grad_avg"},
      {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
      {"exp_avg", "exp_avg_sq", nullptr},
      {"exp_avg", nullptr, nullptr},
  };
  if (i < 0 || i >= kMaxStates || !optim::has_state(settings, i)) return nullptr;
  return kNames[static_cast<int>(settings.rule)][i];
}

Tensor make_step_values(Device device) {
  return empty({kStepValues}, {.dtype = DType::f64, .device = device});
}

void write_step_values(const StepValues& values, const Tensor& tensor) {
  GPUNN_CHECK(tensor.defined() && tensor.dtype() == DType::f64 && tensor.numel() == kStepValues,
              "expected a tensor made by make_step_values()");
  static_assert(sizeof(StepValues) == kStepValues * sizeof(double));
  double numbers[kStepValues];
  std::memcpy(numbers, &values, sizeof numbers);
  if (tensor.device().is_cpu()) {
    std::memcpy(tensor.host<double>(), numbers, sizeof numbers);
    return;
  }
  NoGrad guard;
  tensor.copy_(Tensor::from(std::span<const double>(numbers), {kStepValues}, {.device = Device::cpu()}));
}

namespace {

void check_settings(const UpdateSettings& s) {
  const auto not_negative = [](double v, const char* name) {
    GPUNN_CHECK(std::isfinite(v) && v >= 0, "expected ", name, " >= 0, got ", v);
  };
  const auto fraction = [](double v, const char* name) {
    GPUNN_CHECK(v >= 0 && v < 1, "expected ", name, " in [0, 1), got ", v);
  };
  GPUNN_CHECK(static_cast<int>(s.rule) < kUpdateRules, "expected a rule of UpdateRule, got number ",
              static_cast<int>(s.rule));
  not_negative(s.eps, "eps");
  not_negative(s.weight_decay, "weight_decay");
  not_negative(s.l1_decay, "l1_decay");
  GPUNN_CHECK(std::isfinite(s.dampening), "expected a finite dampening, got ", s.dampening);
  if (s.rule == UpdateRule::sgd || s.rule == UpdateRule::rmsprop)
    not_negative(s.beta1, "momentum");
  else
    fraction(s.beta1, "beta1");
  fraction(s.beta2, "beta2");
  GPUNN_CHECK(!s.nesterov || (s.beta1 > 0 && s.dampening == 0),
              "expected momentum > 0 and dampening 0 with nesterov, got ", s.beta1, " and ", s.dampening);
  GPUNN_CHECK(!s.first_step || s.rule == UpdateRule::sgd, "expected first_step for sgd only");
}

/// `t` belongs to `param`: same shape and device, `dtype`, contiguous.
void check_like(const Tensor& param, const Tensor& t, DType dtype, const char* name) {
  GPUNN_CHECK(t.defined(), "expected ", name, ", got an undefined tensor");
  GPUNN_CHECK(t.dtype() == dtype, "expected ", name, " of ", dtype, ", got ", t.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(&t.context() == &param.context(), "expected ", name, " on ", param.device(),
              " like param, got ", t.device(), "; move it with .to()");
  GPUNN_CHECK(t.shape() == param.shape(), "expected ", name, " of shape ", param.shape(), " like param, got ",
              t.shape());
  GPUNN_CHECK(t.is_contiguous(), "expected a contiguous ", name, ", got strides ", t.strides());
}

void check_tensor(const UpdateTensor& t, const UpdateTensor& first, const UpdateSettings& settings) {
  check_floating(t.param, "param");
  check_same(first.param, "the first param", t.param, "param");
  GPUNN_CHECK(t.param.is_contiguous(), "expected a contiguous param, got strides ", t.param.strides());
  const DType dtype = t.param.dtype();
  check_like(t.param, t.grad, dtype, "grad");
  const bool master = t.master.defined();
  GPUNN_CHECK(master == first.master.defined(), "expected a master for all parameters or for none");
  if (master) {
    GPUNN_CHECK(dtype == DType::f16 || dtype == DType::bf16,
                "expected an f16 or bf16 param with a master, got ", dtype);
    check_like(t.param, t.master, DType::f32, "master");
  }
  for (int j = 0; j < kMaxStates; ++j)
    if (const char* name = state_name(settings, j))
      check_like(t.param, t.states[j], master ? DType::f32 : dtype, name);
}

/// Collects slots and runs a problem whenever its table is full.
class Batch {
 public:
  Batch(const UpdateSettings& settings, const Tensor& values) : values_(values) {
    problem_.settings = settings;
    problem_.values = static_cast<const double*>(values.data());
    problem_.count = 0;
  }

  void add(const UpdateTensor& t) {
    problem_.dtype = t.param.dtype();
    problem_.master = t.master.defined();
    UpdateSlot& slot = problem_.slots[problem_.count++];
    slot = {t.param.data(), t.grad.data(), {}, nullptr, t.param.numel()};
    context_ = &t.param.context();
    reads_.push_back(&t.grad.storage());
    writes_.push_back(&t.param.storage());
    for (int j = 0; j < kMaxStates; ++j) {
      if (!optim::has_state(problem_.settings, j)) continue;
      slot.states[j] = t.states[j].data();
      writes_.push_back(&t.states[j].storage());
    }
    if (problem_.master) {
      slot.master = t.master.data();
      writes_.push_back(&t.master.storage());
    }
    if (problem_.count == kUpdateTensors) flush();
  }

  void flush() {
    if (problem_.count == 0) return;
    reads_.push_back(&values_.storage());
    execute(kUpdateStep[static_cast<int>(problem_.settings.rule)], problem_, *context_, reads_, writes_);
    problem_.count = 0;
    reads_.clear();
    writes_.clear();
  }

 private:
  UpdateProblem problem_;
  const Tensor& values_;
  DeviceContext* context_ = nullptr;
  std::vector<Storage*> reads_, writes_;
};

}  // namespace

void optimizer_step(std::span<const UpdateTensor> tensors, const UpdateSettings& settings,
                    const Tensor& values) {
  OpScope scope("optimizer_step");
  NoGrad guard;
  check_settings(settings);
  const UpdateTensor* first = nullptr;
  // Everything is checked before anything is written.
  for (const UpdateTensor& t : tensors) {
    GPUNN_CHECK(t.param.defined(), "expected param, got an undefined tensor");
    if (!t.grad.defined()) continue;
    if (!first) first = &t;
    check_tensor(t, *first, settings);
  }
  if (!first) return;
  GPUNN_CHECK(values.defined() && values.dtype() == DType::f64 && values.numel() == kStepValues &&
                  &values.context() == &first->param.context(),
              "expected step values made by make_step_values() on ", first->param.device());
  Batch batch(settings, values);
  for (const UpdateTensor& t : tensors)
    if (t.grad.defined() && t.param.numel() > 0) batch.add(t);
  batch.flush();
}

}  // namespace gpunn
