#include "gpunn/core/cpu_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "gpunn/core/detail/cpu_count.h"
#include "gpunn/core/detail/spin.h"
#include "gpunn/core/error.h"
#include "gpunn/core/profiler.h"

namespace gpunn {
namespace {

// Waking a parked thread costs the waker 3-5 us, and the gaps between the parallel ops of a training step are
// of that order. Longer spinning gained nothing more on 2 shared cores (Xeon at 2.1 GHz, November 2026: 0, 3,
// 11 and 28 us tried).
constexpr std::chrono::microseconds kSpinTime{20};

// Waits a little for `ready`; says nothing about the outcome. Pause hints take 10 to 100 ns, so the clock
// decides.
template <class F>
void spin_for(std::chrono::microseconds time, F&& ready) {
  if (time.count() == 0) return;
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (ready()) return;
      detail::cpu_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
}

// True while the thread runs a chunk: a call from inside one runs inline.
thread_local bool t_in_chunk = false;

void run_inline(std::int64_t chunks, void (*call)(void*, std::int64_t), void* fn) {
  for (std::int64_t c = 0; c < chunks; ++c) call(fn, c);
}

}  // namespace

// Each thread starts with a share of its own and then helps the others: what it touched in the last job (its
// part of the weights, say) is likely to be still in its cache.
struct alignas(64) Share {
  std::atomic<std::int64_t> next{0};  // first chunk not yet claimed
  std::int64_t end = 0;
};

// One job at a time. Workers enter and leave it under the mutex; `open` says whether a late one may still
// enter, so that the caller waits only for those that are inside.
struct CpuPool::State {
  std::mutex mutex;
  std::condition_variable work, done;
  std::vector<std::thread> workers;
  std::atomic<bool> taken{false};  // a caller has the pool
  std::atomic<std::uint64_t> generation{
      0};                     // moves when a job is published or the pool ends; polled while spinning
  std::vector<Share> shares;  // one for each thread, the caller's first
  std::atomic<std::int64_t> failed{0};  // chunks from here on need not run
  std::atomic<int> inside{0};           // workers in the job; written under the mutex
  int parked = 0;
  std::chrono::microseconds spin_time{0};  // set before the workers start
  bool open = false, stop = false, caller_waits = false;

  void (*call)(void*, std::int64_t) = nullptr;
  void* fn = nullptr;
  std::exception_ptr error;
  std::int64_t error_chunk = 0;

  void start(int count);
  void worker(std::size_t index);
  void claim_chunks(std::size_t index) noexcept;
  void run_share(Share& share) noexcept;
  void publish(std::int64_t count, void (*function)(void*, std::int64_t), void* argument);
  void wait_for_workers();
};

void CpuPool::State::start(int count) {
  // Spinning pays only while every thread has a core of its own.
  if (count < detail::usable_cores()) spin_time = kSpinTime;
  try {
    while (static_cast<int>(workers.size()) < count)
      workers.emplace_back([this, index = workers.size() + 1] { worker(index); });
  } catch (const std::system_error&) {
    // Fewer threads than asked for: slower, with the same results.
  }
}

void CpuPool::State::worker(std::size_t index) {
  std::uint64_t seen = 0;
  name_profile_thread(detail::concat("pool ", index));
  for (;;) {
    spin_for(spin_time, [&] { return generation.load(std::memory_order_relaxed) != seen; });
    {
      std::unique_lock lock(mutex);
      ++parked;
      work.wait(lock, [&] { return generation.load(std::memory_order_relaxed) != seen; });
      --parked;
      seen = generation.load(std::memory_order_relaxed);
      if (stop) return;
      if (!open) continue;
      inside.fetch_add(1, std::memory_order_relaxed);
    }
    {
      const ProfileRange range("chunks");
      claim_chunks(index);
    }
    std::lock_guard lock(mutex);
    if (inside.fetch_sub(1, std::memory_order_release) == 1 && caller_waits) done.notify_one();
  }
}

void CpuPool::State::claim_chunks(std::size_t index) noexcept {
  t_in_chunk = true;
  for (std::size_t i = 0; i < shares.size(); ++i) run_share(shares[(index + i) % shares.size()]);
  t_in_chunk = false;
}

void CpuPool::State::run_share(Share& share) noexcept {
  for (;;) {
    const std::int64_t chunk = share.next.fetch_add(1, std::memory_order_relaxed);
    // All chunks below a failed one still run, so the lowest failure is the same every time.
    if (chunk >= share.end || chunk >= failed.load(std::memory_order_relaxed)) return;
    try {
      call(fn, chunk);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error || chunk < error_chunk) {
        error = std::current_exception();
        error_chunk = chunk;
        failed.store(chunk, std::memory_order_relaxed);
      }
    }
  }
}

void CpuPool::State::publish(std::int64_t count, void (*function)(void*, std::int64_t), void* argument) {
  std::int64_t wanted = 0;
  {
    std::lock_guard lock(mutex);
    call = function;
    fn = argument;
    const auto threads = static_cast<std::int64_t>(shares.size());
    for (std::int64_t i = 0; i < threads; ++i) {
      Share& share = shares[static_cast<std::size_t>(i)];
      share.next.store((i * count + threads - 1) / threads, std::memory_order_relaxed);
      share.end = ((i + 1) * count + threads - 1) / threads;
    }
    failed.store(count, std::memory_order_relaxed);
    open = true;
    generation.fetch_add(1, std::memory_order_relaxed);
    wanted = std::min<std::int64_t>(parked, count - 1);
  }
  for (std::int64_t i = 0; i < wanted; ++i) work.notify_one();
}

void CpuPool::State::wait_for_workers() {
  std::unique_lock lock(mutex);
  open = false;
  if (inside.load(std::memory_order_relaxed) == 0) return;
  lock.unlock();
  spin_for(spin_time, [&] { return inside.load(std::memory_order_relaxed) == 0; });
  lock.lock();
  caller_waits = true;
  done.wait(lock, [&] { return inside.load(std::memory_order_relaxed) == 0; });
  caller_waits = false;
}

CpuPool::CpuPool(int threads) : threads_(threads), state_(std::make_unique<State>()) {
  GPUNN_CHECK(threads >= 1, "a CPU pool needs at least one thread, got ", threads);
  state_->shares = std::vector<Share>(static_cast<std::size_t>(threads));
}

CpuPool::~CpuPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
    state_->generation.fetch_add(1, std::memory_order_relaxed);
    state_->work.notify_all();
  }
  for (auto& worker : state_->workers) worker.join();
}

void CpuPool::run_chunks(std::int64_t chunks, void (*call)(void*, std::int64_t), void* fn) {
  State& s = *state_;
  // A second caller does not queue behind the first: it works inline, and nobody waits for strangers' chunks.
  if (t_in_chunk || s.taken.exchange(true, std::memory_order_acquire)) return run_inline(chunks, call, fn);
  if (s.workers.empty()) s.start(threads_ - 1);
  s.publish(chunks, call, fn);
  s.claim_chunks(0);
  s.wait_for_workers();
  const std::exception_ptr error = std::exchange(s.error, nullptr);
  s.taken.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

}  // namespace gpunn
