#include "gpunn/core/emulation/pool.h"

#include "gpunn/core/emulation/coresident_grid.h"

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace gpunn::emu {
namespace {

using Identities = std::array<Worker*, kColours>;

struct Pool {
  std::mutex mutex;
  std::condition_variable work, done;
  std::vector<Launch*> active;  // launches with blocks nobody has taken
  int started = 0;              // OS threads
  // What the threads keep. Not on their stacks: while a thread runs a fiber, leak checks look at the fiber's
  // stack in place of its own, and a process may end at any time.
  std::deque<Identities> identities;
  std::array<CoresidentGrid, kColours> coresident;  // the first thread's
};

Pool& pool() {
  static Pool* instance = new Pool;  // never destroyed: its threads run until the process is gone
  return *instance;
}

// The next launch to help with, or null if this thread is one too many now. Takes the oldest, so that the
// blocks of one launch finish together; under random schedules any. Co-resident launches all go to the first
// thread, which keeps their workers.
Launch* choose(Pool& p, int index, std::uint64_t& dice) {
  if (p.active.empty() || index >= config().threads) return nullptr;
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  const bool any = config().schedule == Schedule::random;
  const std::size_t first = any ? (dice >> 33) % p.active.size() : 0;
  for (std::size_t i = 0; i < p.active.size(); ++i) {
    Launch* launch = p.active[(first + i) % p.active.size()];
    if (!launch->coresident || index == 0) return launch;
  }
  return nullptr;
}

// A thread inherits its creator's vector registers. With their upper halves in use (-O1 leaves them so behind
// AVX code) every SSE instruction beside an AVX one is slow: after tests on the CPU, kernels took 4 to 20
// times as long.
void clear_upper_halves() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx")) asm volatile("vzeroupper");
#endif
}

void serve(int index, Identities& identities) {
  clear_upper_halves();
  Pool& p = pool();
  std::uint64_t dice = config().seed + static_cast<std::uint64_t>(index);
  for (;;) {
    Launch* launch = nullptr;
    {
      const TsanQuiet quiet;
      std::unique_lock lock(p.mutex);
      p.work.wait(lock, [&] { return (launch = choose(p, index, dice)) != nullptr; });
      ++launch->users;
    }
    if (launch->coresident) {
      launch->next = launch->blocks;
      p.coresident[launch->colour].run(*launch);
    } else {
      Worker*& worker = identities[launch->colour];
      if (worker == nullptr) worker = new Worker;
      for (std::uint64_t block = launch->next++; block < launch->blocks; block = launch->next++)
        worker->run_block(*launch, block);
    }
    const TsanQuiet quiet;
    const std::lock_guard lock(p.mutex);
    std::erase(p.active, launch);
    if (--launch->users == 0) p.done.notify_all();
  }
}

}  // namespace

void run_on_pool(Launch& launch) {
  Pool& p = pool();
  {
    const TsanQuiet quiet;
    std::unique_lock lock(p.mutex);
    while (p.started < config().threads)
      std::thread(serve, p.started++, std::ref(p.identities.emplace_back())).detach();
    p.active.push_back(&launch);
    if (launch.blocks == 1 && !launch.coresident && p.started <= config().threads) {
      p.work.notify_one();
    } else {
      p.work.notify_all();
    }
    p.done.wait(lock, [&] { return launch.users == 0 && launch.next.load() >= launch.blocks; });
    std::erase(p.active, &launch);
  }
  edge_acquire(&launch.done_edge);
}

}  // namespace gpunn::emu
