// Fiber switch for AArch64 (AAPCS64): callee-saved x19-x30 and d8-d15. Ends in `ret` like the x86-64 one.

#if defined(__aarch64__) && !defined(GPUNN_EMU_BOOST_CONTEXT)

#include "gpunn/core/emulation/fiber.h"

asm(R"(
.text
.globl gpunn_emu_switch
.hidden gpunn_emu_switch
.type gpunn_emu_switch,%function
gpunn_emu_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size gpunn_emu_switch,.-gpunn_emu_switch
)");

namespace gpunn::emu {

void* prepare_stack(char*, char* top, void (*entry)()) {
  constexpr int kFrameSlots = 20, kReturnAddress = 11;  // x30's place in the frame above
  void** frame = reinterpret_cast<void**>(top) - kFrameSlots;
  for (int i = 0; i < kFrameSlots; ++i) frame[i] = nullptr;
  frame[kReturnAddress] = reinterpret_cast<void*>(entry);
  return frame;
}

}  // namespace gpunn::emu

#endif
