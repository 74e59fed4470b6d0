// cp.async: each thread's own queue of copies in groups.

#include <cstring>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

void move_bytes(const PendingCopy& copy) {
  if (copy.source_bytes != 0) std::memcpy(copy.shared, copy.global, copy.source_bytes);
  std::memset(static_cast<char*>(copy.shared) + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
}

// The copy counts as the waiting thread's own access, made at the wait.
void finish_copy(const PendingCopy& copy) {
  note_write(copy.shared, copy.bytes);
  if (copy.source_bytes != 0) note_read(copy.global, copy.source_bytes);
  if (!copy.moved) move_bytes(copy);
}

void finish_copies(Fiber& fiber, std::size_t count, std::size_t groups) {
  for (std::size_t i = 0; i < count; ++i) finish_copy(fiber.copies[i]);
  const TsanQuiet quiet;
  fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + static_cast<std::ptrdiff_t>(count));
  fiber.copy_groups.erase(fiber.copy_groups.begin(),
                          fiber.copy_groups.begin() + static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& end : fiber.copy_groups) end -= count;
}

}  // namespace

void cp_async(void* shared, const void* global, std::uint32_t bytes, std::uint32_t source_bytes) {
  Worker& worker = *context.worker;
  if (context.fast) worker.leave_fast_path();
  const std::uint32_t offset = shared_offset(shared);
  if (offset % bytes != 0 || reinterpret_cast<std::uintptr_t>(global) % bytes != 0)
    worker.fail("cp.async of %u bytes is not aligned to its size", bytes);
  PendingCopy copy{shared, global, bytes, source_bytes, worker.chance(Async::early)};
  if (copy.moved) move_bytes(copy);
  const TsanQuiet quiet;
  context.fiber->copies.push_back(copy);
}

void cp_async_commit() {
  if (context.fast) context.worker->leave_fast_path();
  const TsanQuiet quiet;
  context.fiber->copy_groups.push_back(context.fiber->copies.size());
}

void cp_async_wait(unsigned groups_left) {
  if (context.fast) context.worker->leave_fast_path();
  Fiber& fiber = *context.fiber;
  if (fiber.copy_groups.size() <= groups_left) return;
  const std::size_t groups = fiber.copy_groups.size() - groups_left;
  finish_copies(fiber, fiber.copy_groups[groups - 1], groups);
}

void cp_async_wait_all() {
  if (context.fast) context.worker->leave_fast_path();
  Fiber& fiber = *context.fiber;
  finish_copies(fiber, fiber.copies.size(), fiber.copy_groups.size());
}

}  // namespace gpunn::emu
