// Warp-wide operations: one rendezvous per operation, computed once for all lanes by the last that arrives.

#include <bit>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

constexpr std::uint64_t kNoLane = ~std::uint64_t{0};  // value of a lane that takes no part: NaN, -1

template <class Function>
void for_lanes(std::uint32_t lanes, Function function) {
  for (; lanes != 0; lanes &= lanes - 1) function(static_cast<unsigned>(std::countr_zero(lanes)));
}

// A shuffle's parameters travel in one word: kind, width, argument.
constexpr std::int32_t pack(Shuffle kind, int width, int argument) {
  return static_cast<std::int32_t>(kind) | width << 2 | argument << 8;
}

int source_lane(int lane, Shuffle kind, int width, int argument) {
  const int base = lane & ~(width - 1);
  switch (kind) {
    case Shuffle::index:
      return base + (argument & (width - 1));
    case Shuffle::up:
      return lane - argument < base ? lane : lane - argument;
    case Shuffle::down:
      return lane + argument >= base + width ? lane : lane + argument;
    default:
      return (lane ^ argument) >= base + width ? lane : lane ^ argument;
  }
}

void perform_shuffle(Warp& warp, std::uint32_t lanes) {
  for_lanes(lanes, [&](unsigned lane) {
    const std::int32_t word = warp.parameter[lane];
    const int source =
        source_lane(static_cast<int>(lane), static_cast<Shuffle>(word & 3), (word >> 2) & 63, word >> 8);
    const bool present = source >= 0 && source < 32 && ((lanes >> source) & 1) != 0;
    warp.out[lane] = present ? warp.in[static_cast<std::size_t>(source)] : kNoLane;
  });
}

void perform_ballot(Warp& warp, std::uint32_t lanes) {
  std::uint64_t votes = 0;
  for_lanes(lanes, [&](unsigned lane) { votes |= (warp.in[lane] & 1) << lane; });
  for_lanes(lanes, [&](unsigned lane) { warp.out[lane] = votes; });
}

void perform_match(Warp& warp, std::uint32_t lanes) {
  for_lanes(lanes, [&](unsigned lane) {
    std::uint64_t equal = 0;
    for_lanes(lanes,
              [&](unsigned other) { equal |= std::uint64_t{warp.in[other] == warp.in[lane]} << other; });
    warp.out[lane] = equal;
  });
}

std::uint64_t combine(Reduction kind, std::uint64_t a, std::uint64_t b) {
  const auto signed_a = static_cast<std::int64_t>(a), signed_b = static_cast<std::int64_t>(b);
  switch (kind) {
    case Reduction::add:
      return a + b;
    case Reduction::min_unsigned:
      return a < b ? a : b;
    case Reduction::max_unsigned:
      return a > b ? a : b;
    case Reduction::min_signed:
      return signed_a < signed_b ? a : b;
    case Reduction::max_signed:
      return signed_a > signed_b ? a : b;
    case Reduction::bit_and:
      return a & b;
    case Reduction::bit_or:
      return a | b;
    default:
      return a ^ b;
  }
}

void perform_reduce(Warp& warp, std::uint32_t lanes) {
  const auto first = static_cast<unsigned>(std::countr_zero(lanes));
  std::uint64_t result = warp.in[first];
  for_lanes(lanes & (lanes - 1), [&](unsigned lane) {
    result = combine(static_cast<Reduction>(warp.parameter[first]), result, warp.in[lane]);
  });
  for_lanes(lanes, [&](unsigned lane) { warp.out[lane] = result; });
}

void perform(Worker& worker, Warp& warp, std::uint32_t lanes) {
  switch (warp.operation[static_cast<std::size_t>(std::countr_zero(lanes))]) {
    case WarpOperation::sync:
      break;
    case WarpOperation::shuffle:
      perform_shuffle(warp, lanes);
      break;
    case WarpOperation::ballot:
      perform_ballot(warp, lanes);
      break;
    case WarpOperation::match:
      perform_match(warp, lanes);
      break;
    case WarpOperation::reduce:
      perform_reduce(warp, lanes);
      break;
    case WarpOperation::mma:
      perform_mma(worker, warp, lanes);
      break;
    case WarpOperation::ldmatrix:
      perform_ldmatrix(worker, warp, lanes);
      break;
  }
}

// If all live lanes of `mask` have arrived with it, performs their operation and wakes them, except `self`.
bool complete(Worker& worker, unsigned number, std::uint32_t mask, std::uint32_t self) {
  Warp& warp = worker.warps[number];
  const std::uint32_t lanes = mask & warp.live;
  if (lanes == 0 || (warp.arrived & lanes) != lanes) return false;
  const auto first = static_cast<std::size_t>(std::countr_zero(lanes));
  bool same_mask = true, same_operation = true;
  if (warp.mixed_masks) for_lanes(lanes, [&](unsigned lane) { same_mask &= warp.mask[lane] == mask; });
  if (!same_mask) return false;
  for_lanes(lanes, [&](unsigned lane) { same_operation &= warp.operation[lane] == warp.operation[first]; });
  if (!same_operation) worker.fail("lanes of one mask execute different warp operations");
  if (worker.settings.strict && lanes != (mask & warp.exists))
    worker.fail("a warp operation's mask names lanes that have ended");
  perform(worker, warp, lanes);
  warp.arrived &= ~lanes;
  if (warp.arrived == 0) warp.mixed_masks = false;
  worker.make_runnable(number, lanes & ~self);
  return true;
}

// Lanes of one __syncwarp meet at one address, the next one (of any group) uses another.
std::uint8_t phase_of_group(Warp& warp, std::uint32_t mask) {
  for (std::uint32_t waiting = warp.arrived & mask; waiting != 0; waiting &= waiting - 1) {
    const auto lane = static_cast<std::size_t>(std::countr_zero(waiting));
    if (warp.mask[lane] == mask) return warp.phase[lane];
  }
  return ++warp.newest_phase;
}

std::uint64_t exchange(unsigned mask, WarpOperation operation, std::uint64_t bits, std::int32_t parameter) {
  Warp& warp = this_warp();
  const unsigned lane = this_lane();
  warp.in[lane] = bits;
  warp.parameter[lane] = parameter;
  warp_rendezvous(mask, operation);
  return warp.out[lane];
}

}  // namespace

// A lane has ended: groups that waited for it may be complete (or wrong).
void complete_waiting_groups(Worker& worker, unsigned number) {
  const Warp& warp = worker.warps[number];
  for (std::uint32_t waiting = warp.arrived; waiting != 0;) {
    const std::uint32_t mask = warp.mask[static_cast<std::size_t>(std::countr_zero(waiting))];
    complete(worker, number, mask, 0);
    waiting &= ~mask;
  }
}

void warp_rendezvous(std::uint32_t mask, WarpOperation operation) {
  Worker& worker = *context.worker;
  if (context.fast) [[unlikely]]
    worker.leave_fast_path();
  const unsigned linear = context.thread.linear, lane = linear & 31;
  const std::uint32_t bit = 1u << lane;
  Warp& warp = worker.warps[linear >> 5];
  if ((mask & bit) == 0) worker.fail("a lane is not in the mask of its own warp operation");
  if (warp.arrived == 0) {
    warp.common_mask = mask;
  } else if (mask != warp.common_mask) {
    warp.mixed_masks = true;
  }
  const bool orders_memory = operation == WarpOperation::sync;  // shuffles and votes do not
  if (orders_memory) warp.phase[lane] = phase_of_group(warp, mask);
  char* edge = &warp.edge[warp.phase[lane] % kWarpPhases];
  warp.mask[lane] = mask;
  warp.operation[lane] = operation;
  warp.arrived |= bit;
  if (orders_memory) edge_release(edge);
  if (!complete(worker, linear >> 5, mask, bit)) {
    worker.wait(Wait::warp);
  } else if (!worker.in_order()) {
    worker.make_runnable(linear);
    worker.wait(Wait::yield);
  }
  if (orders_memory) edge_acquire(edge);
}

void sync_warp(unsigned mask) { warp_rendezvous(mask, WarpOperation::sync); }

std::uint64_t shuffle(unsigned mask, std::uint64_t bits, Shuffle kind, int argument, int width) {
  if (!std::has_single_bit(static_cast<unsigned>(width)) || width > 32)
    context.worker->fail("shuffle width %d is not a power of two up to 32", width);
  return exchange(mask, WarpOperation::shuffle, bits, pack(kind, width, argument));
}

unsigned ballot(unsigned mask, bool predicate) {
  return static_cast<unsigned>(exchange(mask, WarpOperation::ballot, predicate ? 1 : 0, 0));
}

unsigned match_any(unsigned mask, std::uint64_t bits) {
  return static_cast<unsigned>(exchange(mask, WarpOperation::match, bits, 0));
}

std::uint64_t reduce_warp(unsigned mask, std::uint64_t bits, Reduction kind) {
  return exchange(mask, WarpOperation::reduce, bits, static_cast<std::int32_t>(kind));
}

}  // namespace gpunn::emu
