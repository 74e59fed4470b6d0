#pragma once
// Random read/write programs over a few storages and streams, run through a scheduler and compared with
// running the same operations one after the other.
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "gpunn/core/runtime.h"
#include "gpunn/core/storage.h"
#include "gpunn/core/stream.h"

namespace gpunn::testing {

struct ProgramOptions {
  std::uint32_t seed = 1;
  int operations = 60;
  int storages = 6;
  int streams = 4;
  bool scheduled = true;  // false: issue without the scheduler, to see that the comparison notices
};

/// One program on one context. Storages are pinned host memory, so that "kernels" can run as host callbacks
/// on any device.
class RandomProgram {
 public:
  RandomProgram(DeviceContext& context, ProgramOptions options);
  ~RandomProgram();
  /// Issues everything; returns the number of values that differ from serial execution, those read on the way
  /// included.
  int run();

 private:
  static constexpr int kValues = 8;
  struct Kernel;
  struct Slot {
    Ref<Storage> storage;
    std::vector<std::uint32_t> expected;
  };

  void fresh(Slot& slot);
  void issue();
  void host_read();
  void host_write();
  int differences(const Slot& slot) const;
  std::vector<std::size_t> pick(std::size_t at_most, bool at_least_one);

  DeviceContext& context_;
  const ProgramOptions options_;
  std::mt19937 random_;
  std::vector<Stream> streams_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Kernel>> kernels_;  // alive until the device has run them
  int different_ = 0;
};

}  // namespace gpunn::testing
