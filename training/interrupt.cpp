#include "gpunn/training/interrupt.h"

#include <signal.h>

#include <atomic>

#include "gpunn/core/error.h"

namespace gpunn {

namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM};

std::atomic<int> received{0};
std::atomic<bool> active{false};
struct sigaction previous[2];
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

void remember(int signal) {
  received.store(signal, std::memory_order_relaxed);
  // From now on the default action: whoever asks twice is not asked to wait.
  struct sigaction by_default{};
  by_default.sa_handler = SIG_DFL;
  for (const int s : kSignals) sigaction(s, &by_default, nullptr);
}

}  // namespace

InterruptScope::InterruptScope() {
  GPUNN_CHECK(!active.exchange(true), "expected one InterruptScope at a time");
  received.store(0, std::memory_order_relaxed);
  struct sigaction action{};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &action, &previous[i]);
}

InterruptScope::~InterruptScope() {
  for (int i = 0; i < 2; ++i) sigaction(kSignals[i], &previous[i], nullptr);
  active.store(false);
}

int interrupt_signal() noexcept { return received.load(std::memory_order_relaxed); }

}  // namespace gpunn
