#pragma once
/// What this library was built from and how; `gpunn info` and run records print it.

#include "gpunn/core/api.h"

namespace gpunn {

/// Static strings; an unknown or unused entry is empty, except `commit`, which is then "unknown".
struct BuildInfo {
  const char* version;        ///< "0.1.0"
  const char* commit;         ///< abbreviated commit, "-dirty" appended when the checkout had changes
  const char* compiler;       ///< "GNU 12.2.0"
  const char* cuda_compiler;  ///< version of nvcc; empty outside cuda mode
  const char* mode;           ///< "cpu", "emulated" or "cuda"
  const char* build_type;     ///< CMake's build type
  const char* sanitizer;      ///< "", "address" or "thread"
  const char* flags;          ///< compiler flags of the build type
};

/// Never throws; the same object on every call.
GPUNN_API const BuildInfo& build_info() noexcept;

}  // namespace gpunn
