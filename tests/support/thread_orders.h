#pragma once
// The orders in which an emulated GPU runs the threads of a block, one after the other.
#include <cstdint>
#include <memory>
#include <string>

#include "gpunn/core/device.h"

namespace gpunn::parity {

/// Settings of the emulation to run a case under; they are put back at the end. Not an emulated device:
/// next() is false.
class ThreadOrders {
 public:
  /// The first `count` (up to 16) of: sequential, reversed, one warp far ahead, random; asynchronous copies
  /// late, early, at random; one and two blocks at a time.
  ThreadOrders(Device device, std::uint64_t seed, int count);
  ~ThreadOrders();
  ThreadOrders(const ThreadOrders&) = delete;
  ThreadOrders& operator=(const ThreadOrders&) = delete;

  /// Sets the next order; false when all have been used.
  bool next();
  /// "random, asynchronous copies early, seed 5".
  std::string description() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Forgets the sticky error that a failing kernel left on the emulated devices; nothing elsewhere.
void recover_emulation();

}  // namespace gpunn::parity
