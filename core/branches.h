#pragma once
// Branches: parts of a model that do not depend on each other, each on a stream of its own.
//
//   auto [left, right] = parallel(x.device(), [&] { return tower_a(x); }, [&] { return tower_b(x); });
//   Tensor y = left + right;   // waits for both
//
// The functions are called one after the other on the calling thread; what overlaps is the work that they
// issue. So they draw random numbers and record gradients in the order in which they stand, and results are
// those of running them without branches, bit for bit. Tensors need no join: whoever uses one waits for its
// writer. Backward runs each recorded op on the stream of its forward, so that the branches overlap there as
// well. On the CPU, which has one stream, the functions simply run.
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/stream.h"

namespace gpunn {

/// For a number of branches known at run time: each run() takes the next of a few streams. Branches nest. Not
/// to be shared between threads.
class GPUNN_API Branches {
 public:
  /// Takes up to `streams` streams from the context, as they are needed. Throws InvalidArgument below 1.
  explicit Branches(Device device, int streams = 4);

  /// Calls `function` with the next stream as the thread's current one; returns what it returns.
  template <class F>
  decltype(auto) run(F&& function) {
    const StreamScope scope(device_.context(), next());
    return std::forward<F>(function)();
  }
  /// The calling thread's current stream waits for everything issued to the branches: for what no tensor
  /// stands for, such as host functions without declared tensors. Tensors need no join.
  void join();

 private:
  RawStream next();

  Device device_;
  std::size_t limit_, turn_ = 0;
  std::vector<Stream> streams_;  // given back at the end; who takes one next comes after our work on it
};

/// Calls the functions in order, each with a stream of its own; returns their results as a tuple (nothing
/// when they return nothing). An exception ends the calls and reaches the caller; what has been issued goes
/// on.
template <class... F>
auto parallel(Device device, F&&... functions) {
  static_assert(sizeof...(F) > 0, "parallel: expected at least one function");
  Branches branches(device, static_cast<int>(sizeof...(F)));
  if constexpr ((std::is_void_v<std::invoke_result_t<F&>> && ...)) {
    (branches.run(functions), ...);
  } else {
    return std::tuple<std::invoke_result_t<F&>...>{branches.run(functions)...};
  }
}

}  // namespace gpunn
