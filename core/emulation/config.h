#pragma once
// Settings, reports, failure injection and counters of the emulated devices. docs/emulation.md explains them.

#include <cstddef>
#include <cstdint>
#include <string>

#include "gpunn/core/emulation/context.h"

enum cudaError : int;

namespace gpunn::emu {

enum class Schedule { seq, reverse, random, pct };  // pct: random warp priorities, one warp runs far ahead
enum class Async { late, early, random };           // when asynchronous copies and wgmma really happen

struct Config {
  Schedule schedule = Schedule::seq;
  Async async = Async::late;
  std::uint64_t seed = 1;
  int threads = 2;          // OS threads that run blocks; 1 makes the order of blocks deterministic
  bool poison = true;       // fill new device and shared memory with 0xff: NaN, -1
  bool strict = true;       // report early exits and masks that name exited lanes
  int stack_kib = 64;       // stack of a CUDA thread (256 by default under sanitizers)
  int jitter_us = 0;        // operations of a stream start after a random delay up to this
  int watchdog_ms = 10000;  // a block that only spins for so long while no other block works is a livelock
};

// The settings in force, at first those of the environment: GPUNN_EMU_SCHEDULE, _ASYNC, _SEED, _THREADS,
// _POISON, _STRICT, _STACK_KIB, _JITTER_US, _WATCHDOG_MS. An unknown word or number is reported and ignored.
GPUNN_EMU_API const Config& config();
// Changes them. Every emulated device must be idle. Restarts the sequence of random schedules at `seed`.
GPUNN_EMU_API void set_config(const Config& settings);

// Text of the newest report (what went wrong in which kernel, block and thread), empty if there was none.
GPUNN_EMU_API std::string last_report();
// Waits for all work, then forgets sticky errors, this thread's last error, the report and pending
// injections.
GPUNN_EMU_API void reset_device();

// Runtime calls by kind. malloc: all that allocate; memcpy: copies and memsets; event and stream: all calls
// on them except destruction, device synchronisation counting as stream. any: those of every kind.
enum class Call { malloc, memcpy, launch, event, stream, any };
// The n-th call of this kind from now on (1 is the next) fails with `code`. A code that is sticky in CUDA
// stays so.
GPUNN_EMU_API void fail_at(Call kind, long n, cudaError code);

struct Stats {
  std::uint64_t launches, copies;              // accepted since the process started
  std::uint64_t allocations_live, bytes_live;  // device memory of all devices
  std::uint64_t host_allocations_live, streams_live, events_live;
  std::uint64_t failures_pending;  // of fail_at(), not yet met
};
GPUNN_EMU_API Stats stats();

}  // namespace gpunn::emu
