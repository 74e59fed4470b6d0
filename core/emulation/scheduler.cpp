// Runs the threads of one block as fibers.
//
// Fibers are lazy: a fiber that ends a CUDA thread takes the next one itself, and a second fiber appears only
// when a thread blocks, so a kernel without barriers runs as a plain loop (3.5 ns per thread instead
// of 10.8). The first thing that can block turns that loop's state into scheduler state (leave_fast_path).
// Tried without gain: inlining the kernel into the thread loop, vectorising across lanes.

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

#include "gpunn/core/emulation/coresident_grid.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {

constinit thread_local Context context __attribute__((tls_model("initial-exec"))) = {};
std::atomic<int> busy_workers{0};

namespace {

constexpr std::size_t kGuardBytes = 4096;
[[maybe_unused]] constexpr unsigned kNoSync = 1;  // for TSan a switch is not a synchronisation

// Stack tops are spread over the sets of a first-level cache: 27 % at 512 threads, 41 % at 1,024, nothing
// below.
constexpr std::size_t kColourStep = 320, kColourRange = 4096, kCacheLine = 64;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::uint64_t mix(std::uint64_t x) {  // SplitMix64's finaliser
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void run_fiber() {
#if GPUNN_EMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  for (;;) {
    Fiber* self = context.fiber;
    Launch& launch = *self->worker->launch;
    edge_acquire(&launch.start_edge);
    launch.loop(launch.kernel, launch.arguments);
    self->worker->retire(self);
  }
}

}  // namespace

Worker::Worker() {
  pthread_attr_t attributes;
  void* stack = nullptr;
  std::size_t bytes = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &stack, &bytes);
    pthread_attr_destroy(&attributes);
  }
  main.stack = static_cast<char*>(stack);
  main.stack_bytes = bytes;
  main.worker = this;
  fibers.reserve(kMaxThreads);
  idle.reserve(kMaxThreads);
  mbarrier_waiters.reserve(kMaxThreads);
#if GPUNN_EMU_TSAN
  main.tsan_fiber = __tsan_get_current_fiber();
  for (void*& unit : engine) unit = __tsan_create_fiber(0);  // now: a TSan fiber inherits its creator's clock
#endif
}

Worker::~Worker() {
  drop_fibers();
#if GPUNN_EMU_TSAN
  for (void* unit : engine) __tsan_destroy_fiber(unit);
#endif
  const TsanQuiet quiet;
  unpoison_region(arena, arena == nullptr ? 0 : kArenaBytes);
  std::free(arena);
}

Fiber* Worker::new_fiber() {
#if GPUNN_EMU_TSAN
  void* const identity = __tsan_create_fiber(0);  // not inside a quiet scope: it inherits this thread's clock
#endif
  const TsanQuiet quiet;
  const std::size_t bytes = static_cast<std::size_t>(settings.stack_kib) << 10;
  void* memory = mmap(nullptr, bytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
  auto* fiber = new Fiber;
  fiber->worker = this;
  fiber->stack = static_cast<char*>(memory) + kGuardBytes;
  fiber->stack_bytes = bytes;
#if GPUNN_EMU_TSAN
  fiber->tsan_fiber = identity;
#endif
  const std::size_t colour = fibers.size() * kColourStep % kColourRange / kCacheLine * kCacheLine;
  fiber->saved = prepare_stack(fiber->stack, fiber->stack + bytes - kCacheLine - colour, &run_fiber);
  fibers.push_back(fiber);
  return fiber;
}

// What the threads of a failed block did lies before whatever follows the launch, as if they had ended.
void Worker::end_abandoned_threads() {
#if GPUNN_EMU_TSAN
  const auto end = [this](void* identity) {
    __tsan_switch_to_fiber(identity, kNoSync);
    edge_release(&launch->done_edge);
  };
  for (const Fiber* fiber : fibers)
    if (fiber->busy) end(fiber->tsan_fiber);
  for (void* unit : engine) end(unit);
  __tsan_switch_to_fiber(main.tsan_fiber, kNoSync);
#endif
}

// Also how a failed block is abandoned: its fibers are left where they stand and never run again.
void Worker::drop_fibers() {
  const TsanQuiet quiet;
  for (Fiber* fiber : fibers) {
    unpoison_region(fiber->stack, fiber->stack_bytes);
    munmap(fiber->stack - kGuardBytes, fiber->stack_bytes + kGuardBytes);
#if GPUNN_EMU_TSAN
    __tsan_destroy_fiber(fiber->tsan_fiber);
#endif
    delete fiber;
  }
  fibers.clear();
  idle.clear();
}

void Worker::switch_to(Fiber* from, Fiber* to) {
  context.fiber = to;
  context.thread = to->thread;
#if GPUNN_EMU_ASAN
  __sanitizer_start_switch_fiber(&from->asan_fake_stack, to->stack, to->stack_bytes);
#endif
#if GPUNN_EMU_TSAN
  __tsan_switch_to_fiber(to->tsan_fiber, kNoSync);
#endif
  gpunn_emu_switch(&from->saved, to->saved);
#if GPUNN_EMU_ASAN
  __sanitizer_finish_switch_fiber(from->asan_fake_stack, nullptr, nullptr);
#endif
}

inline void Worker::assign(Fiber* fiber, unsigned linear) {
  const dim3 size = launch->block;
  fiber->thread.linear = linear;
  fiber->thread.x = linear % size.x;
  fiber->thread.y = linear / size.x % size.y;
  fiber->thread.z = linear / size.x / size.y;
  fiber->busy = true;
  thread[linear] = fiber;
}

Fiber* Worker::start_next() {
  const unsigned linear = in_order() ? started : order[started];
  ++started;
  Fiber* fiber = nullptr;
  if (!kLazyFibers) {
    // Shifted from block to block, so that thread i of two blocks is not one thread to the race detector.
    fiber = fibers[(linear + epoch) % fibers.size()];
  } else if (!idle.empty()) {
    fiber = idle.back();
    idle.pop_back();
  } else {
    fiber = new_fiber();
  }
  assign(fiber, linear);
  return fiber;
}

Fiber* Worker::take_lane(unsigned warp, std::uint32_t lanes, unsigned number) {
  while (number-- != 0) lanes &= lanes - 1;
  const unsigned lane = static_cast<unsigned>(std::countr_zero(lanes));
  runnable[warp] &= ~(1u << lane);
  --runnable_count;
  return thread[warp * 32 + lane];
}

// Stays in the warp while it can (its stacks are hot), then starts new threads, then goes round the other
// warps. After a yield the order is by thread number, so that every spinning thread gets its turn.
Fiber* Worker::pick_in_order(unsigned current) {
  const unsigned warp = current >> 5;
  const bool yields = reason[current] == Wait::yield;
  const std::uint32_t later = runnable[warp] & (0xfffffffeu << (current & 31));
  if (!yields && runnable[warp] != 0) return take_lane(warp, later != 0 ? later : runnable[warp], 0);
  if (started < threads) return start_next();
  if (runnable_count == 0) return nullptr;
  if (later != 0) return take_lane(warp, later, 0);
  for (unsigned step = 1; step <= warp_count; ++step) {
    const unsigned other = (warp + step) % warp_count;
    if (runnable[other] != 0) return take_lane(other, runnable[other], 0);
  }
  return nullptr;
}

// Random warp priorities that change now and then: one warp runs far ahead of the others, which is what shows
// a missing barrier before shared memory is used again. A uniform choice almost never does.
Fiber* Worker::pick_by_priority() {
  if ((random() & 63) == 0) std::swap(priority[random() % warp_count], priority[random() % warp_count]);
  for (unsigned rank = 0; rank < warp_count; ++rank) {
    const unsigned warp = priority[rank];
    const std::uint32_t lanes = runnable[warp];
    unsigned fresh = started;  // first thread of this warp that has not started
    while (fresh < threads && order[fresh] / 32u != warp) ++fresh;
    if (fresh < threads && (lanes == 0 || (random() & 1) != 0)) {
      std::swap(order[fresh], order[started]);
      return start_next();
    }
    if (lanes != 0) return take_lane(warp, lanes, random() % static_cast<unsigned>(std::popcount(lanes)));
  }
  return nullptr;
}

// `number` counts the runnable threads in order and then those that have not started.
Fiber* Worker::pick_anywhere(unsigned number) {
  if (number >= runnable_count) return start_next();
  for (unsigned warp = 0; warp < warp_count; ++warp) {
    const unsigned lanes = static_cast<unsigned>(std::popcount(runnable[warp]));
    if (number < lanes) return take_lane(warp, runnable[warp], number);
    number -= lanes;
  }
  return nullptr;
}

Fiber* Worker::pick(unsigned current) {
  if (in_order()) [[likely]]
    return pick_in_order(current);
  const unsigned available = runnable_count + (threads - started);
  if (available == 0) return nullptr;
  switch (settings.schedule) {
    case Schedule::pct:
      return pick_by_priority();
    case Schedule::random:
      return pick_anywhere(random() % available);
    default:
      return reason[current] == Wait::yield ? pick_in_order(current) : pick_anywhere(available - 1);
  }
}

Fiber* Worker::pick_or_progress(unsigned current) {
  if (settings.async == Async::random && !bulk_copies.empty() && (random() & 7) == 0) progress_bulk_copies();
  for (;;) {
    if (Fiber* next = pick(current)) return next;
    if (!bulk_copies.empty()) {
      progress_bulk_copies();
    } else if (finished == threads) {
      return &main;
    } else {
      fail("deadlock (divergent barrier or missing arrival)");
    }
  }
}

void Worker::wait(Wait why) {
  Fiber* self = context.fiber;
  const unsigned linear = self->thread.linear;
  reason[linear] = why;
  if (idle_yields != 0 && why != Wait::yield && why != Wait::warp) stop_spinning();
  Fiber* next = pick_or_progress(linear);
  if (leaving) [[unlikely]] {
    leaving = false;
    next_turn = std::exchange(next, &main);
  }
  if (next != self) switch_to(self, next);
  reason[linear] = Wait::none;
}

void Worker::retire(Fiber* self) {
  self->busy = false;
  if (kLazyFibers) idle.push_back(self);
  Fiber* next = pick_or_progress(self->thread.linear);
  if (next != self) {
    switch_to(self, next);
  } else {
    context.thread = self->thread;
  }
}

bool Worker::finish_thread() {
  Fiber* self = context.fiber;
  const unsigned linear = self->thread.linear, warp = linear >> 5;
  if (!self->copies.empty()) fail("thread ends with cp.async in flight");
  if (idle_yields != 0) stop_spinning();
  ++finished;
  edge_release(&launch->done_edge);
  warps[warp].live &= ~(1u << (linear & 31));
  if (warps[warp].arrived != 0) complete_waiting_groups(*this, warp);
  Barrier& barrier = barriers[0];
  if (barrier.arrived != 0 && barrier.arrived == threads - finished) {
    if (settings.strict) fail("thread ended while others wait at __syncthreads");
    release_all(*this, barrier);
  }
  if (!kLazyFibers || !in_order() || started == threads) return false;
  assign(self, started++);
  context.thread = self->thread;
  return true;
}

bool next_thread_slow() {
  if (context.fast) context.worker->leave_fast_path();
  return context.worker->finish_thread();
}

void Worker::leave_fast_path() {
  context.fast = false;
  const unsigned current = context.thread.linear;
  started = current + 1;
  finished = current;
  for (unsigned warp = 0; warp < current / 32; ++warp) warps[warp].live = 0;
  warps[current / 32].live &= ~((1u << (current & 31)) - 1);
  for (unsigned i = 0; i < current; ++i) thread[i] = nullptr;
  context.fiber->thread = context.thread;
  thread[current] = context.fiber;
}

void Worker::yield_processor() {
  if (context.fast) leave_fast_path();
  const bool check = ++idle_yields % 256 == 0;
  if (grid != nullptr) {
    if (check && grid->stuck())
      fail("deadlock (blocks wait for each other; %zu of %llu have ended)", grid->ended(),
           static_cast<unsigned long long>(launch->blocks));
    leave_block();
    return;
  }
  if (check) watch_for_livelock();
  make_runnable(context.thread.linear);
  wait(Wait::yield);
}

void Worker::leave_block() {
  leaving = true;
  make_runnable(context.thread.linear);
  wait(Wait::yield);
}

void Worker::watch_for_livelock() {
  sched_yield();  // the block this one waits for may need the processor
  const std::int64_t now = now_ns();
  if (spinning_since == 0) {
    spinning_since = now;
    --busy_workers;
  } else if (busy_workers.load() > 0) {
    spinning_since = now;
  } else if (now - spinning_since > std::int64_t{settings.watchdog_ms} * 1'000'000) {
    fail("livelock (every runnable thread only spins)");
  }
}

void Worker::stop_spinning() {
  idle_yields = 0;
  if (spinning_since == 0) return;
  spinning_since = 0;
  ++busy_workers;
}

void Worker::fail(const char* format, ...) {
  if (context.fast) leave_fast_path();
  char what[256];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  report(what);
  switch_to(context.fiber, &main);
  __builtin_unreachable();
}

std::uint32_t Worker::random() {  // xorshift64
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<std::uint32_t>(random_state >> 20);
}

void Worker::shuffle_order() {
  const bool reverse = settings.schedule == Schedule::reverse;
  for (unsigned i = 0; i < threads; ++i) order[i] = static_cast<std::uint16_t>(reverse ? threads - 1 - i : i);
  for (unsigned i = 0; i < warp_count; ++i) priority[i] = static_cast<std::uint8_t>(i);
  if (reverse) return;
  for (unsigned i = threads; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  for (unsigned i = warp_count; i > 1; --i) std::swap(priority[i - 1], priority[random() % i]);
}

void Worker::begin_block(std::uint64_t block) {
  const dim3 size = launch->grid;
  context.grid_dim = size;
  context.block_dim = launch->block;
  context.block = {static_cast<unsigned>(block % size.x), static_cast<unsigned>(block / size.x % size.y),
                   static_cast<unsigned>(block / size.x / size.y)};
  context.worker = this;
  threads = launch->block.x * launch->block.y * launch->block.z;
  warp_count = (threads + 31) / 32;
  started = finished = runnable_count = idle_yields = 0;
  spinning_since = 0;
  failed = false;
  random_state = mix(mix(settings.seed + 0x9e3779b97f4a7c15u * launch->serial) + block) | 1;
  for (unsigned i = 0; i < warp_count; ++i) {
    const unsigned lanes = threads - i * 32;
    runnable[i] = 0;
    warps[i].arrived = 0;
    warps[i].mixed_masks = false;
    warps[i].live = warps[i].exists = lanes >= 32 ? kFullMask : (1u << lanes) - 1;
  }
  std::fill_n(thread.begin(), threads, nullptr);
  std::fill_n(reason.begin(), threads, Wait::none);
  const auto reset = [](Barrier& barrier) {
    barrier.arrived = barrier.votes = 0;
    barrier.waiters.fill(0);
  };
  for (Barrier& barrier : barriers) reset(barrier);
  for (unsigned i = 0; i * kWarpgroupThreads < threads; ++i) {
    reset(warpgroups[i].barrier);
    warpgroups[i].pending.clear();
    warpgroups[i].groups.clear();
  }
  mbarrier_waiters.clear();
  bulk_copies.clear();
  if (!in_order()) shuffle_order();
  reset_arena();
  while (!kLazyFibers && fibers.size() < threads) new_fiber();
  context.fast = kLazyFibers && in_order();
  context.last = threads - 1;
}

void Worker::prepare_block(Launch& l, std::uint64_t block) {
  launch = &l;
  settings = config();
  if (!fibers.empty() && fibers[0]->stack_bytes != static_cast<std::size_t>(settings.stack_kib) << 10)
    drop_fibers();
  begin_block(block);
}

void Worker::continue_block() {
  Fiber* next = std::exchange(next_turn, nullptr);
  switch_to(&main, next != nullptr ? next : start_next());
  if (ended()) check_canaries();
}

void Worker::abandon_block() {
  end_abandoned_threads();
  drop_fibers();
  leaving = false;
  next_turn = nullptr;
}

void Worker::run_block(Launch& l, std::uint64_t block) {
  prepare_block(l, block);
  ++busy_workers;
  switch_to(&main, start_next());
  check_canaries();
  if (spinning_since == 0) --busy_workers;
  if (failed) {
    abandon_block();
    l.next.store(l.blocks);
  }
}

}  // namespace gpunn::emu
