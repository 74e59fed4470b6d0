#pragma once
// The scheduler of one block: fibers, barriers, warps, shared memory and the asynchronous units, all of one
// OS thread.

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "gpunn/core/emulation/config.h"
#include "gpunn/core/emulation/device.h"
#include "gpunn/core/emulation/fiber.h"
#include "gpunn/core/emulation/ptx.h"
#include "gpunn/core/emulation/sanitizer.h"

namespace gpunn::emu {

inline constexpr unsigned kMaxThreads = 1024, kMaxWarps = 32, kWarpgroups = 8, kWarpgroupThreads = 128;
inline constexpr unsigned kWarpPhases = 4;  // more than the groups of one warp that commonly sync at once
inline constexpr std::uint32_t kFullMask = 0xffffffffu;
inline constexpr std::size_t kArenaBytes = 256 << 10;  // shared addresses fit the 18 bits of a descriptor
inline constexpr std::size_t kRedZone = 64;
inline constexpr std::size_t kMaxShared = 227 << 10, kMaxStaticShared = 48 << 10;
// Plain builds find overruns by canaries after each array; under the sanitizers red zones do it to the byte.
inline constexpr bool kCanaries = !kAsan && !kTsan;
// TSan cannot be shown a thread's stack twice under two identities, so it gets no lazy fibers: thread i is
// fiber i.
inline constexpr bool kLazyFibers = !kTsan;

// One kernel launch while its blocks run.
struct Launch {
  std::string name;
  void (*loop)(void*, void*);
  void* kernel;
  void* arguments;
  dim3 grid, block;
  std::uint32_t shared_bytes;
  std::uint64_t blocks, serial;
  unsigned colour;  // which of a worker's identities runs it, see Pool
  bool coresident;  // its blocks may wait for each other: all run on one OS thread in turns
  std::atomic<std::uint64_t> next{0};  // next block to take
  std::atomic<bool> failed{false};
  int users = 0;  // workers inside, under the pool's lock
  char start_edge = 0, done_edge = 0;
};

enum class Wait : std::uint8_t { none, barrier, warp, named_barrier, mbarrier, warpgroup, yield, count };
enum class WarpOperation : std::uint8_t { sync, shuffle, ballot, match, reduce, mma, ldmatrix };

struct Warp {
  std::uint32_t arrived, live, exists;
  std::uint32_t common_mask;
  bool mixed_masks;  // groups with different masks wait at the same time
  std::array<std::uint32_t, 32> mask;
  std::array<WarpOperation, 32> operation;
  std::array<std::uint64_t, 32> in, out;
  std::array<std::int32_t, 32> parameter;
  std::array<const void*, 32> operand;
  std::array<std::uint8_t, 32> phase;  // which edge a lane's __syncwarp uses
  std::uint8_t newest_phase;
  std::array<char, kWarpPhases> edge;
};

struct Barrier {
  unsigned arrived = 0;
  std::array<std::uint32_t, kMaxWarps> waiters{};
  unsigned votes = 0, vote_result = 0;
  unsigned phase = 0;
  std::array<char, 2> edge{};  // alternating, so that a phase does not pass on the next one's edges
};

struct BulkCopy {
  void* shared;
  const void* global;  // null: `map` and `coordinates` say what to load
  std::uint32_t bytes;
  std::uint64_t* barrier;
  TensorMap map;
  std::array<int, 5> coordinates;
};

struct WarpgroupProduct {
  WgmmaOperands operands;
  std::array<float*, kWarpgroupThreads> d;
  std::array<const std::uint32_t*, kWarpgroupThreads> a_registers;
};

struct Warpgroup {
  std::vector<WarpgroupProduct> pending;
  std::vector<std::size_t> groups;  // ends of the committed groups in `pending`
  std::array<std::array<std::uint64_t, 2>, kWarpgroupThreads> descriptors;
  Barrier barrier;
  char done_edge;
};

class CoresidentGrid;

struct Worker {
  Worker();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  void run_block(Launch& launch, std::uint64_t block);
  // The parts of run_block() for blocks that take turns.
  void prepare_block(Launch& launch, std::uint64_t block);
  void continue_block();  // until it ends, fails or leaves
  void abandon_block();
  bool ended() const { return finished == threads; }

  // Called on the fiber of a CUDA thread.
  void wait(Wait reason);  // gives the processor up until make_runnable(this thread)
  void make_runnable(unsigned linear) {
    runnable[linear >> 5] |= 1u << (linear & 31);
    ++runnable_count;
  }
  void make_runnable(unsigned warp, std::uint32_t lanes) {
    runnable[warp] |= lanes;
    runnable_count += static_cast<unsigned>(__builtin_popcount(lanes));
  }
  void yield_processor();
  void leave_block();        // lets other blocks of a co-resident launch go on
  bool finish_thread();      // true: the fiber continues with another CUDA thread
  void retire(Fiber* self);  // the fiber has no CUDA thread now
  void leave_fast_path();    // before the first thing that could block
  // Reports and gives the block up. Takes a printf format: nothing of this fiber's stack is destroyed
  // afterwards.
  [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void report(const std::string& what);

  std::uint32_t random();
  bool in_order() const { return settings.schedule == Schedule::seq; }
  bool chance(Async mode) {
    return settings.async == mode || (settings.async == Async::random && (random() & 1) != 0);
  }

  // Asynchronous copies (bulk_copy.cpp)
  void progress_bulk_copies();

  // Shared memory (shared_arena.cpp)
  void reset_arena();
  void* place_shared(SharedVariable& variable);
  void check_canaries();

  CoresidentGrid* grid = nullptr;    // the launch whose blocks take turns with this one
  bool leaving = false;              // the next wait() goes to `main` instead of another thread
  Fiber* next_turn = nullptr;        // who continues then; null: nobody has started
  Fiber main;                        // the OS thread's own context
  std::vector<Fiber*> fibers, idle;  // idle: without a CUDA thread
  std::array<Fiber*, kMaxThreads> thread{};
  std::array<Wait, kMaxThreads> reason{};
  std::array<std::uint32_t, kMaxWarps> runnable{};
  unsigned runnable_count = 0;
  unsigned threads = 0, warp_count = 0, started = 0, finished = 0;
  std::array<std::uint16_t, kMaxThreads> order{};  // in which threads start, when not in_order()
  std::array<std::uint8_t, kMaxWarps> priority{};

  std::array<Warp, kMaxWarps> warps{};
  std::array<Barrier, 16> barriers{};
  std::array<Warpgroup, kWarpgroups> warpgroups{};
  struct MbarrierWaiter {
    unsigned linear;
    std::uint64_t* barrier;
    unsigned parity;
  };
  std::vector<MbarrierWaiter> mbarrier_waiters;
  std::deque<BulkCopy> bulk_copies;
  char proxy_edge = 0, async_edge = 0;
  std::array<void*, 2> engine{};  // TSan identities of copy engine and tensor core
  struct alignas(64) ProductScratch {
    float a[64][16], b[16][256], c[64][256];
  } product;

  char* arena = nullptr;
  std::size_t arena_top = 0, static_shared = 0;
  std::uint64_t epoch = 0;
  std::vector<SharedSlot> slots;
  struct Canary {
    std::size_t offset;
    const char* name;
  };
  std::vector<Canary> canaries;

  Launch* launch = nullptr;
  Config settings;  // as they were when the block began
  bool failed = false;
  std::uint64_t random_state = 0;
  unsigned idle_yields = 0;         // in a row, without anything else happening
  std::int64_t spinning_since = 0;  // ns; 0: not spinning

 private:
  Fiber* pick(unsigned current);
  Fiber* pick_in_order(unsigned current);
  Fiber* pick_by_priority();
  Fiber* pick_anywhere(unsigned number);
  Fiber* pick_or_progress(unsigned current);
  Fiber* take_lane(unsigned warp, std::uint32_t lanes, unsigned number);
  Fiber* start_next();
  Fiber* new_fiber();
  void assign(Fiber* fiber, unsigned linear);
  void switch_to(Fiber* from, Fiber* to);
  void end_abandoned_threads();
  void drop_fibers();
  void begin_block(std::uint64_t block);
  void shuffle_order();
  void watch_for_livelock();
  void stop_spinning();
};

// Rendezvous of the emulated instructions (barrier.cpp, warp.cpp).
void wait_at(Barrier& barrier, unsigned needed, Wait reason);
void release_all(Worker& worker, Barrier& barrier);
void warp_rendezvous(std::uint32_t mask, WarpOperation operation);
void complete_waiting_groups(Worker& worker, unsigned warp);
void perform_mma(Worker& worker, Warp& warp, std::uint32_t lanes);
void perform_ldmatrix(Worker& worker, Warp& warp, std::uint32_t lanes);

inline Warp& this_warp() { return context.worker->warps[context.thread.linear >> 5]; }
inline unsigned this_lane() { return context.thread.linear & 31; }

// How many blocks an emulated device holds at once (runtime_device.cpp).
std::uint64_t coresident_limit(unsigned threads, std::size_t shared_bytes);

// Workers that are inside a block and not spinning (livelock detection).
extern std::atomic<int> busy_workers;
// Keeps the text as last_report() and prints it.
void publish_report(const std::string& text);

}  // namespace gpunn::emu
