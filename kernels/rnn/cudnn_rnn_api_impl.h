#pragma once
// What is used of cuDNN's recurrent interface, declared here for the reasons given in
// gpunn/kernels/conv2d/cudnn_api_impl.h. Values are those of cuDNN 9.19, beside whose header
// a test puts them; enumerations pass as int.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/conv2d/cudnn_api_impl.h"

namespace gpunn::detail {

using CudnnDropout = struct CudnnDropoutDescriptor*;
using CudnnRnn = struct CudnnRnnDescriptor*;
using CudnnSequence = struct CudnnSequenceDescriptor*;

/// cudnnGetVersion() of the first version that reads sequence lengths from the descriptors alone.
inline constexpr std::size_t kCudnnLeastRnnVersion = 8907;

inline constexpr int kCudnnRnnStandard = 0;  // algorithm
enum CudnnCell : int { kCudnnCellRelu, kCudnnCellTanh, kCudnnCellLstm, kCudnnCellGru };
enum CudnnRnnBias : int { kCudnnNoBias = 0, kCudnnTwoBiases = 2 };
inline constexpr int kCudnnOneDirection = 0, kCudnnLinearInput = 0;
inline constexpr int kCudnnPackedRows = 1;  // layout: all first steps, then all second ones, and so on
inline constexpr std::uint32_t kCudnnNoPaddedRows = 0;
enum CudnnForwardMode : int { kCudnnInference, kCudnnTraining };
inline constexpr int kCudnnAddGradients = 0;

/// The library's functions.
struct CudnnRecurrent {
  const char* (*error_string)(CudnnStatus);
  std::size_t (*version)();
  CudnnStatus (*create)(CudnnHandle*);
  CudnnStatus (*destroy)(CudnnHandle);
  CudnnStatus (*set_stream)(CudnnHandle, void* stream);
  CudnnStatus (*tensor_create)(CudnnTensor*);
  CudnnStatus (*tensor_destroy)(CudnnTensor);
  CudnnStatus (*tensor_set)(CudnnTensor, int dtype, int dims, const int* sizes, const int* strides);
  CudnnStatus (*tensor_get)(CudnnTensor, int most_dims, int* dtype, int* dims, int* sizes, int* strides);
  CudnnStatus (*dropout_create)(CudnnDropout*);
  CudnnStatus (*dropout_destroy)(CudnnDropout);
  CudnnStatus (*dropout_set)(CudnnDropout, CudnnHandle, float probability, void* states, std::size_t bytes,
                             unsigned long long seed);
  CudnnStatus (*rnn_create)(CudnnRnn*);
  CudnnStatus (*rnn_destroy)(CudnnRnn);
  CudnnStatus (*rnn_set)(CudnnRnn, int algorithm, int cell, int bias, int direction, int input, int dtype,
                         int compute_dtype, int math, std::int32_t inputs, std::int32_t units,
                         std::int32_t projection, std::int32_t layers, CudnnDropout, std::uint32_t flags);
  CudnnStatus (*sequence_create)(CudnnSequence*);
  CudnnStatus (*sequence_destroy)(CudnnSequence);
  CudnnStatus (*sequence_set)(CudnnSequence, int dtype, int layout, int steps, int batch, int features,
                              const int* lengths, void* padding);
  CudnnStatus (*temp_sizes)(CudnnHandle, CudnnRnn, int mode, CudnnSequence x, std::size_t* workspace,
                            std::size_t* reserve);
  CudnnStatus (*weights_size)(CudnnHandle, CudnnRnn, std::size_t* bytes);
  /// Where matrix and bias of a gate lie within the weights: `id` counts the inputs' gates, then the state's.
  CudnnStatus (*weight_place)(CudnnHandle, CudnnRnn, std::int32_t layer, std::size_t bytes,
                              const void* weights, std::int32_t id, CudnnTensor matrix, void** matrix_at,
                              CudnnTensor bias, void** bias_at);

  CudnnStatus (*forward)(CudnnHandle, CudnnRnn, int mode, const std::int32_t* lengths, CudnnSequence,
                         const void* x, CudnnSequence, void* y, CudnnTensor h, const void* hx, void* hy,
                         CudnnTensor c, const void* cx, void* cy, std::size_t weight_bytes,
                         const void* weights, std::size_t workspace_bytes, void* workspace,
                         std::size_t reserve_bytes, void* reserve);
  CudnnStatus (*backward_data)(CudnnHandle, CudnnRnn, const std::int32_t* lengths, CudnnSequence,
                               const void* y, const void* dy, CudnnSequence, void* dx, CudnnTensor h,
                               const void* hx, const void* dhy, void* dhx, CudnnTensor c, const void* cx,
                               const void* dcy, void* dcx, std::size_t weight_bytes, const void* weights,
                               std::size_t workspace_bytes, void* workspace, std::size_t reserve_bytes,
                               void* reserve);
  CudnnStatus (*backward_weights)(CudnnHandle, CudnnRnn, int add, const std::int32_t* lengths, CudnnSequence,
                                  const void* x, CudnnTensor h, const void* hx, CudnnSequence, const void* y,
                                  std::size_t weight_bytes, void* dweights, std::size_t workspace_bytes,
                                  void* workspace, std::size_t reserve_bytes, void* reserve);
};

}  // namespace gpunn::detail
