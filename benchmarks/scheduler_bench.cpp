// What the scheduler costs the host.
//
//   scheduler_bench [--json]               nanoseconds, medians of 31 rounds, on a device that does nothing
//   scheduler_bench --op NAME --count N    one row N times, for callgrind:
//     valgrind --tool=callgrind --toggle-collect='measured_region*' scheduler_bench --op chain_20 --count
//     1000
//   scheduler_bench --steps N --device D   the scheduler's share of training steps of fashion-mlp
//
// Rows:
//   issue             one issue, two reads and a write, all on one stream: nothing to wait for
//   issue_and_forget  with a fresh storage that dies: all that the scheduler does for one op
//   issue_crossing    on two streams in turn: an event and a wait each
//   allocate          4 KiB from the allocator and back
//   op, chain_20      an eager op (each of 20 in a chain) without autograd, from argument checks to handle:
//                     everything but the launch
// The share of a step, on random pictures: its issues, times issue_and_forget, by its time. A bare single
// stream would need neither. Under callgrind with the same toggle, the inclusive share of Issue and
// Scheduler:: says it in instructions.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/op.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"
#include "gpunn/gpunn.h"

namespace gpunn {
namespace {

// A device whose calls return at once: what is left is the library.
class NullDevice final : public DeviceApi {
 public:
  DeviceType type() const noexcept override { return DeviceType::cuda; }
  int index() const noexcept override { return 0; }
  const DeviceInfo& info() const noexcept override { return info_; }
  void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) override {
    free_bytes = total_bytes = std::size_t{1} << 30;
  }
  void* allocate(std::size_t bytes) override {
    constexpr std::size_t kAlignment = 256;
    return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
  void deallocate(void* pointer, std::size_t) noexcept override { std::free(pointer); }
  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void deallocate_host(void* pointer, std::size_t bytes) noexcept override { deallocate(pointer, bytes); }
  RawStream create_stream(int) override { return &handles_[streams_++ % std::size(handles_)]; }
  void destroy_stream(RawStream) noexcept override {}
  int stream_priority(RawStream) override { return 0; }
  bool query_stream(RawStream) override { return true; }
  void synchronize_stream(RawStream) override {}
  void synchronize_device() override {}
  RawEvent create_event() override { return &handles_[0]; }
  RawEvent create_timed_event() override { return &handles_[0]; }
  double elapsed_milliseconds(RawEvent, RawEvent) override { return 0; }
  void destroy_event(RawEvent) noexcept override {}
  void record_event(RawEvent, RawStream) override {}
  void wait_event(RawStream, RawEvent) override {}
  bool query_event(RawEvent) override { return true; }
  void synchronize_event(RawEvent) override {}
  void copy(void*, const void*, std::size_t, CopyKind, RawStream) override {}
  void fill_bytes(void*, int, std::size_t, RawStream) override {}
  void host_callback(RawStream, void (*callback)(void*), void* argument) override { callback(argument); }

 private:
  DeviceInfo info_;
  char handles_[64] = {};
  std::size_t streams_ = 0;
};

struct NothingProblem {
  DType dtype;
  void *a, *b, *y;  // [n] each
  std::int64_t n;
};
std::vector<Operand> operands(NothingProblem& p) {
  return {{"a", &p.a, p.dtype, p.n, Role::in},
          {"b", &p.b, p.dtype, p.n, Role::in},
          {"y", &p.y, p.dtype, p.n, Role::out}};
}
void run_nothing(const NothingProblem&, const Exec&) {}
const char* accepts_nothing(const NothingProblem& p) { return p.n >= 0 ? nullptr : "needs elements"; }
constexpr Implementation<NothingProblem> kEntries[] = {
    {"nothing", DeviceType::cuda, accepts_nothing, nullptr, Determinism::portable, run_nothing}};
constexpr ImplementationList<NothingProblem> kNothing{"nothing", "forward", kEntries};

// Written as the library's ops are.
Tensor nothing(const Tensor& a, const Tensor& b) {
  OpScope scope("nothing");
  check_same(a, "a", b, "b");
  Tensor y = empty_on(a.context(), a.shape(), a.dtype());
  NothingProblem p{a.dtype(), a.data(), b.data(), y.data(), a.numel()};
  execute(kNothing, p, {&a, &b}, {&y});
  if (autograd::wanted(a, b))
    autograd::record(y, "nothing", {&a, &b},
                     [](const Backward& back) -> Gradients { return {back.grad(), back.grad()}; });
  return y;
}

/// A symbol of its own, so that callgrind can count what happens inside.
extern "C" __attribute__((noinline)) void measured_region(const std::function<void()>& op, int count) {
  for (int i = 0; i < count; ++i) op();
}

struct Row {
  const char* name;
  std::function<void()> run;
  int ops = 1;  // of a call
};

double nanoseconds_of(const Row& row) {
  constexpr int kCalls = 2000, kRounds = 31;
  const int calls = std::max(1, kCalls / row.ops);
  measured_region(row.run, calls);
  std::vector<double> rounds;
  for (int r = 0; r < kRounds; ++r) {
    const auto start = std::chrono::steady_clock::now();
    measured_region(row.run, calls);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    rounds.push_back(took.count() / (calls * row.ops));
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

std::vector<Row> make_rows(DeviceContext& context) {
  const Tensor a = empty({1024}, {.device = Device(context)}), b = empty_like(a), c = empty_like(a);
  Scheduler& scheduler = context.scheduler();
  const RawStream one = context.compute_stream(), two = context.take_stream(0);
  const auto issue = [=, &scheduler](RawStream stream, Storage& written) {
    Storage* const reads[] = {&a.storage(), &b.storage()};
    Storage* const writes[] = {&written};
    Issue work(scheduler, stream, reads, writes);
    work.commit();
  };
  return {
      {"issue", [=] { issue(one, c.storage()); }},
      {"issue_and_forget", [=, &context] { issue(one, *Storage::allocate(context, 0)); }},
      {"issue_crossing",
       [=] {
         issue(one, c.storage());
         issue(two, c.storage());
       },
       2},
      {"allocate",
       [=, &context] {
         MemoryResource& memory = context.memory();
         memory.deallocate(memory.allocate(4096, one), 4096, one);
       }},
      {"op", [=] { nothing(a, b); }},
      {"chain_20",
       [=] {
         Tensor y = a;
         for (int i = 0; i < 20; ++i) y = nothing(y, b);
       },
       20},
  };
}

int measure_steps(int steps, Device device, double nanoseconds_per_issue) {
  constexpr std::int64_t kBatch = 64;
  Sequential model(Linear(784, 256), ReLU(), Linear(256, 128), ReLU(), Linear(128, 64), ReLU(),
                   Linear(64, 10));
  model.to(device);
  SGD optimizer(model.parameters(), {.lr = 0.01});
  const Tensor pictures = rand({kBatch, 784}).to(device);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < kBatch; ++i) labels.push_back(i % 10);
  const Tensor targets = Tensor::from(labels, {kBatch}).to(device);
  const auto step = [&] {
    optimizer.zero_grad();
    const Tensor loss = cross_entropy(model(pictures), targets);
    loss.backward();
    optimizer.step();
  };
  step();
  device.synchronize();
  const Scheduler& scheduler = device.context().scheduler();
  const auto before = scheduler.counters();
  const auto start = std::chrono::steady_clock::now();
  measured_region(step, steps);
  device.synchronize();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  const auto after = scheduler.counters();
  const double issues = static_cast<double>(after.issues - before.issues) / steps;
  const double share = 100 * issues * nanoseconds_per_issue * steps / took.count();
  std::printf("%-8s %8.1f us a step, %5.1f issues, %llu events; scheduler %5.2f us, %.2f %%\n",
              to_string(device).c_str(), took.count() / steps / 1e3, issues,
              static_cast<unsigned long long>(after.events - before.events),
              issues * nanoseconds_per_issue / 1e3, share);
  return 0;
}

int run(int argc, char** argv) {
  Runtime runtime(RuntimeOptions{.threads = 1, .forced = {}});
  DeviceContext& context = runtime.adopt(std::make_unique<NullDevice>());
  const std::vector<Row> rows = make_rows(context);
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  if (args.size() == 4 && args[0] == "--op" && args[2] == "--count") {
    for (const Row& row : rows)
      if (row.name == args[1]) {
        row.run();
        measured_region(row.run, std::atoi(argv[4]));
        return 0;
      }
    std::fprintf(stderr, "scheduler_bench: no row '%s'\n", argv[2]);
    return 2;
  }
  if (args.size() == 4 && args[0] == "--steps" && args[2] == "--device")
    return measure_steps(std::max(1, std::atoi(argv[2])), Device::parse(args[3]), nanoseconds_of(rows[1]));
  const bool json = args.size() == 1 && args[0] == "--json";
  if (!args.empty() && !json) {
    std::fprintf(stderr, "scheduler_bench [--json | --op NAME --count N | --steps N --device D]\n");
    return 2;
  }
  if (json) std::printf("{\"unit\":\"ns\",\"rows\":[");
  for (const Row& row : rows) {
    const double ns = nanoseconds_of(row);
    if (json)
      std::printf("%s{\"row\":\"%s\",\"ns\":%.1f}", &row == rows.data() ? "" : ",", row.name, ns);
    else
      std::printf("%-17s %7.1f ns\n", row.name, ns);
  }
  if (json) std::printf("]}\n");
  return 0;
}

}  // namespace
}  // namespace gpunn

int main(int argc, char** argv) { return gpunn::run(argc, argv); }
