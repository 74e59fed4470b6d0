// Our declarations of cuDNN's graph interface beside its header, where that is installed; our graphs given to
// the library, where that is; and the entries' reasons.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>

#include "gpunn/core/error.h"
#include "gpunn/kernels/attention/cudnn_attention_impl.h"
#include "gpunn/kernels/common/cudnn_device_impl.h"

#if __has_include(<cudnn.h>)
#include <cudnn.h>

namespace gpunn::detail {
namespace {

static_assert(int{CUDNN_DATA_INT32} == kCudnnInt32 && int{CUDNN_DATA_BOOLEAN} == kCudnnBoolean);

static_assert(int{CUDNN_BACKEND_POINTWISE_DESCRIPTOR} == kCudnnPointwiseKind &&
              int{CUDNN_BACKEND_ENGINE_DESCRIPTOR} == kCudnnEngineKind &&
              int{CUDNN_BACKEND_ENGINECFG_DESCRIPTOR} == kCudnnEngineConfigKind &&
              int{CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR} == kCudnnHeuristicsKind &&
              int{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR} == kCudnnPlanKind &&
              int{CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR} == kCudnnPointwiseOperation &&
              int{CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR} == kCudnnGraphKind &&
              int{CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR} == kCudnnPackKind &&
              int{CUDNN_BACKEND_TENSOR_DESCRIPTOR} == kCudnnTensorKind &&
              int{CUDNN_BACKEND_MATMUL_DESCRIPTOR} == kCudnnMatmulKind &&
              int{CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR} == kCudnnMatmulOperation &&
              int{CUDNN_BACKEND_REDUCTION_DESCRIPTOR} == kCudnnReductionKind &&
              int{CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR} == kCudnnReductionOperation &&
              int{CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR} == kCudnnReshapeOperation);

static_assert(int{CUDNN_TYPE_HANDLE} == kCudnnTypeHandle && int{CUDNN_TYPE_DATA_TYPE} == kCudnnTypeDtype &&
              int{CUDNN_TYPE_BOOLEAN} == kCudnnTypeBool && int{CUDNN_TYPE_INT64} == kCudnnTypeInt64 &&
              int{CUDNN_TYPE_VOID_PTR} == kCudnnTypePointer &&
              int{CUDNN_TYPE_HEUR_MODE} == kCudnnTypeHeuristics &&
              int{CUDNN_TYPE_NUMERICAL_NOTE} == kCudnnTypeNote &&
              int{CUDNN_TYPE_POINTWISE_MODE} == kCudnnTypePointwise &&
              int{CUDNN_TYPE_BACKEND_DESCRIPTOR} == kCudnnTypeDescriptor &&
              int{CUDNN_TYPE_REDUCTION_OPERATOR_TYPE} == kCudnnTypeReduction);

static_assert(int{CUDNN_ATTR_POINTWISE_MODE} == kCudnnPointwiseMode &&
              int{CUDNN_ATTR_POINTWISE_MATH_PREC} == kCudnnPointwisePrecision &&
              int{CUDNN_ATTR_POINTWISE_AXIS} == kCudnnPointwiseAxis &&
              int{CUDNN_ATTR_ENGINEHEUR_MODE} == kCudnnHeuristicsMode &&
              int{CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH} == kCudnnHeuristicsGraph &&
              int{CUDNN_ATTR_ENGINEHEUR_RESULTS} == kCudnnHeuristicsResults &&
              int{CUDNN_ATTR_ENGINECFG_ENGINE} == kCudnnConfigEngine &&
              int{CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG} == kCudnnPlanConfig &&
              int{CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE} == kCudnnPlanWorkspace &&
              int{CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR} == kCudnnPointwiseOf &&
              int{CUDNN_ATTR_OPERATION_POINTWISE_XDESC} == kCudnnPointwiseX &&
              int{CUDNN_ATTR_OPERATION_POINTWISE_BDESC} == kCudnnPointwiseB &&
              int{CUDNN_ATTR_OPERATION_POINTWISE_YDESC} == kCudnnPointwiseY &&
              int{CUDNN_ATTR_OPERATION_POINTWISE_TDESC} == kCudnnPointwiseT &&
              int{CUDNN_ATTR_OPERATIONGRAPH_OPS} == kCudnnGraphOperations);
static_assert(int{CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT} == kCudnnTensorAlignment &&
              int{CUDNN_ATTR_TENSOR_DATA_TYPE} == kCudnnTensorDtype &&
              int{CUDNN_ATTR_TENSOR_DIMENSIONS} == kCudnnTensorSizes &&
              int{CUDNN_ATTR_TENSOR_STRIDES} == kCudnnTensorStrides &&
              int{CUDNN_ATTR_TENSOR_UNIQUE_ID} == kCudnnTensorId &&
              int{CUDNN_ATTR_TENSOR_IS_VIRTUAL} == kCudnnTensorVirtual &&
              int{CUDNN_ATTR_TENSOR_IS_BY_VALUE} == kCudnnTensorByValue &&
              int{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS} == kCudnnPackIds &&
              int{CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS} == kCudnnPackPointers &&
              int{CUDNN_ATTR_VARIANT_PACK_WORKSPACE} == kCudnnPackWorkspace &&
              int{CUDNN_ATTR_ENGINE_NUMERICAL_NOTE} == kCudnnEngineNotes &&
              int{CUDNN_ATTR_MATMUL_COMP_TYPE} == kCudnnMatmulPrecision &&
              int{CUDNN_ATTR_OPERATION_MATMUL_ADESC} == kCudnnMatmulA &&
              int{CUDNN_ATTR_OPERATION_MATMUL_BDESC} == kCudnnMatmulB &&
              int{CUDNN_ATTR_OPERATION_MATMUL_CDESC} == kCudnnMatmulC &&
              int{CUDNN_ATTR_OPERATION_MATMUL_DESC} == kCudnnMatmulOf &&
              int{CUDNN_ATTR_REDUCTION_OPERATOR} == kCudnnReductionMode &&
              int{CUDNN_ATTR_REDUCTION_COMP_TYPE} == kCudnnReductionPrecision &&
              int{CUDNN_ATTR_OPERATION_REDUCTION_XDESC} == kCudnnReductionX &&
              int{CUDNN_ATTR_OPERATION_REDUCTION_YDESC} == kCudnnReductionY &&
              int{CUDNN_ATTR_OPERATION_REDUCTION_DESC} == kCudnnReductionOf &&
              int{CUDNN_ATTR_OPERATION_RESHAPE_XDESC} == kCudnnReshapeX &&
              int{CUDNN_ATTR_OPERATION_RESHAPE_YDESC} == kCudnnReshapeY);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // of 9.19; what is older wants the handle
static_assert(int{CUDNN_ATTR_EXECUTION_PLAN_HANDLE} == kCudnnPlanHandle &&
              int{CUDNN_ATTR_OPERATIONGRAPH_HANDLE} == kCudnnGraphHandle);
#pragma GCC diagnostic pop

static_assert(int{CUDNN_POINTWISE_ADD} == kCudnnAdd && int{CUDNN_POINTWISE_MUL} == kCudnnMul &&
              int{CUDNN_POINTWISE_DIV} == kCudnnDiv && int{CUDNN_POINTWISE_SUB} == kCudnnSub &&
              int{CUDNN_POINTWISE_EXP} == kCudnnExp && int{CUDNN_POINTWISE_LOG} == kCudnnLog &&
              int{CUDNN_POINTWISE_CMP_GT} == kCudnnGreater &&
              int{CUDNN_POINTWISE_CMP_GE} == kCudnnGreaterEqual &&
              int{CUDNN_POINTWISE_GEN_INDEX} == kCudnnIndex &&
              int{CUDNN_POINTWISE_BINARY_SELECT} == kCudnnSelect);
static_assert(int{CUDNN_REDUCE_TENSOR_ADD} == kCudnnSum && int{CUDNN_REDUCE_TENSOR_MAX} == kCudnnMax &&
              int{CUDNN_HEUR_MODE_FALLBACK} == kCudnnHeuristicsFallback &&
              int{CUDNN_HEUR_MODE_A} == kCudnnHeuristicsBest &&
              int{CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC} == kCudnnNondeterministic &&
              int{CUDNN_NUMERICAL_NOTE_TYPE_COUNT} <= kCudnnNotes);

/// Parameters of a function, enumerations and pointers taken for what they are passed as.
template <class T>
struct Passed {
  using Type = std::conditional_t<std::is_enum_v<T>, int, std::conditional_t<std::is_pointer_v<T>, void*, T>>;
};
template <class R, class... A>
void (*shape(R (*)(A...)))(typename Passed<R>::Type, typename Passed<A>::Type...);
#define SAME_SHAPE(ours, theirs) \
  static_assert(std::is_same_v<decltype(shape(CudnnGraphs{}.ours)), decltype(shape(&theirs))>)
SAME_SHAPE(error_string, cudnnGetErrorString);
SAME_SHAPE(version, cudnnGetVersion);
SAME_SHAPE(create, cudnnCreate);
SAME_SHAPE(destroy, cudnnDestroy);
SAME_SHAPE(set_stream, cudnnSetStream);
SAME_SHAPE(descriptor_create, cudnnBackendCreateDescriptor);
SAME_SHAPE(descriptor_destroy, cudnnBackendDestroyDescriptor);
SAME_SHAPE(finalize, cudnnBackendFinalize);
SAME_SHAPE(set, cudnnBackendSetAttribute);
SAME_SHAPE(get, cudnnBackendGetAttribute);
SAME_SHAPE(execute, cudnnBackendExecute);
#undef SAME_SHAPE

}  // namespace
}  // namespace gpunn::detail
#endif

namespace gpunn {
namespace {

AttentionProblem problem() {
  AttentionProblem p{};
  p.dtype = DType::bf16, p.scale = 0.125, p.sizes = {2, 4, 2, 256, 256, 64, 64};
  p.q_layout = p.y_layout = {256 * 4 * 64, 64, 4 * 64}, p.k_layout = p.v_layout = {256 * 2 * 64, 64, 2 * 64};
  return p;
}

TEST(AttentionCudnn, ReasonNamesTheLibraryOrIsNone) {
  AttentionProblem p = problem();
  const char* const why = attention_fwd_cudnn_reason(p);
  EXPECT_TRUE(!why || std::string(why).find("needs ") == 0) << why;
  p.dtype = DType::f32;
  EXPECT_STREQ(attention_fwd_cudnn_reason(p), "takes f16 and bf16");
  AttentionBackwardProblem b{};
  b.dtype = DType::f32;
  EXPECT_STREQ(attention_bwd_cudnn_reason(b), "takes f16 and bf16");
}

// Tensors, operations and graphs are checked by the library without a GPU; engines are found on one only.
TEST(AttentionCudnn, TheLibraryTakesTheGraphs) {
  using namespace detail;
  CudnnGraphs l{};
  std::size_t (*version)() = nullptr;
  if (!find_cudnn("cudnnGetVersion", version) || version() < kCudnnLeastAttentionVersion ||
      !find_cudnn("cudnnGetErrorString", l.error_string) ||
      !find_cudnn("cudnnBackendDestroyDescriptor", l.descriptor_destroy) ||
      !find_cudnn("cudnnBackendCreateDescriptor", l.descriptor_create) ||
      !find_cudnn("cudnnBackendFinalize", l.finalize) || !find_cudnn("cudnnBackendSetAttribute", l.set))
    GTEST_SKIP() << "no cuDNN 9.10.2 or later";
  l.create = [](CudnnHandle* h) { return *h = nullptr, kCudnnSuccess; };
  l.destroy = [](CudnnHandle) { return kCudnnSuccess; };
  static decltype(l.set) set;
  set = l.set;
  // A graph is as good without a handle.
  l.set = [](CudnnDescriptor d, int attribute, int type, std::int64_t count, const void* values) {
    return attribute == kCudnnGraphHandle ? kCudnnSuccess : set(d, attribute, type, count, values);
  };
  static decltype(l.finalize) finalize;
  static int graphs;
  finalize = l.finalize, graphs = 0;
  static decltype(l.descriptor_create) make;
  static CudnnDescriptor graph;
  make = l.descriptor_create;
  l.descriptor_create = [](int kind, CudnnDescriptor* d) {
    const CudnnStatus status = make(kind, d);
    if (kind == kCudnnGraphKind) graph = *d;
    if (kind != kCudnnGraphKind && *d == graph) graph = nullptr;  // its memory again
    return status;
  };
  // Ends the plan behind the graph.
  l.finalize = [](CudnnDescriptor d) {
    const CudnnStatus status = finalize(d);
    if (d != graph) return status;
    if (status == kCudnnSuccess) ++graphs;
    return status == kCudnnSuccess ? CudnnStatus{3000} : status;
  };
  CudnnAttention attention(l);
  const auto expect_taken = [&](const CudnnAttentionCall& call, const char* what) {
    const int before = graphs;
    EXPECT_STREQ(attention.refusal(call),
                 "knows no deterministic engine for it that is content with the workspace")
        << what;
    EXPECT_EQ(graphs, before + 1) << what;
  };
  static float lse;
  for (const std::int64_t heads : {4, 2})
    for (const bool masked : {false, true}) {
      AttentionProblem p = problem();
      p.sizes.Hq = heads;
      if (masked) p.sizes.Tq = 200, p.rule.causal = p.rule.align_end = true, p.rule.window = 30;
      expect_taken(cudnn_attention_call(p), "forward without sums");
      p.lse = &lse;
      expect_taken(cudnn_attention_call(p), "forward");
      AttentionBackwardProblem b{};
      b.dtype = p.dtype, b.scale = p.scale, b.sizes = p.sizes, b.rule = p.rule, b.lse = &lse;
      b.q_layout = b.dq_layout = b.y_layout = b.dy_layout = p.q_layout;
      b.k_layout = b.dk_layout = b.v_layout = b.dv_layout = p.k_layout;
      expect_taken(cudnn_attention_call(b), "backward");
    }
}

}  // namespace
}  // namespace gpunn
