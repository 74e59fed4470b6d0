#pragma once
// What became of work that can fail after it was issued: the slip that storages keep about their contents.
#include <atomic>
#include <cstdint>
#include <exception>
#include <string>

#include "gpunn/core/api.h"

namespace gpunn {

/// Made by Scheduler::expect() and shared by whoever reports (a host callback, a thread of the user's) and
/// the storages that depend on the work, which the scheduler keeps track of. It is settled once, by fail() or
/// succeed(); while it is open, nobody waits for it: events say when work is over. Both calls may come from
/// any thread, a device's callback thread included: they take no lock and make no call to a device.
class GPUNN_API Outcome {
 public:
  /// `place`: where the work was issued, like where(). Numbers grow in the order of creation.
  explicit Outcome(std::string place);

  /// The work has failed because of `cause`. Only the first fail() or succeed() counts.
  void fail(const std::exception_ptr& cause) noexcept;
  /// The work was done.
  void succeed() noexcept;

  bool failed() const noexcept { return state_.load(std::memory_order_acquire) == State::failed; }
  bool succeeded() const noexcept { return state_.load(std::memory_order_acquire) == State::succeeded; }
  /// The cause was a DeviceLost: it concerns the whole device, and later calls fail by themselves.
  bool device_lost() const noexcept { return failed() && kind_ == Kind::device_lost; }
  std::uint64_t number() const noexcept { return number_; }

  /// Throws the cause of a failed one anew, with the place of the failure in its message. It has the cause's
  /// type where that is one of gpunn's; any other exception comes nested in an Error
  /// (std::rethrow_if_nested).
  [[noreturn]] void rethrow() const;

 private:
  enum class State : std::uint8_t { open, settling, succeeded, failed };
  enum class Kind : std::uint8_t {
    error,
    invalid_argument,
    unsupported,
    out_of_memory,
    cuda_error,
    device_lost,
    data_error,
    foreign
  };
  void describe(const std::exception_ptr& cause);
  void take(Kind kind, const char* text, int code = 0);

  std::atomic<State> state_{State::open};
  Kind kind_ = Kind::error;  // this and what follows: written before state_ becomes failed
  int code_ = 0;
  std::string place_, message_;
  std::exception_ptr foreign_;
  const std::uint64_t number_;
};

}  // namespace gpunn
