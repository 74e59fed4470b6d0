// Fiber switch on Boost.Context, for processors without one of our own (define GPUNN_EMU_BOOST_CONTEXT).

#if defined(GPUNN_EMU_BOOST_CONTEXT)

#include <boost/context/detail/fcontext.hpp>

#include "gpunn/core/emulation/fiber.h"

namespace gpunn::emu {
namespace {

void (*fiber_entry)() = nullptr;  // the same for all fibers

void start(boost::context::detail::transfer_t from) {
  *static_cast<void**>(from.data) = from.fctx;
  fiber_entry();
}

}  // namespace

void* prepare_stack(char* bottom, char* top, void (*entry)()) {
  fiber_entry = entry;
  return boost::context::detail::make_fcontext(top, static_cast<std::size_t>(top - bottom), &start);
}

extern "C" void gpunn_emu_switch(void** save, void* load) {
  const auto from = boost::context::detail::jump_fcontext(load, save);
  *static_cast<void**>(from.data) = from.fctx;
}

}  // namespace gpunn::emu

#endif
