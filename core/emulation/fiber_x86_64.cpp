// Fiber switch for x86-64 (System V).
//
// It ends in `ret` on purpose. All fibers block in the same chain of calls, so a ret leaves the processor's
// return-address predictor aligned; ending in an indirect jump, as boost::context does, makes the next four
// or five returns mispredict: 26-34 ns per __syncthreads and thread against 12-17 ns (2.0 GHz x86-64, two
// cores).

#if defined(__x86_64__) && !defined(GPUNN_EMU_BOOST_CONTEXT)

#include "gpunn/core/emulation/fiber.h"

asm(R"(
.text
.globl gpunn_emu_switch
.hidden gpunn_emu_switch
.type gpunn_emu_switch,@function
gpunn_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gpunn_emu_switch,.-gpunn_emu_switch
)");

namespace gpunn::emu {

void* prepare_stack(char*, char* top, void (*entry)()) {
  constexpr int kSavedRegisters = 6;
  void** slot = reinterpret_cast<void**>(top) - 1;
  *slot =
      nullptr;  // entry's return address: a function is entered with rsp % 16 == 8, and unwinders stop here
  *--slot = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--slot = nullptr;
  return slot;
}

}  // namespace gpunn::emu

#endif
