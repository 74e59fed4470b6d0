#pragma once
// What an implementation runs with. Plain data without any include of weight: kernel sources (.cu) use it
// too.
#include <cstddef>

namespace gpunn {

class CpuPool;
class DeviceContext;

struct Exec {
  void* stream = nullptr;  // RawStream the work is issued on; unused on the CPU
  void* workspace =
      nullptr;  // scratch memory of at least what the implementation asked for, aligned to 64 bytes
  std::size_t workspace_bytes = 0;
  CpuPool* pool = nullptr;  // threads for CPU work
  DeviceContext* device = nullptr;
};

}  // namespace gpunn
