#pragma once
// Random programs over a few storages and streams, run through a scheduler and compared with running the same
// operations one after the other.
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <vector>

#include "gpunn/core/runtime.h"
#include "gpunn/core/stream.h"
#include "gpunn/core/tensor.h"

namespace gpunn::testing {

struct ProgramOptions {
  std::uint32_t seed = 1;
  int operations = 60;
  int storages = 6;
  int streams = 4;
  int threads = 1;        // more: they take turns at the program, under a lock as the library asks for
  bool scheduled = true;  // false: issue without the scheduler, to see that the comparison notices
};

/// One program on one context: kernels that read and write, host reads and writes, host functions with and
/// without declared tensors, events and waits between streams; storages that die and come back on any stream,
/// some of them slices of one block. Kernels run as host callbacks, so that any device can run them; where
/// the host reaches device memory (fakes, the emulated GPU), half the storages lie there, else all are
/// pinned.
class RandomProgram {
 public:
  /// `shared`: streams to use instead of the program's own.
  explicit RandomProgram(DeviceContext& context, ProgramOptions options, std::span<Stream> shared = {});
  ~RandomProgram();
  /// Issues everything; returns the number of values that differ from serial execution, those read on the way
  /// included.
  int run();

 private:
  static constexpr int kValues = 8;
  using Values = std::vector<std::uint32_t>;
  struct Kernel;
  struct Slot {
    Tensor tensor;  // kValues of i32
    Values expected;
  };

  std::uint32_t draw(std::size_t below) { return static_cast<std::uint32_t>(random_() % below); }
  Stream& any_stream() { return streams_[draw(streams_.size())]; }
  Slot& any_slot() { return slots_[draw(slots_.size())]; }

  void turn();
  void fresh(Slot& slot);
  void fresh_slices();
  void clear(Slot& slot);
  void issue();
  void launch(Kernel kernel, const std::vector<Tensor>& reads, const std::vector<Tensor>& writes);
  void host_read();
  void host_write();
  void use_event();
  void undeclared_call();
  int differences(const Slot& slot) const;
  std::vector<std::size_t> pick(std::size_t at_most, bool at_least_one);
  Storage::Place any_place();

  DeviceContext& context_;
  const ProgramOptions options_;
  const bool host_reaches_device_;
  std::mt19937 random_;
  std::mutex lock_;
  std::vector<Stream> own_streams_;
  std::span<Stream> streams_;
  std::vector<Event> events_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Kernel>> kernels_;  // alive until the device has run them
  // A cell that the scheduler does not know: only waits between streams order its users.
  Values cell_, cell_expected_;
  Stream* cell_user_ = nullptr;
  int different_ = 0;
};

}  // namespace gpunn::testing
