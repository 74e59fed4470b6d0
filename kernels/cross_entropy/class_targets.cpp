#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/cross_entropy/class_targets_impl.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"

namespace gpunn {
namespace {

const Implementation<TargetCheckProblem> kTargetEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::portable, cross_entropy_targets_cuda},
#endif
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, cross_entropy_targets_ref},
};

/// First position with a bad target, or -1. On the CPU nothing is allocated.
std::int64_t bad_position(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  TargetCheckProblem p{DType::f32, nullptr, nullptr, target.numel(), classes, ignore_index};
  if (target.numel() == 0) return -1;
  if (target.context().is_cpu()) {
    std::int64_t row = -1;
    p.target = target.host<std::int64_t>();
    p.bad_row = &row;
    cross_entropy_targets_ref(p, {});
    return row;
  }
  Tensor found = empty_on(target.context(), {1}, DType::i64);
  p.target = static_cast<const std::int64_t*>(target.data());
  p.bad_row = static_cast<std::int64_t*>(found.data());
  execute(kCrossEntropyTargets, p, {&target}, {&found});
  return found.to_vector<std::int64_t>()[0];
}

}  // namespace

const ImplementationList<TargetCheckProblem> kCrossEntropyTargets{"cross_entropy", "targets", kTargetEntries};

std::vector<Operand> operands(TargetCheckProblem& p) {
  return {{"target", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.target)), DType::i64, p.rows,
           Role::in},
          {"bad_row", reinterpret_cast<void**>(&p.bad_row), DType::i64, 1, Role::out}};
}

Cost cost(const TargetCheckProblem& p) { return {8.0 * static_cast<double>(p.rows), 0}; }

void check_class_target(const Tensor& x, const Tensor& target, const Shape& shape) {
  GPUNN_CHECK(target.dtype() == DType::i64, "expected target of i64, got ", target.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(target.shape() == shape, "expected target ", shape, ", got ", target.shape());
  GPUNN_CHECK(&target.context() == &x.context(), "expected target on ", x.device(), " like logits, got ",
              target.device(), "; move it with .to()");
}

void check_classes(const Tensor& target, std::int64_t classes, std::int64_t ignore_index) {
  const std::int64_t row = bad_position(target, classes, ignore_index);
  if (row < 0) [[likely]]
    return;
  const std::int64_t label = target.reshape({-1}).narrow(0, row, 1).to_vector<std::int64_t>()[0];
  GPUNN_CHECK(false, "expected labels in [0, ", classes, ") or ignore_index ", ignore_index, ", got ", label,
              " in row ", row);
}

Tensor class_weights(const Tensor& weight, const Tensor& x, std::int64_t classes) {
  if (!weight.defined()) return {};
  check_floating(weight, "weight");
  GPUNN_CHECK(weight.shape() == Shape{classes}, "expected weight [", classes, "], got ", weight.shape());
  GPUNN_CHECK(&weight.context() == &x.context(), "expected weight on ", x.device(), " like logits, got ",
              weight.device(), "; move it with .to()");
  GPUNN_CHECK(!weight.requires_grad(), "expected a weight without gradient; detach() it");
  return weight.to(accumulator_of(x.dtype())).contiguous();
}

Shape without_classes(const Shape& shape) {
  Shape rest;
  for (int i = 0; i < shape.rank(); ++i)
    if (i != 1 && shape.rank() > 1) rest.push_back(shape[i]);
  return rest;
}

std::vector<double> weights_of_targets(const std::vector<std::int64_t>& target, const Tensor& weight,
                                       std::int64_t ignore_index) {
  std::vector<double> by_class, result(target.size());
  if (weight.defined()) by_class = weight.to(DType::f64).to_vector<double>();
  for (std::size_t n = 0; n < target.size(); ++n)
    if (target[n] != ignore_index)
      result[n] = by_class.empty() ? 1 : by_class[static_cast<std::size_t>(target[n])];
  return result;
}

Tensor constant_like(const std::vector<double>& values, const Shape& shape, const Tensor& like) {
  const TensorOptions host{.dtype = DType::f64, .device = Device(like.context().runtime().cpu())};
  return Tensor::from(values, shape, host).to(like.dtype()).to(like.device());
}

}  // namespace gpunn
