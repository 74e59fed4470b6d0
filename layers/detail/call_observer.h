#pragma once
// Who wants to see the calls of modules on the calling thread: Module::operator() asks.
#include "gpunn/core/tensor.h"

namespace gpunn {

class Module;

namespace detail {

class CallObserver {
 public:
  /// Called instead of module.forward(x), under the module's name.
  virtual Tensor call(Module& module, const Tensor& x) = 0;

 protected:
  ~CallObserver() = default;
};

/// Of the calling thread; null when nobody looks. Code that runs two modules as one asks it and runs them one
/// after the other, so that each is seen.
CallObserver* call_observer() noexcept;

/// Installs an observer for a scope.
class ObserveCalls {
 public:
  explicit ObserveCalls(CallObserver* observer) noexcept;
  ~ObserveCalls();
  ObserveCalls(const ObserveCalls&) = delete;
  ObserveCalls& operator=(const ObserveCalls&) = delete;

 private:
  CallObserver* previous_;
};

}  // namespace detail
}  // namespace gpunn
