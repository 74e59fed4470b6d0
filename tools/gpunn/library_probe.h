#pragma once
// Looking at a shared library without trusting it: it is opened in a child process, so that one that crashes
// or hangs when it is opened does no harm.
#include <initializer_list>
#include <string>

namespace gpunn::tool {

struct LibraryProbe {
  std::string name, path, version;
  std::string problem;  // why it cannot be used; empty when it can
  bool absent = false;  // there is no such library, as opposed to a broken one
};

/// Opens the first of `names` that there is and calls `ask`, which fills in version or problem. Waits ten
/// seconds at most. Call it before this process has threads of its own.
LibraryProbe probe_library(std::initializer_list<const char*> names,
                           void (*ask)(void* handle, LibraryProbe& out));

/// The libraries that gpunn opens, and the driver's.
LibraryProbe probe_onednn();
LibraryProbe probe_cublaslt();
LibraryProbe probe_cudnn();
LibraryProbe probe_nccl();
LibraryProbe probe_driver();

}  // namespace gpunn::tool
