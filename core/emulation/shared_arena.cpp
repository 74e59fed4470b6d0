// Shared memory of a block: one 256 KiB-aligned arena per worker.
//
// Alignment makes a shared address an offset that fits a descriptor's 18 bits, and lets swizzles act on real
// address bits. A `static thread_local` per array cannot do that, nor be watched by AddressSanitizer.

#include <cstdlib>
#include <cstring>
#include <new>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

constexpr std::size_t kCanaryBytes = 32;
constexpr unsigned char kCanary = 0xa5, kPoison = 0xff;
static_assert(kCanaryBytes <= kRedZone);

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

std::uint32_t variable_id(SharedVariable& variable) {
  static std::atomic<std::uint32_t> count{0};
  std::uint32_t id = variable.id.load();
  if (id != 0) return id;
  const std::uint32_t fresh = ++count;
  return variable.id.compare_exchange_strong(id, fresh) ? fresh : id;
}

void prepare(Worker& worker, std::size_t offset, std::size_t size, const char* name) {
  char* memory = worker.arena + offset;
  unpoison_region(memory, size);
  if (worker.settings.poison) std::memset(memory, kPoison, size);
  if (!kCanaries) return;
  std::memset(memory + size, kCanary, kCanaryBytes);
  worker.canaries.push_back({offset + size, name});
}

}  // namespace

void Worker::reset_arena() {
  const TsanQuiet quiet;
  if (arena == nullptr || (kTsan && arena_top != 0)) {
    // For the race detector a new block gets new memory: no access of an earlier block is remembered.
    std::free(arena);
    arena = static_cast<char*>(std::aligned_alloc(kArenaBytes, kArenaBytes));
    if (arena == nullptr) throw std::bad_alloc();
  }
  poison_region(arena, kArenaBytes);
  canaries.clear();
  static_shared = arena_top = 0;
  context.arena = arena;
  context.epoch = ++epoch;
  context.slots = slots.data();
  context.slot_count = static_cast<std::uint32_t>(slots.size());
  if (launch->shared_bytes == 0) return;
  arena_top = round_up(launch->shared_bytes, 128) + 2 * kRedZone;
  prepare(*this, 0, launch->shared_bytes, "dynamic shared memory");
}

void* Worker::place_shared(SharedVariable& variable) {
  static_shared += variable.size;
  if (static_shared > kMaxStaticShared) fail("more than 48 KiB of static shared memory");
  if (static_shared + launch->shared_bytes > kMaxShared) fail("more than 227 KiB of shared memory");
  const std::size_t shared_bytes = static_shared + launch->shared_bytes;
  if (grid != nullptr && launch->blocks > coresident_limit(threads, shared_bytes))
    fail("%llu co-resident blocks of %zu bytes of shared memory do not fit",
         static_cast<unsigned long long>(launch->blocks), shared_bytes);
  const std::size_t offset = round_up(arena_top, variable.alignment);
  if (offset + variable.size + kRedZone > kArenaBytes) fail("the emulated shared memory is full");
  const TsanQuiet quiet;
  const std::uint32_t id = variable_id(variable);
  if (id >= slots.size()) slots.resize(2 * id + 64);
  context.slots = slots.data();
  context.slot_count = static_cast<std::uint32_t>(slots.size());
  slots[id] = {epoch, static_cast<std::uint32_t>(offset)};
  arena_top = offset + variable.size + kRedZone;
  prepare(*this, offset, variable.size, variable.name);
  return arena + offset;
}

void* allocate_shared(SharedVariable& variable) { return context.worker->place_shared(variable); }

void Worker::check_canaries() {
  for (const Canary& canary : canaries) {
    const char* bytes = arena + canary.offset;
    for (std::size_t i = 0; i < kCanaryBytes; ++i) {
      if (static_cast<unsigned char>(bytes[i]) == kCanary) continue;
      context.thread = {};
      report(std::string("write past the end of shared array '") + canary.name + "' (+" + std::to_string(i) +
             " bytes)");
      return;
    }
  }
}

std::uint32_t shared_offset(const void* p) {
  const std::ptrdiff_t offset = static_cast<const char*>(p) - context.arena;
  if (offset < 0 || static_cast<std::size_t>(offset) >= kArenaBytes)
    context.worker->fail("pointer is not in shared memory");
  return static_cast<std::uint32_t>(offset);
}

}  // namespace gpunn::emu
