#pragma once
// What an implementation runs with. Plain data without any include of weight: kernel sources (.cu) use it
// too.
#include <cstddef>

namespace gpunn {

using RawStream = void*;  // cudaStream_t on a GPU; null is not used, the CPU's only stream is a dummy address
using RawEvent = void*;   // cudaEvent_t on a GPU

class CpuPool;
class DeviceContext;

struct Exec {
  RawStream stream = nullptr;  // the work is issued on it; unused on the CPU
  void* workspace =
      nullptr;  // scratch memory of at least what the implementation asked for, aligned to 64 bytes
  std::size_t workspace_bytes = 0;
  CpuPool* pool = nullptr;  // threads for CPU work
  DeviceContext* device = nullptr;
};

}  // namespace gpunn
