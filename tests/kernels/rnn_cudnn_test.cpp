// Our declarations of cuDNN's recurrent interface beside its header, where that is installed, and the
// entries' reasons.
#include <gtest/gtest.h>

#include <string>
#include <type_traits>

#include "gpunn/kernels/rnn/cudnn_rnn_api_impl.h"
#include "gpunn/kernels/rnn/rnn_layer_impl.h"

#if __has_include(<cudnn.h>)
#include <cudnn.h>

namespace gpunn::detail {
namespace {

static_assert(int{CUDNN_RNN_ALGO_STANDARD} == kCudnnRnnStandard);
static_assert(int{CUDNN_RNN_RELU} == kCudnnCellRelu && int{CUDNN_RNN_TANH} == kCudnnCellTanh &&
              int{CUDNN_LSTM} == kCudnnCellLstm && int{CUDNN_GRU} == kCudnnCellGru);
static_assert(int{CUDNN_RNN_NO_BIAS} == kCudnnNoBias && int{CUDNN_RNN_DOUBLE_BIAS} == kCudnnTwoBiases);
static_assert(int{CUDNN_UNIDIRECTIONAL} == kCudnnOneDirection &&
              int{CUDNN_LINEAR_INPUT} == kCudnnLinearInput &&
              int{CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_PACKED} == kCudnnPackedRows &&
              CUDNN_RNN_PADDED_IO_DISABLED == kCudnnNoPaddedRows);
static_assert(int{CUDNN_FWD_MODE_INFERENCE} == kCudnnInference &&
              int{CUDNN_FWD_MODE_TRAINING} == kCudnnTraining &&
              int{CUDNN_WGRAD_MODE_ADD} == kCudnnAddGradients);

/// Parameters of a function, enumerations and pointers taken for what they are passed as.
template <class T>
struct Passed {
  using Type = std::conditional_t<std::is_enum_v<T>, int, std::conditional_t<std::is_pointer_v<T>, void*, T>>;
};
template <class R, class... A>
void (*shape(R (*)(A...)))(typename Passed<R>::Type, typename Passed<A>::Type...);
#define SAME_SHAPE(ours, theirs) \
  static_assert(std::is_same_v<decltype(shape(CudnnRecurrent{}.ours)), decltype(shape(&theirs))>)
SAME_SHAPE(error_string, cudnnGetErrorString);
SAME_SHAPE(version, cudnnGetVersion);
SAME_SHAPE(create, cudnnCreate);
SAME_SHAPE(destroy, cudnnDestroy);
SAME_SHAPE(set_stream, cudnnSetStream);
SAME_SHAPE(tensor_create, cudnnCreateTensorDescriptor);
SAME_SHAPE(tensor_destroy, cudnnDestroyTensorDescriptor);
SAME_SHAPE(tensor_set, cudnnSetTensorNdDescriptor);
SAME_SHAPE(tensor_get, cudnnGetTensorNdDescriptor);
SAME_SHAPE(dropout_create, cudnnCreateDropoutDescriptor);
SAME_SHAPE(dropout_destroy, cudnnDestroyDropoutDescriptor);
SAME_SHAPE(dropout_set, cudnnSetDropoutDescriptor);
SAME_SHAPE(rnn_create, cudnnCreateRNNDescriptor);
SAME_SHAPE(rnn_destroy, cudnnDestroyRNNDescriptor);
SAME_SHAPE(rnn_set, cudnnSetRNNDescriptor_v8);
SAME_SHAPE(sequence_create, cudnnCreateRNNDataDescriptor);
SAME_SHAPE(sequence_destroy, cudnnDestroyRNNDataDescriptor);
SAME_SHAPE(sequence_set, cudnnSetRNNDataDescriptor);
SAME_SHAPE(temp_sizes, cudnnGetRNNTempSpaceSizes);
SAME_SHAPE(weights_size, cudnnGetRNNWeightSpaceSize);
SAME_SHAPE(weight_place, cudnnGetRNNWeightParams);
SAME_SHAPE(forward, cudnnRNNForward);
SAME_SHAPE(backward_data, cudnnRNNBackwardData_v8);
SAME_SHAPE(backward_weights, cudnnRNNBackwardWeights_v8);
#undef SAME_SHAPE

}  // namespace
}  // namespace gpunn::detail
#endif

namespace gpunn {
namespace {

TEST(RnnCudnn, ReasonNamesTheLibraryOrIsNone) {
  RnnLayerForwardProblem p{};
  p.sizes = {RnnMode::lstm, false, true, 3, 2, 4, 6};
  p.K = 5;
  p.dtype = DType::f32;
  const char* const why = rnn_layer_fwd_cudnn_reason(p);
  EXPECT_TRUE(!why || std::string(why).find("needs ") == 0) << why;
  p.gates = true;
  EXPECT_STREQ(rnn_layer_fwd_cudnn_reason(p), "shows no gates");
  p.gates = false;
  p.dtype = DType::f64;
  EXPECT_STREQ(rnn_layer_fwd_cudnn_reason(p), "takes f32, f16 and bf16");
}

}  // namespace
}  // namespace gpunn
