#include "gpunn/core/emulation/coresident_grid.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "gpunn/core/emulation/coresident.h"

namespace gpunn::emu {
namespace {

// Pauses of all blocks together, without anything else in between, that count as a deadlock: some 0.1 s
// (1 s under TSan). One round would do but for loops that pause a number of times.
constexpr std::size_t kPausesOfDeadlock = 1 << 20;

// A TSan thread costs about a megabyte and half a millisecond, and there may be 8,128 at a time: workers with
// more of them than this end with their launch.
constexpr std::size_t kMostKeptThreads = 512;

constexpr unsigned kPhase = 0x80000000u;

// Where the arrivals of a phase and those who wait for them meet: alternating, so that a phase does not pass
// on the next one's edges. Bytes of the counter that nothing else is known by.
void* phase_edge(const unsigned* counter, unsigned phase) {
  return reinterpret_cast<char*>(const_cast<unsigned*>(counter)) + (phase != 0 ? 2 : 1);
}

}  // namespace

void CoresidentGrid::run(Launch& launch) {
  prepare(launch);
  ++busy_workers;
  while (!turns_.empty() && !launch.failed) take_turn();
  --busy_workers;
  if (launch.failed)
    for (std::size_t i = 0; i < count_; ++i) blocks_[i]->worker.abandon_block();
  if (!kTsan) return;
  const TsanQuiet quiet;
  std::size_t kept = 0;
  for (const auto& block : blocks_) kept += block->worker.fibers.size();
  if (kept > kMostKeptThreads) blocks_.clear();
}

void CoresidentGrid::prepare(Launch& launch) {
  count_ = static_cast<std::size_t>(launch.blocks);
  while (blocks_.size() < count_) blocks_.push_back(std::make_unique<Block>());
  for (std::size_t i = 0; i < count_; ++i) {
    Block& block = *blocks_[i];
    block.worker.grid = this;
    block.worker.prepare_block(launch, i);
    block.context = context;
  }
  schedule_ = config().schedule;
  random_state_ = (config().seed + 1) * 0x9e3779b97f4a7c15u + launch.serial;
  order_turns();
}

void CoresidentGrid::order_turns() {
  const TsanQuiet quiet;
  turns_.resize(count_);
  std::iota(turns_.begin(), turns_.end(), std::size_t{0});
  if (schedule_ == Schedule::reverse) std::reverse(turns_.begin(), turns_.end());
  if (schedule_ == Schedule::pct)
    for (std::size_t i = count_; i > 1; --i) std::swap(turns_[i - 1], turns_[random(i)]);
}

// Who has had its turn goes to the end, so that every block gets one.
void CoresidentGrid::take_turn() {
  const std::size_t place = schedule_ == Schedule::random ? random(turns_.size()) : 0, index = turns_[place];
  Block& block = *blocks_[index];
  context = block.context;
  block.worker.continue_block();
  block.context = context;
  turns_.erase(turns_.begin() + static_cast<std::ptrdiff_t>(place));
  if (!block.worker.ended()) turns_.push_back(index);  // within the capacity
}

bool CoresidentGrid::stuck() const {
  const std::size_t pauses = kPausesOfDeadlock / turns_.size();
  return std::all_of(turns_.begin(), turns_.end(),
                     [&](std::size_t i) { return blocks_[i]->worker.idle_yields >= pauses; });
}

std::size_t CoresidentGrid::random(std::size_t below) {
  random_state_ = random_state_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<std::size_t>(random_state_ >> 33) % below;
}

void require_coresident() {
  const dim3 size = context.grid_dim;
  if (context.worker->grid == nullptr && std::uint64_t{size.x} * size.y * size.z > 1)
    context.worker->fail("a barrier of all blocks in an ordinary launch (launch_coresident() is needed)");
}

void signal_blocks() {
  Worker& worker = *context.worker;
  if (worker.grid == nullptr) return;
  worker.idle_yields = 0;
  if (worker.leaves_by_chance(1)) worker.leave_block();
}

void grid_arrive(unsigned* counter, unsigned value, unsigned phase) {
  edge_release(phase_edge(counter, phase));
  std::atomic_ref<unsigned>(*counter).fetch_add(value);
  signal_blocks();
}

bool grid_left_phase(const unsigned* counter, unsigned phase) {
  const unsigned value = std::atomic_ref<unsigned>(*const_cast<unsigned*>(counter)).load();
  if (((value ^ phase) & kPhase) == 0) return false;
  edge_acquire(phase_edge(counter, phase));
  return true;
}

}  // namespace gpunn::emu
