#pragma once
// What is used of cuDNN's C interface, declared here because its header comes with neither the toolkit nor
// most distributions, and so that host code can be tested against a stand-in wherever there is no GPU. Values
// and layouts are those of cuDNN 9.19 and 8.9 (a test compares them with the header where there is one);
// enumerations pass as int.
#include <cstddef>

namespace gpunn::detail {

using CudnnStatus = int;
using CudnnHandle = struct CudnnContext*;
using CudnnTensor = struct CudnnTensorDescriptor*;
using CudnnFilter = struct CudnnFilterDescriptor*;
using CudnnWindow = struct CudnnConvolutionDescriptor*;
using CudnnActivation = struct CudnnActivationDescriptor*;

inline constexpr CudnnStatus kCudnnSuccess = 0;
/// Version 8 has one code, version 9 a thousand of them.
constexpr bool cudnn_not_supported(CudnnStatus status) {
  return status == 9 || (status >= 3000 && status < 4000);
}

enum CudnnDataType : int { kCudnnFloat = 0, kCudnnHalf = 2, kCudnnBFloat16 = 9 };
enum CudnnFormat : int { kCudnnNchw = 0, kCudnnNhwc = 1 };
enum CudnnMath : int { kCudnnDefaultMath, kCudnnTensorOpMath, kCudnnConversionMath, kCudnnFmaMath };
inline constexpr int kCudnnCrossCorrelation = 1, kCudnnPropagateNan = 1, kCudnnDeterministic = 1;
inline constexpr int kCudnnRelu = 1, kCudnnIdentity = 5;
enum CudnnForward : int {
  kCudnnForwardPrecomputed = 1,  // an implicit product with its indices computed before
  kCudnnForwardFft = 4,
  kCudnnForwardFftTiling = 5,
  kCudnnForwardWinogradNonfused = 7
};
enum CudnnData : int { kCudnnDataFft = 2, kCudnnDataFftTiling = 3, kCudnnDataWinogradNonfused = 5 };
enum CudnnFilterGradient : int {
  kCudnnFilterFft = 2,
  kCudnnFilterWinogradNonfused = 5,
  kCudnnFilterFftTiling = 6
};

/// One answer to the question for an algorithm; the same for all three directions.
struct CudnnAlgorithm {
  int algorithm;
  CudnnStatus status;
  float time;
  std::size_t memory;
  int determinism;
  int math;
  int reserved[3];
};

/// The library's functions. Descriptors of a picture have four dimensions.
struct Cudnn {
  using Scalar = const void*;  // a float in host memory
  const char* (*error_string)(CudnnStatus);
  CudnnStatus (*create)(CudnnHandle*);
  CudnnStatus (*destroy)(CudnnHandle);
  CudnnStatus (*set_stream)(CudnnHandle, void* stream);
  CudnnStatus (*tensor_create)(CudnnTensor*);
  CudnnStatus (*tensor_destroy)(CudnnTensor);
  CudnnStatus (*tensor_set)(CudnnTensor, int dtype, int dims, const int* sizes, const int* strides);
  CudnnStatus (*filter_create)(CudnnFilter*);
  CudnnStatus (*filter_destroy)(CudnnFilter);
  CudnnStatus (*filter_set)(CudnnFilter, int dtype, int format, int dims, const int* sizes);
  CudnnStatus (*window_create)(CudnnWindow*);
  CudnnStatus (*window_destroy)(CudnnWindow);
  CudnnStatus (*window_set)(CudnnWindow, int dims, const int* pad, const int* stride, const int* dilation,
                            int mode, int compute_dtype);
  CudnnStatus (*window_set_groups)(CudnnWindow, int groups);
  CudnnStatus (*window_set_math)(CudnnWindow, int math);
  CudnnStatus (*activation_create)(CudnnActivation*);
  CudnnStatus (*activation_destroy)(CudnnActivation);
  CudnnStatus (*activation_set)(CudnnActivation, int mode, int nan, double coefficient);

  CudnnStatus (*forward_algorithms)(CudnnHandle, CudnnTensor x, CudnnFilter w, CudnnWindow, CudnnTensor y,
                                    int most, int* count, CudnnAlgorithm*);
  CudnnStatus (*data_algorithms)(CudnnHandle, CudnnFilter w, CudnnTensor dy, CudnnWindow, CudnnTensor dx,
                                 int most, int* count, CudnnAlgorithm*);
  CudnnStatus (*filter_algorithms)(CudnnHandle, CudnnTensor x, CudnnTensor dy, CudnnWindow, CudnnFilter dw,
                                   int most, int* count, CudnnAlgorithm*);
  CudnnStatus (*forward_workspace)(CudnnHandle, CudnnTensor x, CudnnFilter w, CudnnWindow, CudnnTensor y,
                                   int algorithm, std::size_t* bytes);
  CudnnStatus (*data_workspace)(CudnnHandle, CudnnFilter w, CudnnTensor dy, CudnnWindow, CudnnTensor dx,
                                int algorithm, std::size_t* bytes);
  CudnnStatus (*filter_workspace)(CudnnHandle, CudnnTensor x, CudnnTensor dy, CudnnWindow, CudnnFilter dw,
                                  int algorithm, std::size_t* bytes);

  CudnnStatus (*forward)(CudnnHandle, Scalar alpha, CudnnTensor, const void* x, CudnnFilter, const void* w,
                         CudnnWindow, int algorithm, void* workspace, std::size_t bytes, Scalar beta,
                         CudnnTensor, void* y);
  CudnnStatus (*forward_bias_activation)(CudnnHandle, Scalar alpha, CudnnTensor, const void* x, CudnnFilter,
                                         const void* w, CudnnWindow, int algorithm, void* workspace,
                                         std::size_t bytes, Scalar alpha2, CudnnTensor, const void* z,
                                         CudnnTensor, const void* bias, CudnnActivation, CudnnTensor,
                                         void* y);
  CudnnStatus (*backward_data)(CudnnHandle, Scalar alpha, CudnnFilter, const void* w, CudnnTensor,
                               const void* dy, CudnnWindow, int algorithm, void* workspace, std::size_t bytes,
                               Scalar beta, CudnnTensor, void* dx);
  CudnnStatus (*backward_filter)(CudnnHandle, Scalar alpha, CudnnTensor, const void* x, CudnnTensor,
                                 const void* dy, CudnnWindow, int algorithm, void* workspace,
                                 std::size_t bytes, Scalar beta, CudnnFilter, void* dw);
  /// c = alpha a + beta c, `a` being 1 long where c is longer; with beta 0, c is not read.
  CudnnStatus (*add)(CudnnHandle, Scalar alpha, CudnnTensor, const void* a, Scalar beta, CudnnTensor,
                     void* c);
  CudnnStatus (*activate)(CudnnHandle, CudnnActivation, Scalar alpha, CudnnTensor, const void* x, Scalar beta,
                          CudnnTensor, void* y);
  /// Copies from one order of dimensions to another.
  CudnnStatus (*transform)(CudnnHandle, Scalar alpha, CudnnTensor, const void* x, Scalar beta, CudnnTensor,
                           void* y);
};

}  // namespace gpunn::detail
