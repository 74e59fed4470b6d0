#pragma once
// What the scheduler keeps about a storage: who wrote and read it last, and whether its contents failed.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpunn/core/outcome.h"
#include "gpunn/core/storage.h"

namespace gpunn {

struct StreamState;

struct Access {
  StreamState* stream = nullptr;
  std::uint64_t number = 0;
};

struct AccessHistory {
  Access writer;
  const char* writer_op = "";   // a literal
  std::vector<Access> readers;  // since the last write, one per stream
  // What the contents depend on: open or failed. `unnamed`: failed, without memory to note how.
  std::vector<std::shared_ptr<Outcome>> outcomes;
  bool unnamed = false;
  AccessHistory *previous = nullptr, *next = nullptr;  // in FailureList
  bool listed = false;
};

namespace detail {

/// The histories that have outcomes: normally none, and then empty() is all that is ever asked. Guarded by
/// the scheduler's lock. Nothing here throws but what says so: marking must work in destructors.
class FailureList {
 public:
  bool empty() const noexcept { return !first_; }
  /// The contents of `history` depend on `outcome`.
  void depend(AccessHistory& history, const std::shared_ptr<Outcome>& outcome) noexcept;
  /// ... and have failed, for a reason that could not be noted.
  void fail_unnamed(AccessHistory& history) noexcept;
  /// What `writes` depend on, now that they were computed from `from`.
  void inherit(std::span<Storage* const> from, std::span<Storage* const> writes) noexcept;
  /// Its contents depend on nothing any more.
  void clear(AccessHistory& history) noexcept;
  /// Has what `history` depends on failed? Forgets what has succeeded.
  bool failed(AccessHistory& history) noexcept;
  /// Throws the first failure of `history`, if there is one.
  void rethrow(AccessHistory& history);
  /// Throws the first failure of all, if there is one.
  void rethrow_first() const;

 private:
  void update(AccessHistory& history) noexcept;

  AccessHistory* first_ = nullptr;
};

}  // namespace detail
}  // namespace gpunn
