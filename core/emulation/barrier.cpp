// __syncthreads and its votes, named barriers, fences.

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

// All fences meet here: an order of all __threadfence calls is what CUDA's fence cumulativity amounts to.
std::atomic<int> fence_order{0};

Barrier& named_barrier(int id, int threads) {
  Worker& worker = *context.worker;
  if (id < 0 || id > 15) worker.fail("named barrier %d is not one of 0..15", id);
  if (threads <= 0 || threads % 32 != 0 || threads > static_cast<int>(kMaxThreads))
    worker.fail("a named barrier needs a multiple of 32 threads, not %d", threads);
  return worker.barriers[static_cast<std::size_t>(id)];
}

}  // namespace

void release_all(Worker& worker, Barrier& barrier) {
  for (unsigned warp = 0; warp < worker.warp_count; ++warp) {
    if (barrier.waiters[warp] == 0) continue;
    worker.make_runnable(warp, barrier.waiters[warp]);
    barrier.waiters[warp] = 0;
  }
  barrier.arrived = 0;
  ++barrier.phase;
}

void wait_at(Barrier& barrier, unsigned needed, Wait reason) {
  Worker& worker = *context.worker;
  if (context.fast) [[unlikely]]
    worker.leave_fast_path();
  const unsigned linear = context.thread.linear;
  char* edge = &barrier.edge[barrier.phase & 1];
  edge_release(edge);
  if (++barrier.arrived >= needed) {
    release_all(worker, barrier);
    if (!worker.in_order()) {  // the last to arrive need not be the first to run
      worker.leaving = worker.grid != nullptr && worker.settings.schedule != Schedule::reverse &&
                       (worker.random() & 3) == 0;
      worker.make_runnable(linear);
      worker.wait(Wait::yield);
    }
  } else {
    barrier.waiters[linear >> 5] |= 1u << (linear & 31);
    worker.wait(reason);
  }
  edge_acquire(edge);
}

void sync_threads() { wait_at(context.worker->barriers[0], context.worker->threads, Wait::barrier); }

int sync_threads_vote(Vote kind, bool predicate) {
  Worker& worker = *context.worker;
  Barrier& barrier = worker.barriers[0];
  if (barrier.arrived == 0) barrier.votes = 0;
  barrier.votes += predicate ? 1 : 0;
  if (barrier.arrived + 1 == worker.threads) barrier.vote_result = barrier.votes;
  wait_at(barrier, worker.threads, Wait::barrier);
  switch (kind) {
    case Vote::count:
      return static_cast<int>(barrier.vote_result);
    case Vote::all:
      return barrier.vote_result == worker.threads;
    default:
      return barrier.vote_result != 0;
  }
}

void barrier_sync(int id, int threads) {
  wait_at(named_barrier(id, threads), static_cast<unsigned>(threads), Wait::named_barrier);
}

void barrier_arrive(int id, int threads) {
  Worker& worker = *context.worker;
  if (context.fast) worker.leave_fast_path();
  Barrier& barrier = named_barrier(id, threads);
  edge_release(&barrier.edge[barrier.phase & 1]);
  if (++barrier.arrived >= static_cast<unsigned>(threads)) release_all(worker, barrier);
}

void thread_fence() {
  fence_order.fetch_add(0, std::memory_order_seq_cst);
  edge_release(&fence_order);
  edge_acquire(&fence_order);
}

void yield() { context.worker->yield_processor(); }

}  // namespace gpunn::emu
