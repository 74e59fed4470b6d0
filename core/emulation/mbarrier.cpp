// mbarrier objects. The 64-bit word in shared memory has a packing of our own; on a chip it is opaque.

#include <vector>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

// From bit 0: pending and expected arrivals (20 bits each), transactions (21), phase (1), a mark (2).
constexpr std::uint64_t kCountMask = (1u << 20) - 1, kTransactionMask = (1u << 21) - 1, kMark = 2;
constexpr std::uint64_t kTransactionBias = 1u << 20;  // bytes may complete before they are expected

struct Word {
  std::uint64_t pending, expected, transactions, phase;
};

Word load(const std::uint64_t* barrier) {
  shared_offset(barrier);
  const std::uint64_t bits = *barrier;
  if (bits >> 62 != kMark) context.worker->fail("mbarrier used before mbarrier.init");
  return {bits & kCountMask, bits >> 20 & kCountMask, bits >> 40 & kTransactionMask, bits >> 61 & 1};
}

void store(std::uint64_t* barrier, Word word) {
  *barrier = word.pending | word.expected << 20 | (word.transactions & kTransactionMask) << 40 |
             word.phase << 61 | kMark << 62;
}

// Ends the phase if nothing is missing, and wakes those who wait for it.
void settle(std::uint64_t* barrier, Word word) {
  if (word.pending == 0 && word.transactions == kTransactionBias) {
    word.pending = word.expected;
    word.phase ^= 1;
    Worker& worker = *context.worker;
    std::erase_if(worker.mbarrier_waiters, [&](const Worker::MbarrierWaiter& waiter) {
      if (waiter.barrier != barrier || waiter.parity == word.phase) return false;
      worker.make_runnable(waiter.linear);
      return true;
    });
  }
  store(barrier, word);
}

void arrive(std::uint64_t* barrier, std::uint32_t expected_bytes) {
  if (context.fast) context.worker->leave_fast_path();
  edge_release(barrier);
  Word word = load(barrier);
  if (word.pending == 0) context.worker->fail("mbarrier: more arrivals than it was initialised for");
  --word.pending;
  word.transactions += expected_bytes;
  settle(barrier, word);
}

}  // namespace

void mbarrier_init(std::uint64_t* barrier, unsigned count) {
  shared_offset(barrier);
  if (count == 0 || count >= 1u << 20) context.worker->fail("mbarrier.init with a count of %u", count);
  note_write(barrier, sizeof *barrier);
  store(barrier, {count, count, kTransactionBias, 0});
}

void mbarrier_arrive(std::uint64_t* barrier) { arrive(barrier, 0); }

void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes) { arrive(barrier, bytes); }

void mbarrier_wait_parity(std::uint64_t* barrier, unsigned parity) {
  Worker& worker = *context.worker;
  if (context.fast) worker.leave_fast_path();
  if (load(barrier).phase == parity) {  // the phase of this parity has not ended
    {
      const TsanQuiet quiet;
      worker.mbarrier_waiters.push_back({context.thread.linear, barrier, parity});
    }
    worker.wait(Wait::mbarrier);
  }
  edge_acquire(barrier);
}

// Called by the copy engine.
void complete_transactions(std::uint64_t* barrier, std::uint32_t bytes) {
  Word word = load(barrier);
  word.transactions -= bytes;
  settle(barrier, word);
}

}  // namespace gpunn::emu
