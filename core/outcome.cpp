#include "gpunn/core/outcome.h"

#include <utility>

#include "gpunn/core/error.h"

namespace gpunn {
namespace {

std::atomic<std::uint64_t> newest{0};

}  // namespace

Outcome::Outcome(std::string place) : place_(std::move(place)), number_(++newest) {}

// The parts of the exception are kept, not the exception: each wait throws an object of its own, which no
// other thread reads or frees.
void Outcome::describe(const std::exception_ptr& cause) {
  try {
    std::rethrow_exception(cause);
  } catch (const DeviceLost& e) {
    take(Kind::device_lost, e.what(), e.code());
  } catch (const CudaError& e) {
    take(Kind::cuda_error, e.what(), e.code());
  } catch (const OutOfMemory& e) {
    take(Kind::out_of_memory, e.what());
  } catch (const InvalidArgument& e) {
    take(Kind::invalid_argument, e.what());
  } catch (const Unsupported& e) {
    take(Kind::unsupported, e.what());
  } catch (const DataError& e) {
    take(Kind::data_error, e.what());
  } catch (const Error& e) {
    take(Kind::error, e.what());
  } catch (const std::exception& e) {
    foreign_ = cause;
    take(Kind::foreign, e.what());
  } catch (...) {
    foreign_ = cause;
    take(Kind::foreign, "an exception that is no std::exception");
  }
}

void Outcome::take(Kind kind, const char* text, int code) {
  kind_ = kind;
  code_ = code;
  message_ = text;
  if (kind == Kind::device_lost) return;  // everything on that device fails with these very words
  if (!message_.starts_with(place_)) message_.insert(0, place_);
  message_ += " (the first failure; what depends on it was skipped)";
}

void Outcome::fail(const std::exception_ptr& cause) noexcept {
  State open = State::open;
  if (!cause || !state_.compare_exchange_strong(open, State::settling)) return;
  try {
    describe(cause);
  } catch (...) {
    // No memory for the words: kind and the rest stay as far as they came.
  }
  state_.store(State::failed, std::memory_order_release);
}

void Outcome::succeed() noexcept {
  State open = State::open;
  state_.compare_exchange_strong(open, State::succeeded);
}

void Outcome::rethrow() const {
  switch (kind_) {
    case Kind::device_lost:
      throw DeviceLost(message_, code_);
    case Kind::cuda_error:
      throw CudaError(message_, code_);
    case Kind::out_of_memory:
      throw OutOfMemory(message_);
    case Kind::invalid_argument:
      throw InvalidArgument(message_);
    case Kind::unsupported:
      throw Unsupported(message_);
    case Kind::data_error:
      throw DataError(message_);
    case Kind::error:
      throw Error(message_);
    case Kind::foreign:
      break;
  }
  try {
    std::rethrow_exception(foreign_);
  } catch (...) {
    std::throw_with_nested(Error(message_));
  }
}

}  // namespace gpunn
