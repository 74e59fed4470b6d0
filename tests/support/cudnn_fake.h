#pragma once
// A library in cuDNN's place: computes on host memory, plainly and in double, writes down what it is asked,
// and fails when told to. Scribbles over the workspace that it asked for, as an algorithm may.
#include <map>
#include <string>
#include <vector>

#include "gpunn/kernels/conv2d/cudnn_api_impl.h"

namespace gpunn {

/// What the fake saw and what it is to answer. One at a time: its functions are plain ones.
struct FakeCudnn {
  int live = 0;  // handles and descriptors made and not destroyed
  std::map<std::string, int> calls;
  std::map<std::string, detail::CudnnStatus> fail;            // by the function's name in detail::Cudnn
  std::vector<detail::CudnnAlgorithm> forward, data, filter;  // answers, best first
  std::size_t workspace_bytes = 64;                           // of every algorithm

  // Of the last convolution.
  int algorithm = -1, math = -1, compute = -1, mode = -1, groups = 0;
  int dtype = -1, filter_format = -1, activation = -1, nan = -1;
  std::vector<int> x_strides, pad, stride, dilation;
  float beta = -1;
  void* workspace = nullptr;
  std::size_t given_bytes = 0;
  void* stream = nullptr;
};

/// The functions; what they share is `state`, which starts afresh.
detail::Cudnn fake_cudnn(FakeCudnn& state);

}  // namespace gpunn
