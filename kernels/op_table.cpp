#include "gpunn/kernels/op_table.h"

#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/attention/kv_append_impl.h"
#include "gpunn/kernels/chain/chain_impl.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "gpunn/kernels/count/count_impl.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/ctc/ctc_impl.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"
#include "gpunn/kernels/elementwise/functions_impl.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"
#include "gpunn/kernels/loss/loss_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"
#include "gpunn/kernels/movement/movement_impl.h"
#include "gpunn/kernels/norm/add_norm_impl.h"
#include "gpunn/kernels/norm/norm_impl.h"
#include "gpunn/kernels/optim/optim_impl.h"
#include "gpunn/kernels/pool/pool_impl.h"
#include "gpunn/kernels/random/random_impl.h"
#include "gpunn/kernels/reduce/reduce_impl.h"
#include "gpunn/kernels/resize/resize_impl.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_layer_impl.h"
#include "gpunn/kernels/rotary/rotary_impl.h"
#include "gpunn/kernels/scan/scan_impl.h"
#include "gpunn/kernels/softmax/softmax_impl.h"
#include "gpunn/kernels/sort/sort_impl.h"

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

constexpr const char* kCounts = "its result counts or compares";
constexpr const char* kIndices = "its result is indices";
constexpr const char* kOnesOfIndices = "its input is indices";

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
  using H = GatedFunction;
  for (const auto& [name, f] : {std::pair{"glu", H::glu}, {"swiglu", H::swiglu}, {"geglu", H::geglu}})
    table.push_back(
        {name, "elementwise", {describe(map_list(f)), describe(map_list(static_cast<GatedGrad>(f)))}});
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
  table.push_back({"min", "reduce", {reduction(F::min), reduction(F::min_indices), describe(kMaxBackward)}});
  table.push_back({"amin", "reduce", {reduction(F::min), describe(kMaxBackward)}});
  table.push_back({"argmin", "reduce", {reduction(F::argmin)}, "", kIndices, kIndices});
  table.push_back({"prod", "reduce", {reduction(F::prod), describe(kProdBackward)}});
  table.push_back({"var", "reduce", {reduction(F::var)}});
  table.push_back({"std", "reduce", {reduction(F::std)}});
  table.push_back({"var_mean", "reduce", {}, "var and mean"});
  table.push_back({"norm", "reduce", {reduction(F::norm), describe(kNormBackward)}});
  table.push_back({"logsumexp", "reduce", {reduction(F::logsumexp)}});
  for (const F f : {F::any, F::all, F::count_nonzero})
    table.push_back({kReduce[static_cast<int>(f)].op, "reduce", {reduction(f)}, "", kCounts, kCounts});
  table.push_back({"expand", "reduce", {}, "a view with strides of 0"});
  table.push_back({"sum_to", "reduce", {}, "sum"});
}

void add_movement(std::vector<OpInfo>& table) {
  const auto add = [&](const char* name, std::vector<ListInfo> lists) {
    table.push_back({name, "movement", std::move(lists)});
  };
  for (const char* name : {"cat", "stack"}) add(name, {describe(kCat)});
  for (const char* name : {"split", "chunk", "unbind"})
    table.push_back({name, "movement", {}, "views, whose gradient is cat"});
  table.push_back({"slice", "movement", {}, "a view, whose gradient is a strided copy"});
  table.push_back({"movedim", "movement", {}, "permute"});
  for (const char* name : {"pad", "flip", "roll"}) add(name, {describe(kRemap), describe(kRemapBackward)});
  for (const char* name : {"repeat", "tile", "repeat_interleave"}) add(name, {describe(kRemap)});
}

void add_indexing(std::vector<OpInfo>& table) {
  const auto add = [&](const char* name, std::vector<ListInfo> lists) {
    table.push_back({name, "indexing", std::move(lists)});
  };
  const ListInfo check = describe(kIndexCheck);
  add("gather", {describe(kGather), describe(kScatterAdd), check});
  add("scatter", {describe(kScatter), describe(kGather), check});
  add("scatter_add", {describe(kScatterAdd), describe(kGather), check});
  table.push_back({"take_along_dim", "indexing", {}, "gather of what expand gives"});
  for (const char* name : {"index_select", "index_add", "embedding"})
    add(name, {describe(kSelectRows), describe(kAddRows), check});
  add("masked_fill", {describe(kMaskedFill)});
  add("masked_select", {describe(kMaskPositions), describe(kSelectRows), describe(kAddRows)});
  table.push_back({"one_hot", "indexing", {describe(kOneHot), check}, "", kOnesOfIndices, kOnesOfIndices});
}

void add_losses(std::vector<OpInfo>& table) {
  const std::vector<ListInfo> loss{describe(kLossForward), describe(kLossBackward)};
  const std::vector<ListInfo> pair{describe(kPairForward), describe(kPairBackward)};
  std::vector<ListInfo> both = pair;
  both.insert(both.end(), loss.begin(), loss.end());
  for (const char* name :
       {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
        "binary_cross_entropy_with_logits", "kl_div", "hinge_embedding_loss", "margin_ranking_loss"})
    table.push_back({name, "loss", loss});
  for (const char* name : {"cosine_similarity", "pairwise_distance"}) table.push_back({name, "loss", pair});
  for (const char* name : {"cosine_embedding_loss", "triplet_margin_loss"})
    table.push_back({name, "loss", both});
  table.push_back({"ctc_loss",
                   "ctc",
                   {describe(kCtcForward), describe(kCtcBackward)},
                   "",
                   "",
                   "its gradient is a recurrence of its own"});
}

void add_scan(std::vector<OpInfo>& table) {
  const auto list = [](ScanFunction f) { return describe(kScan[static_cast<int>(f)]); };
  table.push_back({"cumsum", "scan", {list(ScanFunction::sum)}});
  table.push_back({"cumprod",
                   "scan",
                   {list(ScanFunction::prod), describe(kCumprodBackward)},
                   "",
                   "",
                   "the gradient is a fused recurrence"});
}

void add_sort(std::vector<OpInfo>& table) {
  const std::vector<ListInfo> lists{describe(kSort), describe(kSortScatter), describe(kSortGather)};
  table.push_back({"sort", "sort", lists});
  table.push_back({"argsort", "sort", {describe(kSort)}, "", kIndices, kIndices});
  table.push_back({"topk", "sort", lists});
  constexpr const char* kDrawn = "it has no input";
  table.push_back({"randperm", "sort", {}, "drawn on the CPU and copied", kDrawn, kDrawn});
}

void add_count(std::vector<OpInfo>& table) {
  const auto add = [&](const char* name, std::vector<ListInfo> lists, const char* why) {
    table.push_back({name, "count", std::move(lists), "", why, why});
  };
  constexpr const char* kPlaces = "its result is positions";
  constexpr const char* kDistinct = "which elements are distinct does not change by degrees";
  const ListInfo count = describe(kBinCount), find = describe(kBinFind), sums = describe(kAddRows);
  add("unique", {describe(kSort), describe(kRowOrder), describe(kMaskPositions)}, kDistinct);
  add("unique_consecutive", {describe(kMaskPositions)}, kDistinct);
  add("bincount", {count, sums}, kCounts);
  add("histc", {count}, kCounts);
  add("histogram", {count, find, sums}, kCounts);
  add("searchsorted", {describe(kSearch)}, kPlaces);
  add("bucketize", {describe(kSearch)}, kPlaces);
}

/// The gradients of each are the other two; conv2d's end (bias, relu) has a pass of its own.
void add_convolutions(std::vector<OpInfo>& table) {
  const ListInfo y = describe(kConv2d), dx = describe(kConv2dDx), dw = describe(kConv2dDw);
  const ListInfo end = describe(kChannelGrad);
  for (const char* name : {"conv2d", "conv1d"}) table.push_back({name, "conv2d", {y, dx, dw, end}});
  table.push_back({"conv2d_dx", "conv2d", {dx, y, dw}});
  table.push_back({"conv2d_dw", "conv2d", {dw, y, dx}});
  table.push_back({"conv_transpose2d", "conv2d", {dx, y, dw, end}});
}

void add_pool(std::vector<OpInfo>& table) {
  const std::vector<ListInfo> max{describe(kMaxPool), describe(kMaxPoolBackward), describe(kPoolGather)};
  const std::vector<ListInfo> avg{describe(kAvgPool), describe(kAvgPoolBackward)};
  for (const char* name :
       {"max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
        "max_pool1d", "max_pool1d_with_indices", "adaptive_max_pool1d", "adaptive_max_pool1d_with_indices"})
    table.push_back({name, "pool", max});
  for (const char* name :
       {"avg_pool2d", "adaptive_avg_pool2d", "global_avg_pool2d", "avg_pool1d", "adaptive_avg_pool1d"})
    table.push_back({name, "pool", avg});
  for (const char* name : {"lp_pool2d", "lp_pool1d"})
    table.push_back({name, "pool", {}, "the root of avg_pool2d of powers"});
  table.push_back({"max_unpool2d", "pool", {}, "scatter into zeros"});
  table.push_back({"max_unpool1d", "pool", {}, "max_unpool2d"});
  for (const char* name : {"interpolate", "interpolate_scale"})
    table.push_back({name, "resize", {describe(kResize), describe(kResizeBackward)}});
}

void add_norms(std::vector<OpInfo>& table) {
  const std::vector<ListInfo> batch{describe(kBatchNormForward), describe(kBatchNormBackward)};
  const std::vector<ListInfo> rows{describe(kRowNormForward), describe(kRowNormBackward)};
  table.push_back({"batch_norm", "norm", batch});
  for (const char* name : {"layer_norm", "rms_norm", "group_norm"}) table.push_back({name, "norm", rows});
  table.push_back({"instance_norm", "norm", {rows[0], rows[1], batch[0], batch[1]}});
  const std::vector<ListInfo> sums{describe(kAddNormForward), describe(kAddNormBackward)};
  for (const char* name : {"add_layer_norm", "add_rms_norm"}) table.push_back({name, "norm", sums});
  table.push_back({"local_response_norm", "norm", {}, "squares, sums of narrowed views, pow and div"});
}

void add_attention(std::vector<OpInfo>& table) {
  const std::vector<ListInfo> lists{describe(kAttentionForward), describe(kAttentionBackward)};
  for (const char* name :
       {"scaled_dot_product_attention", "attention", "attention_packed_qkv", "attention_varlen"})
    table.push_back({name, "attention", lists});
  constexpr const char* kCache = "it reads a cache, which carries no gradient";
  table.push_back({"attention_paged", "attention", {lists[0]}, "", kCache, kCache});
  constexpr const char* kWritten = "written in place, outside the graph";
  for (const char* name : {"kv_append_", "kv_append_paged_"})
    table.push_back({name, "attention", {describe(kKvAppend)}, "", kWritten, kWritten});
}

void add_random(std::vector<OpInfo>& table) {
  table.push_back({"dropout", "random", {describe(kDropout)}});
  constexpr const char* kDraw = "a draw: its result does not change with its input by degrees";
  table.push_back({"bernoulli", "random", {describe(kBernoulli)}, "", kDraw, kDraw});
  constexpr const char* kDrawn = "it has no input";
  table.push_back({"uniform", "random", {}, "rand scaled, drawn on the CPU and copied", kDrawn, kDrawn});
  table.push_back({"normal", "random", {}, "randn scaled, drawn on the CPU and copied", kDrawn, kDrawn});
  table.push_back({"multinomial", "random", {}, "drawn on the CPU and copied", kIndices, kIndices});
}

void add_recurrent(std::vector<OpInfo>& table) {
  const std::vector<ListInfo> cell{describe(kRnnCellForward), describe(kRnnCellBackward)};
  table.push_back({"rnn_sequence",
                   "rnn",
                   {describe(kMatmul), describe(kRnnForward), describe(kRnnBackward),
                    describe(kRnnLayerForward), describe(kRnnLayerBackward)}});
  table.push_back({"lstm_cell", "rnn", cell});
  table.push_back({"gru_cell", "rnn", cell});
  for (const char* name : {"rnn_tanh_cell", "rnn_relu_cell"})
    table.push_back({name, "rnn", {}, "linear and an activation"});
  for (const char* name : {"pack_padded_sequence", "pad_packed_sequence", "pad_sequence", "pack_sequence"})
    table.push_back({name, "rnn", {}, "cat and index_select"});
}

}  // namespace

std::vector<OpInfo> op_table() {
  std::vector<OpInfo> table;
  add_primitives(table);
  add_elementwise(table);
  add_activations(table);
  add_math_functions(table);
  add_comparisons(table);
  table.push_back({"chain", "chain", {describe(kChainForward), describe(kChainBackward)}});
  add_reduce(table);
  add_movement(table);
  add_indexing(table);
  add_scan(table);
  add_sort(table);
  add_count(table);
  table.push_back({"matmul", "matmul", {describe(kMatmul)}});
  table.push_back({"linear", "matmul", {describe(kMatmul), describe(kBiasGrad)}});
  for (const char* name : {"bmm", "einsum", "bilinear"}) table.push_back({name, "matmul", {}, "matmul"});
  table.push_back({"outer", "matmul", {}, "mul of a column and a row"});
  table.push_back({"rotary", "rotary", {describe(kRotary)}});
  constexpr const char* kMade = "made of sizes alone";
  table.push_back({"rotary_table", "rotary", {}, "sines and cosines on the host", kMade, kMade});
  const std::vector<ListInfo> softmax{describe(kSoftmaxForward), describe(kSoftmaxBackward)};
  table.push_back({"softmax", "softmax", softmax});
  table.push_back({"log_softmax", "softmax", softmax});
  table.push_back(
      {"cross_entropy",
       "cross_entropy",
       {describe(kCrossEntropyForward), describe(kCrossEntropyBackward), describe(kCrossEntropyTargets)}});
  table.push_back({"linear_cross_entropy",
                   "linear_cross_entropy",
                   {describe(kLogitStats), describe(kLogitGrad), describe(kRowLoss), describe(kScaleGrad),
                    describe(kMatmul), describe(kCrossEntropyTargets)}});
  table.push_back({"nll_loss",
                   "cross_entropy",
                   {describe(kNllForward), describe(kNllBackward), describe(kCrossEntropyTargets)}});
  add_convolutions(table);
  add_losses(table);
  add_pool(table);
  add_norms(table);
  add_recurrent(table);
  add_attention(table);
  add_random(table);
  constexpr const char* kUpdate = "an update of parameters in place, outside the graph";
  std::vector<ListInfo> steps;
  for (const auto& list : kUpdateStep) steps.push_back(describe(list));
  table.push_back({"optimizer_step", "optim", std::move(steps), "", kUpdate, kUpdate});
  const std::vector<ListInfo> norm{describe(kNormPartials), describe(kNormJoin)};
  constexpr const char* kNorm = "a measure of gradients, outside the graph";
  table.push_back({"total_norm", "optim", norm, "", kNorm, kNorm});
  table.push_back({"clip_norm_", "optim", {norm[0], norm[1], describe(kRescale)}, "", kUpdate, kUpdate});
  table.push_back({"clip_value_", "optim", {describe(kRescale)}, "", kUpdate, kUpdate});
  return table;
}

}  // namespace gpunn
