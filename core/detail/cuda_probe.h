#pragma once
// Is there a CUDA device? Asked without opening one.
#include <string>

namespace gpunn::detail {

struct CudaProbe {
  int devices = 0;
  bool emulated = false;
  std::string reason;  // why there are none
};

/// Never throws CUDA errors: no driver and no GPU are ordinary answers. Defined by the CUDA part, or for
/// builds without it.
CudaProbe probe_cuda();

/// "there is 1 CUDA device (cuda:0)", or why there is none.
std::string absent_reason(const CudaProbe& probe);

}  // namespace gpunn::detail
