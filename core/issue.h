#pragma once
// One issue of work to a stream, between what it depends on and what will depend on it.
#include <cstdint>
#include <span>

#include "gpunn/core/api.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/storage.h"

namespace gpunn {

class Scheduler;

/// The constructor makes the stream wait for whatever `reads` and `writes` depend on, the work follows, then
/// commit(). In between the scheduler's lock is held (recursively: the same thread may issue within), so that
/// the order of issue and the order of records agree.
class GPUNN_API Issue {
 public:
  Issue(Scheduler& scheduler, RawStream stream, std::span<Storage* const> reads,
        std::span<Storage* const> writes);
  /// Records the accesses and ends the issue.
  void commit() noexcept;
  /// Without commit() (an exception in between) what it writes has failed. The accesses are recorded all the
  /// same: part of the work may have been issued, and waiting for it harms nobody.
  ~Issue();
  Issue(const Issue&) = delete;
  Issue& operator=(const Issue&) = delete;

  /// An operand has failed (one that is written may be read as well): nothing is to be issued, and what the
  /// work would have written has failed, too.
  bool skipped() const noexcept { return skipped_; }

 private:
  Scheduler& scheduler_;
  RawStream stream_;
  std::span<Storage* const> reads_, writes_;
  bool open_ = true;
  bool skipped_ = false;
};

}  // namespace gpunn
