#pragma once
// The blocks of a launch that may wait for each other. All run on one OS thread, each with a worker (fibers,
// barriers, shared memory) of its own, and take turns: a block goes on until it ends, pauses in a spin loop
// or, in random orders, meets a barrier or a release.

#include <cstddef>
#include <memory>
#include <vector>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {

class CoresidentGrid {
 public:
  // Returns when all blocks have ended or one has failed.
  void run(Launch& launch);
  // Every block that has not ended has done nothing but pause for long.
  bool stuck() const;
  std::size_t ended() const { return count_ - turns_.size(); }

 private:
  struct Block {
    Worker worker;
    Context context;  // the OS thread's while this block has its turn
  };
  void prepare(Launch& launch);
  void order_turns();
  void take_turn();
  std::size_t random(std::size_t below);

  std::vector<std::unique_ptr<Block>> blocks_;  // kept from launch to launch with their fibers' stacks
  std::vector<std::size_t> turns_;              // blocks that have not ended, the next one first
  std::size_t count_ = 0;
  Schedule schedule_ = Schedule::seq;
  std::uint64_t random_state_ = 0;
};

}  // namespace gpunn::emu
