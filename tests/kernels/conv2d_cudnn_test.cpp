// Our declarations of cuDNN's interface beside its header, where that is installed, and the entries' reasons.
#include <gtest/gtest.h>

#include <string>

#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "gpunn/kernels/conv2d/cudnn_api_impl.h"

#if __has_include(<cudnn.h>)
#include <cudnn.h>

namespace gpunn::detail {
namespace {

static_assert(sizeof(CudnnAlgorithm) == sizeof(cudnnConvolutionFwdAlgoPerf_t) &&
              sizeof(CudnnAlgorithm) == sizeof(cudnnConvolutionBwdDataAlgoPerf_t) &&
              sizeof(CudnnAlgorithm) == sizeof(cudnnConvolutionBwdFilterAlgoPerf_t));
template <class Perf>
constexpr bool kSamePlaces = offsetof(CudnnAlgorithm, algorithm) == offsetof(Perf, algo) &&
                             offsetof(CudnnAlgorithm, status) == offsetof(Perf, status) &&
                             offsetof(CudnnAlgorithm, time) == offsetof(Perf, time) &&
                             offsetof(CudnnAlgorithm, memory) == offsetof(Perf, memory) &&
                             offsetof(CudnnAlgorithm, determinism) == offsetof(Perf, determinism) &&
                             offsetof(CudnnAlgorithm, math) == offsetof(Perf, mathType);
static_assert(kSamePlaces<cudnnConvolutionFwdAlgoPerf_t> && kSamePlaces<cudnnConvolutionBwdDataAlgoPerf_t> &&
              kSamePlaces<cudnnConvolutionBwdFilterAlgoPerf_t>);
static_assert(sizeof(cudnnStatus_t) == sizeof(int) && CUDNN_STATUS_SUCCESS == kCudnnSuccess);
static_assert(cudnn_not_supported(CUDNN_STATUS_NOT_SUPPORTED) &&
              !cudnn_not_supported(CUDNN_STATUS_BAD_PARAM) &&
              !cudnn_not_supported(CUDNN_STATUS_INTERNAL_ERROR));
static_assert(int{CUDNN_DATA_FLOAT} == kCudnnFloat && int{CUDNN_DATA_HALF} == kCudnnHalf &&
              int{CUDNN_DATA_BFLOAT16} == kCudnnBFloat16);
static_assert(int{CUDNN_TENSOR_NCHW} == kCudnnNchw && int{CUDNN_TENSOR_NHWC} == kCudnnNhwc);
static_assert(int{CUDNN_DEFAULT_MATH} == kCudnnDefaultMath &&
              int{CUDNN_TENSOR_OP_MATH} == kCudnnTensorOpMath &&
              int{CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION} == kCudnnConversionMath &&
              int{CUDNN_FMA_MATH} == kCudnnFmaMath);
static_assert(int{CUDNN_CROSS_CORRELATION} == kCudnnCrossCorrelation &&
              int{CUDNN_PROPAGATE_NAN} == kCudnnPropagateNan &&
              int{CUDNN_DETERMINISTIC} == kCudnnDeterministic && int{CUDNN_ACTIVATION_RELU} == kCudnnRelu &&
              int{CUDNN_ACTIVATION_IDENTITY} == kCudnnIdentity);
static_assert(int{CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM} == kCudnnForwardPrecomputed &&
              int{CUDNN_CONVOLUTION_FWD_ALGO_FFT} == kCudnnForwardFft &&
              int{CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING} == kCudnnForwardFftTiling &&
              int{CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED} == kCudnnForwardWinogradNonfused);
static_assert(int{CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT} == kCudnnDataFft &&
              int{CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING} == kCudnnDataFftTiling &&
              int{CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED} == kCudnnDataWinogradNonfused);
static_assert(int{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT} == kCudnnFilterFft &&
              int{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING} == kCudnnFilterFftTiling &&
              int{CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED} == kCudnnFilterWinogradNonfused);

/// Parameters of a function, enumerations and pointers taken for what they are passed as.
template <class T>
struct Passed {
  using Type = std::conditional_t<std::is_enum_v<T>, int, std::conditional_t<std::is_pointer_v<T>, void*, T>>;
};
template <class R, class... A>
void (*shape(R (*)(A...)))(typename Passed<R>::Type, typename Passed<A>::Type...);
#define SAME_SHAPE(ours, theirs) \
  static_assert(std::is_same_v<decltype(shape(Cudnn{}.ours)), decltype(shape(&theirs))>)
SAME_SHAPE(error_string, cudnnGetErrorString);
SAME_SHAPE(create, cudnnCreate);
SAME_SHAPE(destroy, cudnnDestroy);
SAME_SHAPE(set_stream, cudnnSetStream);
SAME_SHAPE(tensor_create, cudnnCreateTensorDescriptor);
SAME_SHAPE(tensor_destroy, cudnnDestroyTensorDescriptor);
SAME_SHAPE(tensor_set, cudnnSetTensorNdDescriptor);
SAME_SHAPE(filter_create, cudnnCreateFilterDescriptor);
SAME_SHAPE(filter_destroy, cudnnDestroyFilterDescriptor);
SAME_SHAPE(filter_set, cudnnSetFilterNdDescriptor);
SAME_SHAPE(window_create, cudnnCreateConvolutionDescriptor);
SAME_SHAPE(window_destroy, cudnnDestroyConvolutionDescriptor);
SAME_SHAPE(window_set, cudnnSetConvolutionNdDescriptor);
SAME_SHAPE(window_set_groups, cudnnSetConvolutionGroupCount);
SAME_SHAPE(window_set_math, cudnnSetConvolutionMathType);
SAME_SHAPE(activation_create, cudnnCreateActivationDescriptor);
SAME_SHAPE(activation_destroy, cudnnDestroyActivationDescriptor);
SAME_SHAPE(activation_set, cudnnSetActivationDescriptor);
SAME_SHAPE(forward_algorithms, cudnnGetConvolutionForwardAlgorithm_v7);
SAME_SHAPE(data_algorithms, cudnnGetConvolutionBackwardDataAlgorithm_v7);
SAME_SHAPE(filter_algorithms, cudnnGetConvolutionBackwardFilterAlgorithm_v7);
SAME_SHAPE(forward_workspace, cudnnGetConvolutionForwardWorkspaceSize);
SAME_SHAPE(data_workspace, cudnnGetConvolutionBackwardDataWorkspaceSize);
SAME_SHAPE(filter_workspace, cudnnGetConvolutionBackwardFilterWorkspaceSize);
SAME_SHAPE(forward, cudnnConvolutionForward);
SAME_SHAPE(forward_bias_activation, cudnnConvolutionBiasActivationForward);
SAME_SHAPE(backward_data, cudnnConvolutionBackwardData);
SAME_SHAPE(backward_filter, cudnnConvolutionBackwardFilter);
SAME_SHAPE(add, cudnnAddTensor);
SAME_SHAPE(activate, cudnnActivationForward);
SAME_SHAPE(transform, cudnnTransformTensor);
#undef SAME_SHAPE

}  // namespace
}  // namespace gpunn::detail
#endif

namespace gpunn {
namespace {

TEST(Conv2dCudnn, ReasonNamesTheLibraryOrIsNone) {
  Conv2dProblem p{};
  p.sizes = {1, 4, 5, 5, 6, 3, 3, 5, 5, 1, 1, 1, 1, 1, 1, 1, false};
  p.dtype = DType::f32;
  const char* const why = conv2d_cudnn_reason(p);
  EXPECT_TRUE(!why || std::string(why).find("needs libcudnn") == 0) << why;
  p.dtype = DType::f64;
  EXPECT_STREQ(conv2d_cudnn_reason(p), "takes f32, f16 and bf16");
}

}  // namespace
}  // namespace gpunn
