// One training step in which the k-th allocation, copy, launch, event or stream call fails, for every k: a
// typed error, nothing leaks, and from the restored state the next step gives the bits of an undisturbed run.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"
#include "tests/support/device_failures.h"
#include "tests/support/failing_cpu.h"

namespace gpunn {
namespace {

using testing::DeviceCall;
using testing::FailingCpu;

std::shared_ptr<const Dataset> rows_of_noise() {
  PhiloxStream random(4, 1);
  std::vector<float> x;
  std::vector<std::int64_t> y;
  for (int i = 0; i < 12; ++i) {
    for (int f = 0; f < 6; ++f) x.push_back(random.normal());
    y.push_back(i % 3);
  }
  return std::make_shared<TensorDataset>(Tensor::from(x, {12, 6}, {.device = Device::cpu()}),
                                         Tensor::from(y, {12}, {.device = Device::cpu()}));
}

// A state that belongs to no Runtime.
struct Values {
  std::string name;
  Shape shape;
  DType dtype;
  std::vector<double> values;
};
struct Saved {
  std::vector<Values> model, optimizer;
};

std::vector<Values> values_of(const StateDict& state) {
  std::vector<Values> out;
  for (const auto& [name, t] : state)
    out.push_back({name, t.shape(), t.dtype(), t.detach().to(DType::f64).to_vector<double>()});
  return out;
}

StateDict state_of(const std::vector<Values>& saved) {
  StateDict out;
  for (const Values& v : saved)
    out.push_back({v.name, Tensor::from(v.values, v.shape, {.device = Device::cpu()}).to(v.dtype)});
  return out;
}

void append_bits(std::string& bits, const StateDict& state) {
  for (const auto& [name, tensor] : state) {
    const Tensor host = tensor.detach().to(Device::cpu()).contiguous();
    bits += name;
    bits.append(static_cast<const char*>(host.data()), host.nbytes());
  }
}

// A Runtime with a model in training on `device`.
class Training {
 public:
  explicit Training(const char* device, int workers = 0)
      : scope_(runtime_),
        device_(Device::parse(device)),
        device_scope_((manual_seed(11), device_)),
        model_(Linear(6, 8), ReLU(), Linear(8, 3)),
        optimizer_(model_.parameters(), {.lr = 0.05}),
        loader_(rows_of_noise(),
                {.batch_size = 4, .shuffle = true, .workers = workers, .seed = 2, .device = device_}),
        step_(supervised_step(model_, loss_, optimizer_)) {}

  /// One step on the first batch of an epoch; the bits of everything it computed.
  std::string step() {
    Tensor loss;
    {
      DataLoader::Epoch epoch = loader_.epoch(0);
      loss = step_(*epoch.next());
    }
    std::string bits;
    append_bits(bits, {{"loss", loss}});
    append_bits(bits, model_.state_dict());
    append_bits(bits, optimizer_.state_dict());
    return bits;
  }
  Saved save() { return {values_of(model_.state_dict()), values_of(optimizer_.state_dict())}; }
  void restore(const Saved& saved) {
    optimizer_.zero_grad();
    model_.load_state_dict(state_of(saved.model));
    optimizer_.load_state_dict(state_of(saved.optimizer));
    device_.context().synchronize();
  }

  /// Bytes in use, of the device, of pinned and of ordinary host memory.
  std::vector<std::size_t> live() {
    return {device_.context().memory().stats().live_bytes, device_.context().pinned().stats().live_bytes,
            runtime_.cpu().memory().stats().live_bytes};
  }
  bool holds_no_more(const std::vector<std::size_t>& than) {
    const auto now = live();
    return now[0] <= than[0] && now[1] <= than[1] && now[2] <= than[2];
  }
  Device device() const { return device_; }

 private:
  Runtime runtime_{RuntimeOptions{.threads = 1, .forced = {}}};
  RuntimeScope scope_;
  Device device_;
  DeviceScope device_scope_;
  Sequential model_;
  CrossEntropyLoss loss_;
  Adam optimizer_;
  DataLoader loader_;
  TrainStep step_;
};

// What a sweep plants and how it sees whether that was met.
struct Failures {
  std::function<void(long)> plant;
  std::function<long()> met;
  std::function<void()> forget;
};

struct Sweep {
  long calls = 0;   // of the kind in a step
  long errors = 0;  // steps that ended with one
};

// `started`: the optimizer has made a step before.
Sweep fail_every_call(Training& training, const Failures& failures, bool started, long stride) {
  if (started) training.step();
  const Saved saved = training.save();
  const std::string expected = training.step();
  training.restore(saved);
  const auto live = training.live();
  Sweep sweep;
  for (long k = 1;; k += stride) {
    training.restore(saved);
    EXPECT_TRUE(training.holds_no_more(live)) << "before call " << k;
    failures.plant(k);
    std::string bits;
    try {
      bits = training.step();
    } catch (const Error& e) {
      ++sweep.errors;
      EXPECT_NE(std::string(e.what()), "");
    }
    const long met = failures.met();
    failures.forget();
    if (!bits.empty()) {
      EXPECT_EQ(bits == expected, true) << "call " << k << " failed, was got over, and changed the result";
    }
    if (met == 0) return sweep;
    sweep.calls = k;
    training.restore(saved);
    EXPECT_TRUE(training.holds_no_more(live)) << "after call " << k << " failed";
    EXPECT_EQ(training.step() == expected, true) << "the step after call " << k << " failed";
    if (::testing::Test::HasFailure()) return sweep;
  }
}

TEST(FailingStepTest, EveryAllocationOnTheCpu) {
  for (const bool started : {false, true}) {
    FailingCpu cpu;
    {
      Training training("cpu");
      const Sweep sweep = fail_every_call(
          training, {&FailingCpu::fail_from, &FailingCpu::failures, [] { FailingCpu::fail_from(0); }},
          started, 1);
      EXPECT_GE(sweep.calls, 20);
      EXPECT_EQ(sweep.errors, sweep.calls);
    }
    EXPECT_EQ(FailingCpu::live_blocks(), 0);
  }
}

#if GPUNN_EMULATED
class FailingDeviceStepTest : public ::testing::TestWithParam<DeviceCall> {
 protected:
  static Failures failures(DeviceCall call) {
    return {[call](long n) { testing::fail_device_call(call, n); }, &testing::device_failures_met,
            &testing::forget_device_failures};
  }
};

// Under sanitizers, which see more and take longer, not all of the many.
long stride_of(DeviceCall call) {
#if GPUNN_ASAN || GPUNN_TSAN
  return call == DeviceCall::any ? 7 : call == DeviceCall::event ? 3 : 1;
#else
  static_cast<void>(call);
  return 1;
#endif
}

TEST_P(FailingDeviceStepTest, EveryCall) {
  if (GetParam() == DeviceCall::allocation) GTEST_SKIP() << "memory is cached: a warm step allocates nothing";
  for (const bool started : {false, true}) {
    const auto live = testing::device_live();
    {
      Training training("cuda:0");
      const Sweep sweep = fail_every_call(training, failures(GetParam()), started, stride_of(GetParam()));
      RecordProperty(started ? "calls_started" : "calls_first", static_cast<int>(sweep.calls));
      EXPECT_GT(sweep.errors, 0);
      EXPECT_GT(sweep.calls, GetParam() == DeviceCall::stream ? 0 : 5);
    }
    EXPECT_EQ(testing::device_live(), live);
  }
}

// From opening the device on: memory and streams are made only there.
TEST_P(FailingDeviceStepTest, EveryCallOfAWholeProgram) {
  const auto live = testing::device_live();
  const std::string expected = Training("cuda:0").step();
  const bool few = GetParam() == DeviceCall::allocation || GetParam() == DeviceCall::stream;
  long errors = 0;
  for (long k = 1;; k += few ? 1 : 11) {
    testing::fail_device_call(GetParam(), k);
    std::string bits;
    try {
      bits = Training("cuda:0").step();
    } catch (const Error&) {
      ++errors;
    }
    const long met = testing::device_failures_met();
    testing::forget_device_failures();
    EXPECT_EQ(testing::device_live(), live) << "after call " << k << " failed";
    if (!bits.empty()) {
      EXPECT_EQ(bits == expected, true) << "call " << k;
    }
    EXPECT_EQ(Training("cuda:0").step() == expected, true) << "the program after call " << k << " failed";
    if (met == 0 || HasFailure()) break;
  }
  EXPECT_GE(errors, 2);
}

TEST_P(FailingDeviceStepTest, WhileWorkersMakeBatches) {
  Training training("cuda:0", 2);
  fail_every_call(training, failures(GetParam()), true, 7);
}

/// What DeviceLost says when it ends `call`; "" if nothing does.
std::string loss_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const DeviceLost& e) {
    return e.what();
  }
  return "";
}

/// The device has been lost: every call says so, with the cause that the first one named.
void expect_lost(Training& training, const std::string& first) {
  const std::size_t at = first.find("cuda:0 is lost: ");
  ASSERT_NE(at, std::string::npos) << first;
  const std::string cause = first.substr(at);
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { training.step(); }, [&] { zeros({3}, {.device = training.device()}); },
           [&] { training.device().context().synchronize(); }}) {
    const std::string later = loss_of(call);
    EXPECT_NE(later.find(cause), std::string::npos) << later << "\nfirst: " << first;
  }
}

// The device is lost at call k: the first cause at once and from then on, silence in destructors, and a
// device that is opened anew goes on from the saved state. The last calls of a step return memory, in
// destructors: a loss there leaves the step whole and is the next call's to report. How many they are depends
// on time (memory asks whether its events are over), so that a k is now of one kind, now of the other.
TEST_P(FailingDeviceStepTest, ADeviceLostAtAnyCall) {
  Saved saved;
  std::string expected;
  {
    Training training("cuda:0");
    training.step();
    saved = training.save();
    expected = training.step();
  }
  for (long k = 1;; k = k * 2 + 1) {
    bool met = false;
    {
      const testing::DeviceReset reset;
      Training training("cuda:0");
      training.restore(saved);
      testing::lose_device_at(GetParam(), k);
      std::string bits;
      std::string first = loss_of([&] { bits = training.step(); });
      met = testing::device_failures_met() > 0;
      if (first.empty()) {
        EXPECT_EQ(bits == expected, true) << "a step without an error, call " << k;
      }
      if (met && first.empty()) first = loss_of([&] { training.step(); });
      if (met) expect_lost(training, first);
    }
    Training training("cuda:0");
    training.restore(saved);
    EXPECT_EQ(training.step() == expected, true) << "call " << k;
    if (!met || HasFailure()) break;
  }
}

// The same for certain: pinned memory that is returned leaves an event behind.
TEST(FailingDeviceMemoryTest, ADeviceLostInADestructor) {
  const testing::DeviceReset reset;
  Training training("cuda:0");
  training.step();
  {
    const Tensor pinned = zeros({3}, {.device = Device::cpu()}).pin_memory(training.device());
    testing::lose_device_at(DeviceCall::event, 1);
  }
  EXPECT_EQ(testing::device_failures_met(), 1);
  expect_lost(training, loss_of([&] { training.step(); }));
}

INSTANTIATE_TEST_SUITE_P(Calls, FailingDeviceStepTest,
                         ::testing::Values(DeviceCall::allocation, DeviceCall::copy, DeviceCall::launch,
                                           DeviceCall::event, DeviceCall::stream, DeviceCall::any),
                         [](const auto& test) { return std::string(testing::name_of(test.param)); });
#endif

}  // namespace
}  // namespace gpunn
