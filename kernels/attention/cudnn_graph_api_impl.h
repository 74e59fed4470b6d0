#pragma once
// What is used of cuDNN's graph interface (descriptors with numbered attributes), declared here for the
// reasons given in gpunn/kernels/conv2d/cudnn_api_impl.h. Values are those of cuDNN 9.19, beside whose header
// a test puts them; enumerations pass as int.
#include <cstddef>
#include <cstdint>

#include "gpunn/kernels/conv2d/cudnn_api_impl.h"

namespace gpunn::detail {

using CudnnDescriptor = void*;

inline constexpr int kCudnnInt32 = 4, kCudnnBoolean = 11;  // beside CudnnDataType

enum CudnnKind : int {
  kCudnnPointwiseKind = 0,
  kCudnnEngineKind = 2,
  kCudnnEngineConfigKind = 3,
  kCudnnHeuristicsKind = 4,
  kCudnnPlanKind = 5,
  kCudnnPointwiseOperation = 13,
  kCudnnGraphKind = 15,
  kCudnnPackKind = 16,
  kCudnnTensorKind = 17,
  kCudnnMatmulKind = 18,
  kCudnnMatmulOperation = 19,
  kCudnnReductionKind = 21,
  kCudnnReductionOperation = 22,
  kCudnnReshapeOperation = 31
};

/// What an attribute's value is.
enum CudnnType : int {
  kCudnnTypeHandle = 0,
  kCudnnTypeDtype = 1,
  kCudnnTypeBool = 2,
  kCudnnTypeInt64 = 3,
  kCudnnTypePointer = 6,
  kCudnnTypeHeuristics = 8,
  kCudnnTypeNote = 11,
  kCudnnTypePointwise = 14,
  kCudnnTypeDescriptor = 15,
  kCudnnTypeReduction = 18
};

enum CudnnAttribute : int {
  kCudnnPointwiseMode = 0,
  kCudnnPointwisePrecision = 1,
  kCudnnPointwiseAxis = 9,
  kCudnnHeuristicsMode = 200,
  kCudnnHeuristicsGraph = 201,
  kCudnnHeuristicsResults = 202,
  kCudnnConfigEngine = 300,
  kCudnnPlanHandle = 400,
  kCudnnPlanConfig = 401,
  kCudnnPlanWorkspace = 402,
  kCudnnPointwiseOf = 750,  // the descriptor of what is done
  kCudnnPointwiseX = 751,
  kCudnnPointwiseB = 752,
  kCudnnPointwiseY = 753,
  kCudnnPointwiseT = 758,
  kCudnnGraphHandle = 800,
  kCudnnGraphOperations = 801,
  kCudnnTensorAlignment = 900,
  kCudnnTensorDtype = 901,
  kCudnnTensorSizes = 902,
  kCudnnTensorStrides = 903,
  kCudnnTensorId = 906,
  kCudnnTensorVirtual = 907,
  kCudnnTensorByValue = 908,
  kCudnnPackIds = 1000,
  kCudnnPackPointers = 1001,
  kCudnnPackWorkspace = 1003,
  kCudnnEngineNotes = 1303,
  kCudnnMatmulPrecision = 1500,
  kCudnnMatmulA = 1520,
  kCudnnMatmulB = 1521,
  kCudnnMatmulC = 1522,
  kCudnnMatmulOf = 1523,
  kCudnnReductionMode = 1600,
  kCudnnReductionPrecision = 1601,
  kCudnnReductionX = 1610,
  kCudnnReductionY = 1611,
  kCudnnReductionOf = 1612,
  kCudnnReshapeX = 2200,
  kCudnnReshapeY = 2201
};

enum CudnnPointwise : int {
  kCudnnAdd = 0,
  kCudnnMul = 1,
  kCudnnDiv = 6,
  kCudnnSub = 9,
  kCudnnExp = 13,
  kCudnnLog = 15,
  kCudnnGreater = 302,
  kCudnnGreaterEqual = 303,
  kCudnnIndex = 501,  // of an element along an axis
  kCudnnSelect = 601  // t ? x : b
};
enum CudnnReduction : int { kCudnnSum = 0, kCudnnMax = 3 };
enum CudnnHeuristics : int { kCudnnHeuristicsFallback = 2, kCudnnHeuristicsBest = 3 };
inline constexpr int kCudnnNondeterministic = 4, kCudnnNotes = 10;  // a note on an engine; how many there are

/// The library's functions.
struct CudnnGraphs {
  const char* (*error_string)(CudnnStatus);
  std::size_t (*version)();
  CudnnStatus (*create)(CudnnHandle*);
  CudnnStatus (*destroy)(CudnnHandle);
  CudnnStatus (*set_stream)(CudnnHandle, void* stream);
  CudnnStatus (*descriptor_create)(int kind, CudnnDescriptor*);
  CudnnStatus (*descriptor_destroy)(CudnnDescriptor);
  CudnnStatus (*finalize)(CudnnDescriptor);
  CudnnStatus (*set)(CudnnDescriptor, int attribute, int type, std::int64_t count, const void* values);
  /// Descriptors are filled, not made: `values` holds as many as are asked for.
  CudnnStatus (*get)(CudnnDescriptor, int attribute, int type, std::int64_t most, std::int64_t* count,
                     void* values);
  CudnnStatus (*execute)(CudnnHandle, CudnnDescriptor plan, CudnnDescriptor pack);
};

}  // namespace gpunn::detail
