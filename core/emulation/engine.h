#pragma once
// Copy engine and tensor core are agents of their own to the race detector. They see a thread's plain stores
// only up to that thread's fence.proxy.async, which is what finds a missing one.

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {

enum class Engine : std::size_t { copy, tensor_core };

class EngineScope {
 public:
#if GPUNN_EMU_TSAN
  explicit EngineScope(Engine engine) : previous_(__tsan_get_current_fiber()) {
    __tsan_switch_to_fiber(context.worker->engine[static_cast<std::size_t>(engine)], 1);
  }
  ~EngineScope() { __tsan_switch_to_fiber(previous_, 1); }

 private:
  void* previous_;
#else
  explicit EngineScope(Engine) {}
  ~EngineScope() {}
#endif
};

// Ends `bytes` of a barrier's expected transactions.
void complete_transactions(std::uint64_t* barrier, std::uint32_t bytes);

}  // namespace gpunn::emu
