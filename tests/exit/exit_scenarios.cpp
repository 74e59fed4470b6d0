// exit_scenarios NAME: leaves behind what a careless program leaves, and ends. What it has to say goes to
// standard output; a word on standard error or another exit code than 0 is a bug of the library.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/trainer.h"
#include "tests/support/device_failures.h"

namespace gpunn {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kPatience = 60;  // seconds until a process that does not end is killed

Device device() { return cuda_device_count() > 0 ? Device::cuda(0) : Device::cpu(); }

std::shared_ptr<const Dataset> rows() {
  return std::make_shared<TensorDataset>(rand({64, 8}, {.device = Device::cpu()}),
                                         zeros({64}, {.dtype = DType::i64, .device = Device::cpu()}));
}

// Everything a training program holds.
struct Program {
  Sequential model{Linear(8, 16), ReLU(), Linear(16, 4)};
  CrossEntropyLoss loss;
  Adam optimizer{model.parameters(), {}};
  DataLoader loader;
  TrainStep step = supervised_step(model, loss, optimizer);
  DataLoader::Epoch epoch;

  explicit Program(int workers)
      : loader(rows(), {.batch_size = 4, .workers = workers, .device = device()}), epoch(loader.epoch(0)) {}
  void run(int steps) {
    for (int i = 0; i < steps; ++i)
      if (auto batch = epoch.next()) step(*batch);
  }
};

// Destroyed with the statics, after the library has been told that the process exits.
std::unique_ptr<Program> in_static_memory;
std::vector<Tensor> tensors_in_static_memory;
// Never destroyed.
std::vector<Tensor>& leaked = *new std::vector<Tensor>;
std::vector<Stream>& leaked_streams = *new std::vector<Stream>;

// A thread that nobody joins and whose exceptions nobody catches.
void start_thread(std::function<void()> work) {
  std::thread([work = std::move(work)] {
    for (;;) work();
  }).detach();
}

void live_tensors() {
  const DeviceScope scope(device());
  for (int i = 0; i < 8; ++i) {
    tensors_in_static_memory.push_back(rand({100, 10 + i}));
    leaked.push_back(tensors_in_static_memory.back().clone());
  }
  in_static_memory = std::make_unique<Program>(0);
  in_static_memory->run(2);
}

void loader_workers() {
  const DeviceScope scope(device());
  in_static_memory = std::make_unique<Program>(3);
  in_static_memory->run(1);
}

void busy_threads() {
  Runtime& runtime = Runtime::current();
  runtime.set_threads(3);
  start_thread([&runtime] { runtime.pool().run(8, [](std::int64_t) {}); });
  for (int t = 0; t < 2; ++t)
    start_thread([] {
      const DeviceScope scope(device());
      const Tensor x = zeros({16, 16});
      const Tensor y = matmul(x, x.clone());
      if (y.to(Device::cpu()).host<float>()[0] != 0) std::puts("wrong");
    });
  std::this_thread::sleep_for(5ms);
}

void pending_work() {
  const DeviceScope scope(device());
  DeviceContext& context = device().context();
  for (int s = 0; s < 3; ++s) {
    leaked_streams.emplace_back(device());
    const StreamScope in(leaked_streams.back());
    Tensor x = zeros({64, 64});
    for (int i = 0; i < 4; ++i) x = matmul(x, x);
    leaked.push_back(x);
    tensors_in_static_memory.push_back(x);
    context.api().host_callback(
        leaked_streams.back().raw(), [](void*) { std::this_thread::sleep_for(200ms); }, nullptr);
    leaked.push_back(x.clone());
  }
}

void pending_failure() {
  const DeviceScope scope(device());
  Tensor x = zeros({10});
  if (x.device().is_cpu()) return;
  Storage* const writes[] = {&x.storage()};
  leaked.push_back(x);
  tensors_in_static_memory.push_back(x);
  x.storage().context().scheduler().fail(writes, std::make_exception_ptr(DataError("planted")));
  try {
    x.clone().item();
  } catch (const Error&) {
  }
}

// Uses the library while the process exits.
struct LateUser {
  bool armed = false;
  ~LateUser() {
    if (!armed) return;
    try {
      if (zeros({4}, {.device = Device::cpu()}).item() != 0) std::puts("wrong");
    } catch (const InvalidArgument&) {  // four elements are no item: the CPU still works
    }
    try {
      const Tensor t = zeros({4}, {.device = device()});
      if (t.device().is_cuda()) std::puts("a CUDA call was made at exit");
    } catch (const CudaError&) {
    }
  }
} late_user;

void late_use() {
  live_tensors();
  late_user.armed = true;
}

void exit_on_another_thread() {
  live_tensors();
  std::thread([] { std::exit(0); }).join();
}

#if GPUNN_EMULATED
template <class F>
void tell(const char* label, F call) {
  try {
    call();
    std::printf("%s: no exception\n", label);
  } catch (const DeviceLost& e) {
    std::printf("%s: %s\n", label, e.what());
  } catch (const std::exception& e) {
    std::printf("%s: not DeviceLost: %s\n", label, e.what());
  }
}

// The third wait finds that the device has failed; with GPUNN_SYNC=1 that is the one for the clone.
void lost_device() {
  Device gpu = Device::cuda(0);
  const DeviceScope scope(gpu);
  live_tensors();
  gpu.context().synchronize();
  Tensor x = zeros({5});
  gpu.context().synchronize();
  const bool sync = Runtime::current().options().synchronous;
  testing::lose_device_at(testing::DeviceCall::stream, sync ? 3 : 1);
  tell("first", [&] {
    const LayerScope layer("encoder");
    x.fill_(1);
    x.fill_(2);
    const Tensor y = x.clone();
    x.fill_(3);
    gpu.context().synchronize();
  });
  tell("launch", [&] { x.fill_(4); });
  tell("allocation", [&] { zeros({1 << 22}); });
  tell("to host", [&] { leaked.back().to(Device::cpu()); });
  tell("copy", [&] { gpu.context().api().fill_bytes(x.data(), 0, 4, gpu.context().compute_stream()); });
  tell("wait", [&] { gpu.context().synchronize(); });
  if (cuda_device_count() > 1) {
    std::printf("other: %g\n", full({1}, 7, {.device = Device::cuda(1)}).item());
  }
}
#endif

struct Scenario {
  const char* name;
  void (*run)();
};

constexpr Scenario kScenarios[] = {
    {"live_tensors", live_tensors},
    {"loader_workers", loader_workers},
    {"busy_threads", busy_threads},
    {"pending_work", pending_work},
    {"pending_failure", pending_failure},
    {"late_use", late_use},
    {"other_thread", exit_on_another_thread},
#if GPUNN_EMULATED
    {"lost_device", lost_device},
#endif
};

}  // namespace
}  // namespace gpunn

int main(int argc, char** argv) {
  alarm(gpunn::kPatience);
  for (const auto& scenario : gpunn::kScenarios) {
    if (argc != 2 || std::strcmp(argv[1], scenario.name) != 0) continue;
    scenario.run();
    return 0;
  }
  for (const auto& scenario : gpunn::kScenarios) std::puts(scenario.name);
  return argc == 1 ? 0 : 2;
}
