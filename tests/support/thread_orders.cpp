#include "tests/support/thread_orders.h"

#include <algorithm>

#include "gpunn/core/runtime.h"

#if GPUNN_EMULATED
#include "gpunn/core/device_api.h"
#include "gpunn/core/emulation/config.h"
#endif

namespace gpunn::parity {

#if GPUNN_EMULATED

struct ThreadOrders::State {
  Device device;
  std::uint64_t seed;
  int count;
  int used = 0;
  emu::Config before = emu::config();
};

ThreadOrders::ThreadOrders(Device device, std::uint64_t seed, int count) {
  if (!device.is_cpu() && device.context().api().info().emulated)
    state_ = std::make_unique<State>(State{device, seed, std::min(count, 16)});
}

ThreadOrders::~ThreadOrders() {
  if (!state_ || state_->used == 0) return;
  emu::set_config(state_->before);
}

bool ThreadOrders::next() {
  if (!state_ || state_->used == state_->count) return false;
  constexpr emu::Schedule schedules[] = {emu::Schedule::seq, emu::Schedule::reverse, emu::Schedule::pct,
                                         emu::Schedule::random};
  constexpr emu::Async async[] = {emu::Async::late, emu::Async::early, emu::Async::random};
  const int i = state_->used++;
  emu::Config c = state_->before;
  c.schedule = schedules[i % 4];
  c.async = async[i % 3];
  c.seed = state_->seed + static_cast<std::uint64_t>(i);
  c.threads = 1 + i % 2;
  state_->device.synchronize();
  emu::set_config(c);
  return true;
}

std::string ThreadOrders::description() const {
  const emu::Config& c = emu::config();
  constexpr const char* schedules[] = {"sequential", "reversed", "random", "one warp ahead"};
  constexpr const char* async[] = {"late", "early", "random"};
  return std::string(schedules[static_cast<int>(c.schedule)]) + ", asynchronous copies " +
         async[static_cast<int>(c.async)] + ", seed " + std::to_string(c.seed);
}

void recover_emulation() { emu::reset_device(); }

#else

struct ThreadOrders::State {};
ThreadOrders::ThreadOrders(Device, std::uint64_t, int) {}
ThreadOrders::~ThreadOrders() = default;
bool ThreadOrders::next() { return false; }
std::string ThreadOrders::description() const { return {}; }
void recover_emulation() {}

#endif

}  // namespace gpunn::parity
