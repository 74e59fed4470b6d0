#pragma once
// A stream that does not move until it is let go: what must wait for it cannot have happened meanwhile, and
// what need not can be waited for. Nothing depends on time.
#include <condition_variable>
#include <memory>
#include <mutex>

#include "gpunn/core/device_api.h"
#include "gpunn/core/runtime.h"
#include "tests/support/fake_device.h"

namespace gpunn::testing {

class StuckStream {
 public:
  /// On a deferred FakeDevice, or on any device whose streams run beside the host.
  StuckStream(DeviceContext& context, RawStream stream)
      : fake_(dynamic_cast<FakeDevice*>(&context.api())), stream_(stream), gate_(std::make_shared<Gate>()) {
    if (fake_) {
      fake_->hold(stream_, true);
    } else {
      context.api().host_callback(stream_, &Gate::pass, new std::shared_ptr<Gate>(gate_));
    }
  }
  ~StuckStream() { let_go(); }
  StuckStream(const StuckStream&) = delete;
  StuckStream& operator=(const StuckStream&) = delete;

  void let_go() {
    if (fake_) return fake_->hold(stream_, false);
    const std::lock_guard lock(gate_->mutex);
    gate_->open = true;
    gate_->changed.notify_all();
  }

 private:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    static void pass(void* argument) {
      const std::unique_ptr<std::shared_ptr<Gate>> gate(static_cast<std::shared_ptr<Gate>*>(argument));
      std::unique_lock lock((*gate)->mutex);
      (*gate)->changed.wait(lock, [&] { return (*gate)->open; });
    }
  };

  FakeDevice* fake_;
  RawStream stream_;
  std::shared_ptr<Gate> gate_;
};

}  // namespace gpunn::testing
