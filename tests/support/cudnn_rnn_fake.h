#pragma once
// A library in the place of cuDNN's recurrent part: computes on host memory by the reference, writes down
// what it is asked, and fails when told to. Its weights lie in an order of its own with gaps between, it
// scribbles over the workspace, and its backward spoils the reserve, as the real one may.
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "gpunn/kernels/rnn/cudnn_recurrence_impl.h"

namespace gpunn {

/// What the fake saw and what it is to answer. One at a time: its functions are plain ones.
struct FakeCudnnRnn {
  int live = 0;  // handles and descriptors made and not destroyed
  std::map<std::string, int> calls;
  std::vector<std::string> order;                   // of what works on memory
  std::map<std::string, detail::CudnnStatus> fail;  // by the function's name in detail::CudnnRecurrent
  std::size_t workspace_bytes = 96;
  bool joined = false;    // weights in our own order without gaps
  int extra_weights = 0;  // added to the sizes that it tells
  std::size_t version = 91900;

  // Of the last layer.
  int algorithm = -1, cell = -1, bias = -1, direction = -1, input = -1, dtype = -1, compute = -1, math = -1;
  int inputs = 0, units = 0, projection = 0, layers = 0, layout = -1, mode = -1, add = -1;
  unsigned flags = 99;
  float dropout = -1;
  std::vector<int> lengths;
  bool device_lengths = false;
  void* stream = nullptr;
};

/// The functions; what they share is `state`, which starts afresh.
detail::CudnnRecurrent fake_cudnn_rnn(FakeCudnnRnn& state);
/// Host memory in the device's place; notes "copy" and "zero" in FakeCudnnRnn::calls.
detail::CudnnMemory fake_cudnn_memory();

}  // namespace gpunn
