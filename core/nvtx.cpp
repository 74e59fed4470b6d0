// NVTX ranges, for tools that listen to them. The toolkit's header does it all: it opens the tool's library,
// named by NVTX_INJECTION64_PATH, at the first call. Builds without the toolkit have none.
#include <cstdlib>
#include <string_view>

#include "gpunn/core/detail/profile_hooks.h"

#if GPUNN_HAS_CUDA && !GPUNN_EMULATED && __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define GPUNN_HAS_NVTX 1
#else
#define GPUNN_HAS_NVTX 0
#endif

namespace gpunn::detail {

void nvtx_from_environment() noexcept {
#if GPUNN_HAS_NVTX
  const auto given = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string_view(text ? text : "");
  };
  const std::string_view wanted = given("GPUNN_NVTX");
  const bool listens = !given("NVTX_INJECTION64_PATH").empty();
  if (wanted == "1" || (wanted != "0" && listens)) g_profiling.fetch_or(kNvtx, std::memory_order_relaxed);
#endif
}

void nvtx_push([[maybe_unused]] const char* text) noexcept {
#if GPUNN_HAS_NVTX
  nvtxRangePushA(text);
#endif
}

void nvtx_pop() noexcept {
#if GPUNN_HAS_NVTX
  nvtxRangePop();
#endif
}

}  // namespace gpunn::detail
