#pragma once
// A library in the place of cuDNN's graph interface: carries out the operations of a graph on host memory,
// one after the other and in double, writes down what it is asked, and fails when told to. Reads and writes
// tensors by the sizes and strides that it was given, so that a wrong one gives wrong numbers.
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "gpunn/kernels/attention/cudnn_graph_api_impl.h"

namespace gpunn {

/// What the fake saw and what it is to answer. One at a time: its functions are plain ones.
struct FakeCudnnGraphs {
  struct Engine {
    std::vector<int> notes{};
    std::int64_t workspace = 96;
    detail::CudnnStatus status = 0;  // of its plan
  };
  struct Tensor {
    int dtype = -1;
    std::array<std::int64_t, 4> sizes{}, strides{};
    std::int64_t alignment = 0;
    bool is_virtual = false, by_value = false;
  };

  int live = 0;  // handles and descriptors made and not destroyed
  std::map<std::string, int> calls;
  /// By the function's name in detail::CudnnGraphs, or with the descriptor's kind or attribute: "finalize
  /// 15".
  std::map<std::string, detail::CudnnStatus> fail;
  std::vector<Engine> best{{}}, fallback{};  // answers, best first
  std::size_t version = 91900;
  std::string complaint;  // what a call was refused for

  // Of the last execution.
  std::map<std::int64_t, Tensor> tensors;  // by id
  std::vector<std::string> operations;
  std::map<std::int64_t, void*> pack;
  std::int64_t engine = -1;
  void* workspace = nullptr;
  void* stream = nullptr;
};

/// The functions; what they share is `state`, which starts afresh.
detail::CudnnGraphs fake_cudnn_graphs(FakeCudnnGraphs& state);

}  // namespace gpunn
