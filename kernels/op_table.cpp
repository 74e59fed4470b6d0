#include "gpunn/kernels/op_table.h"

#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"
#include "gpunn/kernels/elementwise/functions_impl.h"
#include "gpunn/kernels/loss/loss_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"
#include "gpunn/kernels/optim/optim_impl.h"
#include "gpunn/kernels/reduce/reduce_impl.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

namespace gpunn {
namespace {

template <class P>
ListInfo describe(const ImplementationList<P>& list) {
  ListInfo info{list.op, list.direction, {}};
  for (const auto& e : list.entries) info.entries.push_back({e.name, e.device, e.determinism});
  return info;
}

ListInfo unary(UnaryFunction f) { return describe(kUnary[static_cast<int>(f)]); }
ListInfo binary(BinaryFunction f) { return describe(kBinary[static_cast<int>(f)]); }
ListInfo reduction(ReduceFunction f) { return describe(kReduce[static_cast<int>(f)]); }

constexpr const char* kIndices = "its result is indices";

/// What Tensor itself needs: core holds these lists, and the table so that they are covered like any other.
void add_primitives(std::vector<OpInfo>& table) {
  const auto add = [&](const char* name, ListInfo list, const char* why) {
    table.push_back({name, "core", {std::move(list)}, "", why, why});
  };
  add("fill", describe(kFill), "written in place, outside the graph");
  add("copy", describe(kCopy), "part of Tensor's copies, which have their own gradients");
  add("accumulate", describe(kAdd), "the graph walk's own addition, outside the graph");
}

/// The forms with a scalar are functions of their own below the same names.
void add_elementwise(std::vector<OpInfo>& table) {
  using U = UnaryFunction;
  using B = BinaryFunction;
  const auto add = [&](const char* name, std::vector<ListInfo> lists) {
    table.push_back({name, "elementwise", std::move(lists)});
  };
  add("add", {binary(B::add), unary(U::add_scalar)});
  add("sub", {binary(B::sub), unary(U::add_scalar), unary(U::rsub_scalar)});
  add("mul", {binary(B::mul), unary(U::mul_scalar)});
  add("div", {binary(B::div), unary(U::div_scalar), unary(U::rdiv_scalar), binary(B::neg_mul)});
  add("neg", {unary(U::neg)});
  add("exp", {unary(U::exp)});
  add("log", {unary(U::log)});
  add("relu", {unary(U::relu), binary(B::relu_grad)});
  add("sigmoid", {unary(U::sigmoid), binary(B::sigmoid_grad)});
  add("tanh", {unary(U::tanh), binary(B::tanh_grad)});
}

void add_activations(std::vector<OpInfo>& table) {
  using F = ActivationFunction;
  const auto add = [&](const char* name, F f) {
    const auto gradient = static_cast<ActivationGrad>(f);
    table.push_back({name, "elementwise", {describe(map_list(f)), describe(map_list(gradient))}});
  };
  for (const auto& [name, f] : {std::pair{"leaky_relu", F::leaky_relu},
                                {"elu", F::elu},
                                {"selu", F::selu},
                                {"celu", F::celu},
                                {"silu", F::silu},
                                {"mish", F::mish},
                                {"softplus", F::softplus},
                                {"softsign", F::softsign},
                                {"hardtanh", F::hardtanh},
                                {"relu6", F::hardtanh},
                                {"hardsigmoid", F::hardsigmoid},
                                {"hardswish", F::hardswish},
                                {"logsigmoid", F::logsigmoid}})
    add(name, f);
  add("gelu", F::gelu);
  table.back().lists.push_back(describe(map_list(F::gelu_tanh)));
  table.back().lists.push_back(describe(map_list(ActivationGrad::gelu_tanh)));
  using G = BinaryMathGrad;
  table.push_back({"prelu",
                   "elementwise",
                   {describe(map_list(BinaryMath::prelu)), describe(map_list(G::prelu_x)),
                    describe(map_list(G::prelu_w))}});
  table.push_back({"glu", "elementwise", {}, "a product with sigmoid"});
}

void add_math_functions(std::vector<OpInfo>& table) {
  const auto add = [&](const char* name, std::vector<ListInfo> lists) {
    table.push_back({name, "elementwise", std::move(lists)});
  };
  using F = MathFunction;
#define GPUNN_TABLE_ROW(name, Functor, op)                                              \
  if (MathGrad::name != MathGrad::pow_scalar && MathGrad::name != MathGrad::scalar_pow) \
    add(op, {describe(map_list(F::name)), describe(map_list(MathGrad::name))});
  GPUNN_MATH_GRADS(GPUNN_TABLE_ROW)
#undef GPUNN_TABLE_ROW
  for (const auto& [name, f] : {std::pair{"sign", F::sign},
                                {"floor", F::floor},
                                {"ceil", F::ceil},
                                {"round", F::round},
                                {"trunc", F::trunc}})
    add(name, {describe(map_list(f))});
  using B = BinaryMath;
  using G = BinaryMathGrad;
  add("pow", {describe(map_list(B::pow)), describe(map_list(F::pow_scalar)),
              describe(map_list(F::scalar_pow)), describe(map_list(G::pow_a)), describe(map_list(G::pow_b)),
              describe(map_list(MathGrad::pow_scalar)), describe(map_list(MathGrad::scalar_pow))});
  add("maximum", {describe(map_list(B::maximum)), describe(map_list(G::maximum))});
  add("minimum", {describe(map_list(B::minimum)), describe(map_list(G::minimum))});
  add("fmod", {describe(map_list(B::fmod)), describe(map_list(G::fmod_b))});
  add("remainder", {describe(map_list(B::remainder)), describe(map_list(G::remainder_b))});
  add("atan2",
      {describe(map_list(B::atan2)), describe(map_list(G::atan2_a)), describe(map_list(G::atan2_b))});
  add("lerp", {describe(map_list(TernaryFunction::lerp)), describe(map_list(B::lerp_scalar))});
  add("addcmul", {describe(map_list(TernaryFunction::addcmul))});
  add("addcdiv", {describe(map_list(TernaryFunction::addcdiv))});
  add("where", {describe(map_list(Selection::where))});
  constexpr const char* kSteps = "a step function; PyTorch has no gradient of it either";
  table.push_back({"heaviside", "elementwise", {describe(map_list(B::heaviside))}, "", kSteps, kSteps});
}

/// Comparisons with a scalar are functions of their own below the same names.
void add_comparisons(std::vector<OpInfo>& table) {
  constexpr const char* kTruth = "its result is truth values";
  const auto add = [&](const char* name, std::vector<ListInfo> lists) {
    table.push_back({name, "elementwise", std::move(lists), "", kTruth, kTruth});
  };
  using C = CompareFunction;
  using P = Predicate;
  add("eq", {describe(map_list(C::eq)), describe(map_list(P::eq_scalar))});
  add("ne", {describe(map_list(C::ne)), describe(map_list(P::ne_scalar))});
  add("lt", {describe(map_list(C::lt)), describe(map_list(P::lt_scalar))});
  add("le", {describe(map_list(C::le)), describe(map_list(P::le_scalar))});
  add("gt", {describe(map_list(C::gt)), describe(map_list(P::gt_scalar))});
  add("ge", {describe(map_list(C::ge)), describe(map_list(P::ge_scalar))});
  add("logical_and", {describe(map_list(C::logical_and))});
  add("logical_or", {describe(map_list(C::logical_or))});
  add("logical_xor", {describe(map_list(C::logical_xor))});
  add("logical_not", {describe(map_list(P::logical_not))});
  add("isnan", {describe(map_list(P::isnan))});
  add("isinf", {describe(map_list(P::isinf))});
  add("isfinite", {describe(map_list(P::isfinite))});
}

void add_reduce(std::vector<OpInfo>& table) {
  using F = ReduceFunction;
  table.push_back({"sum", "reduce", {reduction(F::sum)}});
  table.push_back({"mean", "reduce", {reduction(F::mean)}});
  table.push_back({"max", "reduce", {reduction(F::max), reduction(F::max_indices), describe(kMaxBackward)}});
  table.push_back({"amax", "reduce", {reduction(F::max), describe(kMaxBackward)}});
  table.push_back({"argmax", "reduce", {reduction(F::argmax)}, "", kIndices, kIndices});
  table.push_back({"expand", "reduce", {}, "a view with strides of 0"});
  table.push_back({"sum_to", "reduce", {}, "sum"});
}

}  // namespace

std::vector<OpInfo> op_table() {
  std::vector<OpInfo> table;
  add_primitives(table);
  add_elementwise(table);
  add_activations(table);
  add_math_functions(table);
  add_comparisons(table);
  add_reduce(table);
  table.push_back({"matmul", "matmul", {describe(kMatmul)}});
  table.push_back({"linear", "matmul", {describe(kMatmul), describe(kBiasGrad)}});
  const std::vector<ListInfo> softmax{describe(kSoftmaxForward), describe(kSoftmaxBackward)};
  table.push_back({"softmax", "softmax", softmax});
  table.push_back({"log_softmax", "softmax", softmax});
  table.push_back(
      {"cross_entropy",
       "cross_entropy",
       {describe(kCrossEntropyForward), describe(kCrossEntropyBackward), describe(kCrossEntropyTargets)}});
  for (const char* name : {"mse_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"})
    table.push_back({name, "loss", {describe(kLossForward), describe(kLossBackward)}});
  constexpr const char* kUpdate = "an update of parameters in place, outside the graph";
  table.push_back({"sgd_step", "optim", {describe(kSgdStep)}, "", kUpdate, kUpdate});
  return table;
}

}  // namespace gpunn
