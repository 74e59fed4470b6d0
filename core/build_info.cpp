#include "gpunn/core/build_info.h"

#include "gpunn/build_info.h"
#include "gpunn/version.h"

namespace gpunn {

const char* version() noexcept { return GPUNN_VERSION_STRING; }

const BuildInfo& build_info() noexcept {
  static constexpr BuildInfo kInfo{GPUNN_VERSION_STRING,      GPUNN_BUILD_COMMIT, GPUNN_BUILD_COMPILER,
                                   GPUNN_BUILD_CUDA_COMPILER, GPUNN_BUILD_MODE,   GPUNN_BUILD_TYPE,
                                   GPUNN_BUILD_SANITIZER,     GPUNN_BUILD_FLAGS};
  return kInfo;
}

}  // namespace gpunn
