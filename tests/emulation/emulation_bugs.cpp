// emulation_bugs NAME: runs one planted bug or its correct twin and says what came out: "right answer" (exit
// 0), "WRONG ANSWER" (1) or "CUDA ERROR" (2). bug_test.cpp runs it in each build and checks who notices what.

#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "tests/emulation/bug_kernels.h"
#include "tests/emulation/coresident_kernels.h"
#include "tests/emulation/device_array.h"
#include "tests/emulation/hopper_kernels.h"

namespace gpunn::test {
namespace {

constexpr int kCount = 256;

std::vector<float> small_numbers(int n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 7) + 1.0f;
  return values;
}

bool near(float value, double expected) { return std::fabs(value - expected) < 1e-3; }  // false for NaN

double sum_of(const std::vector<float>& x, int first, int n) {
  double sum = 0;
  for (int i = first; i < first + n; ++i) sum += x[static_cast<std::size_t>(i)];
  return sum;
}

// Runs a kernel from x to y (kCount elements each) and compares y[i] with expected(i) for i in [first, last).
bool check(const std::function<cudaError_t(const float*, float*)>& launch, int first, int last,
           const std::function<double(int)>& expected) {
  DeviceArray<float> x(small_numbers(kCount)), y(kCount);
  require_success(launch(x.data(), y.data()), "launch");
  const auto& result = y.download();
  bool right = true;
  for (int i = first; i < last; ++i) right &= near(result[static_cast<std::size_t>(i)], expected(i));
  return right;
}

float x_at(int i) { return static_cast<float>(i % 7) + 1.0f; }

bool two_sums(SumBug bug) {
  const double sum = sum_of(small_numbers(kCount), 0, kSumThreads);
  return check([=](auto* x, auto* y) { return launch_two_sums(bug, x, y); }, 0, kSumThreads,
               [=](int) { return 3 * sum; });
}

bool reverse(bool correct) {
  return check([=](auto* x, auto* y) { return launch_reverse(correct, x, y); }, 0, kReverseThreads,
               [](int i) { return x_at((i & 32) + 31 - (i & 31)); });
}

bool last_block_sum(bool correct) {
  DeviceArray<float> partial(kFenceBlocks);
  DeviceArray<unsigned> counter(std::size_t{1});
  counter.fill_zero();
  return check(
      [&](auto* x, auto* y) { return launch_last_block_sum(correct, x, partial.data(), counter.data(), y); },
      0, 1, [](int) { return sum_of(small_numbers(kCount), 0, kFenceBlocks); });
}

bool async_reverse(bool correct) {
  return check([=](auto* x, auto* y) { return launch_async_reverse(correct, x, y); }, 0, kTileThreads,
               [](int i) { return x_at(kTileThreads - 1 - i); });
}

bool static_offset(int offset) {
  return check([=](auto* x, auto* y) { return launch_static_offset(offset, x, y); }, offset, kTileThreads,
               [=](int i) { return x_at(i - offset); });
}

bool dynamic_offset(int offset) {
  return check([=](auto* x, auto* y) { return launch_dynamic_offset(offset, x, y); }, offset, kTileThreads,
               [=](int i) { return x_at(i - offset); });
}

bool copy_all(bool correct) {
  const bool right =
      check([=](auto* x, auto* y) { return launch_copy(correct, x, y, kCount); }, 0, kCount, x_at);
  require_success(cudaGetLastError(), "after the memory was freed");  // where a plain build finds the overrun
  return right;
}

bool partials(bool correct, bool maximum) {
  const auto x = small_numbers(kCount);
  double expected = 0;
  for (int warp = 0; warp < kPartialWarps; ++warp) {
    const double sum = sum_of(x, warp * 32, 32);
    expected = maximum ? std::fmax(expected, sum) : expected + sum;
  }
  return check([=](auto* from, auto* to) { return launch_partials(correct, maximum, from, to); }, 0,
               kPartialWarps * 32, [=](int) { return expected; });
}

bool vector_sum(int first) {
  return check([=](auto* x, auto* y) { return launch_vector_sum(first, x, y); }, 0, 32,
               [=](int i) { return sum_of(small_numbers(kCount), first + 4 * i, 4); });
}

bool divergent_barrier(bool correct) {
  return check([=](auto* x, auto* y) { return launch_divergent_barrier(correct, x, y); }, 0, kReverseThreads,
               x_at);
}

bool early_exit(bool correct) {
  return check([=](auto* x, auto* y) { return launch_early_exit(correct, x, y, 50); }, 0, 50, x_at);
}

bool half_shuffle(bool correct) {
  return check([=](auto* x, auto* y) { return launch_half_shuffle(correct, x, y); }, 0, kReverseThreads,
               [](int i) { return i % 32 < 16 ? x_at(i) + x_at(i ^ 1) : x_at(i); });
}

bool block_counts(bool correct) {
  return check(
      [=](auto*, auto* y) {
        require_success(cudaMemset(y, 0, kCount * sizeof(float)), "cudaMemset");
        return launch_block_counts(correct, y);
      },
      0, kRaceThreads, [](int) { return kRaceBlocks * kRaceRounds; });
}

bool spin(bool correct) {
  DeviceArray<unsigned> flag(std::vector<unsigned>{correct ? 1u : 0u});
  require_success(launch_spin(flag.data()), "launch");
  require_success(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  return true;
}

enum class StreamBug { none, no_event, no_event_late, host_reads_early };

// Two kernels in two streams and a copy back: z = 3 (2 x).
bool two_streams(StreamBug bug) {
  DeviceArray<float> x(small_numbers(kCount)), y(kCount), z(kCount);
  cudaStream_t first, second;
  cudaEvent_t event;
  require_success(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking), "stream");
  require_success(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking), "stream");
  require_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
  float* result = nullptr;
  require_success(cudaMallocHost(&result, x.bytes()), "cudaMallocHost");
  const auto a_while = std::chrono::milliseconds(30);
  require_success(launch_scale(x.data(), y.data(), 2.0f, kCount, first), "launch");
  if (bug == StreamBug::no_event_late) std::this_thread::sleep_for(a_while);  // by luck the first has ended
  if (bug == StreamBug::none || bug == StreamBug::host_reads_early) {
    require_success(cudaEventRecord(event, first), "record");
    require_success(cudaStreamWaitEvent(second, event), "wait");
  }
  require_success(launch_scale(y.data(), z.data(), 3.0f, kCount, second), "launch");
  require_success(cudaMemcpyAsync(result, z.data(), x.bytes(), cudaMemcpyDeviceToHost, second), "copy");
  if (bug == StreamBug::host_reads_early) {
    std::this_thread::sleep_for(a_while);
  } else {
    require_success(cudaStreamSynchronize(second), "synchronise");
  }
  bool right = true;
  for (int i = 0; i < kCount; ++i) right &= near(result[i], 6.0 * x_at(i));
  require_success(cudaDeviceSynchronize(), "synchronise");
  cudaFreeHost(result);
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
  cudaEventDestroy(event);
  return right;
}

bool hopper_tile(HopperBug bug) {
  constexpr int kSide = 64;
  std::vector<__nv_bfloat16> a(kSide * kSide), b(kSide * kSide);
  for (int i = 0; i < kSide * kSide; ++i) {
    a[static_cast<std::size_t>(i)] = __float2bfloat16_rn(static_cast<float>(i * 7 % 13 - 6) / 8.0f);
    b[static_cast<std::size_t>(i)] = __float2bfloat16_rn(static_cast<float>(i * 5 % 11 - 5) / 8.0f);
  }
  DeviceArray<__nv_bfloat16> device_a(a), device_b(b);
  DeviceArray<float> c(kSide * kSide);
  require_success(launch_hopper_tile(bug, device_a.data(), device_b.data(), c.data()), "launch");
  const auto& result = c.download();
  bool right = true;
  for (std::size_t i = 0; i < kSide; ++i)
    for (std::size_t j = 0; j < kSide; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < kSide; ++k)
        sum += double{__bfloat162float(a[i * kSide + k])} * __bfloat162float(b[j * kSide + k]);
      right &= near(result[i * kSide + j], sum);
    }
  return right;
}

bool exchange(GridBug bug) {
  DeviceArray<float> x(small_numbers(kCount)), values(kCount), y(kCount);
  DeviceArray<unsigned> counter(std::vector<unsigned>{0});
  require_success(launch_exchange(bug, kExchangeShape, {x.data(), values.data(), y.data(), counter.data()}),
                  "launch");
  return near_all(y.download(), expected_exchange(x.host, kExchangeShape));
}

// Two co-resident launches in two streams: the second takes what the first wrote before its last barrier.
bool two_grids(bool event) {
  DeviceArray<float> x(small_numbers(kCount)), values(kCount), y(kCount), more_values(kCount), z(kCount);
  DeviceArray<unsigned> counters(std::vector<unsigned>{0, 0});
  cudaStream_t first, second;
  cudaEvent_t end;
  require_success(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking), "stream");
  require_success(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking), "stream");
  require_success(cudaEventCreateWithFlags(&end, cudaEventDisableTiming), "event");
  require_success(launch_exchange(GridBug::none, kExchangeShape,
                                  {x.data(), values.data(), y.data(), counters.data()}, first),
                  "launch");
  if (event) {
    require_success(cudaEventRecord(end, first), "record");
    require_success(cudaStreamWaitEvent(second, end), "wait");
  } else {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // by luck the first has ended
  }
  require_success(launch_exchange(GridBug::none, kExchangeShape,
                                  {values.data(), more_values.data(), z.data(), counters.data() + 1}, second),
                  "launch");
  require_success(cudaDeviceSynchronize(), "synchronise");
  cudaStreamDestroy(first);
  cudaStreamDestroy(second);
  cudaEventDestroy(end);
  ExchangeShape before_last = kExchangeShape;
  --before_last.rounds;
  return near_all(z.download(), expected_exchange(expected_exchange(x.host, before_last), kExchangeShape));
}

bool grid_shared(int offset) {
  DeviceArray<unsigned> counter(std::vector<unsigned>{0});
  return check([&](auto* x, auto* y) { return launch_grid_shared_offset(offset, x, y, counter.data()); }, 0,
               kCount, x_at);
}

bool higher_block(bool coresident) {
  DeviceArray<unsigned> flags(kHigherBlocks);
  flags.fill_zero();
  require_success(launch_higher_block(coresident, flags.data()), "launch");
  require_success(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  return true;
}

// Leaves main with a kernel running and more waiting behind it.
[[noreturn]] void exit_with_pending_work() {
  DeviceArray<float> y(kCount);
  cudaStream_t stream;
  require_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  for (int i = 0; i < 20; ++i) require_success(launch_long(y.data(), 2'000'000, stream), "launch");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::exit(7);
}

// The same on a fiber of co-resident blocks, after kernels that ran in the ordinary way.
[[noreturn]] void exit_with_a_grid_running() {
  DeviceArray<float> x(small_numbers(kCount)), values(kCount), y(kCount);
  DeviceArray<unsigned> counter(std::vector<unsigned>{0});
  for (int i = 0; i < 20; ++i) require_success(launch_block_counts(true, y.data()), "launch");
  require_success(cudaDeviceSynchronize(), "synchronise");
  constexpr ExchangeShape kEndless{2, 64, std::numeric_limits<int>::max()};
  const ExchangeMemory memory{x.data(), values.data(), y.data(), counter.data()};
  require_success(launch_exchange(GridBug::none, kEndless, memory), "launch");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::exit(7);
}

void print_devices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  std::printf("%d devices, %s\n", count, cudaGetErrorName(error));
  size_t free_bytes = 0, total_bytes = 0;
  if (error == cudaSuccess && cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess)
    std::printf("%zu MiB\n", total_bytes >> 20);
}

struct Case {
  const char* name;
  std::function<bool()> run;
};

const Case kCases[] = {
    {"sync_ok", [] { return two_sums(SumBug::none); }},
    {"sync_raw", [] { return two_sums(SumBug::no_barrier_after_write); }},
    {"sync_war", [] { return two_sums(SumBug::no_barrier_before_reuse); }},
    {"syncwarp_ok", [] { return reverse(true); }},
    {"syncwarp", [] { return reverse(false); }},
    {"fence_ok", [] { return last_block_sum(true); }},
    {"fence", [] { return last_block_sum(false); }},
    {"stream_ok", [] { return two_streams(StreamBug::none); }},
    {"stream_event", [] { return two_streams(StreamBug::no_event); }},
    {"stream_event_late", [] { return two_streams(StreamBug::no_event_late); }},
    {"host_read", [] { return two_streams(StreamBug::host_reads_early); }},
    {"cp_async_ok", [] { return async_reverse(true); }},
    {"cp_async", [] { return async_reverse(false); }},
    {"shared_ok", [] { return static_offset(0) && dynamic_offset(0); }},
    {"shared_oob_static", [] { return static_offset(1); }},
    {"shared_oob_neighbour", [] { return static_offset(100); }},
    {"shared_oob_dynamic", [] { return dynamic_offset(1); }},
    {"global_ok", [] { return copy_all(true); }},
    {"global_oob", [] { return copy_all(false); }},
    {"uninit_ok", [] { return partials(true, false) && partials(true, true); }},
    {"uninit_sum", [] { return partials(false, false); }},
    {"uninit_max", [] { return partials(false, true); }},
    {"misaligned_ok", [] { return vector_sum(4); }},
    {"misaligned", [] { return vector_sum(1); }},
    {"divergent_ok", [] { return divergent_barrier(true); }},
    {"divergent", [] { return divergent_barrier(false); }},
    {"early_exit_ok", [] { return early_exit(true); }},
    {"early_exit", [] { return early_exit(false); }},
    {"shuffle_mask_ok", [] { return half_shuffle(true); }},
    {"shuffle_mask", [] { return half_shuffle(false); }},
    {"block_race_ok", [] { return block_counts(true); }},
    {"block_race", [] { return block_counts(false); }},
    {"livelock_ok", [] { return spin(true); }},
    {"livelock", [] { return spin(false); }},
    {"hopper_ok", [] { return hopper_tile(HopperBug::none); }},
    {"proxy_fence", [] { return hopper_tile(HopperBug::no_proxy_fence); }},
    {"mbarrier_no_wait", [] { return hopper_tile(HopperBug::no_copy_wait); }},
    {"mbarrier_parity", [] { return hopper_tile(HopperBug::wrong_parity); }},
    {"mbarrier_bytes", [] { return hopper_tile(HopperBug::wrong_bytes); }},
    {"wgmma_no_wait", [] { return hopper_tile(HopperBug::no_product_wait); }},
    {"wgmma_stride", [] { return hopper_tile(HopperBug::wrong_stride); }},
    {"wgmma_reuse", [] { return hopper_tile(HopperBug::early_reuse); }},
    {"tma_misaligned", [] { return hopper_tile(HopperBug::misaligned); }},
    {"grid_ok", [] { return exchange(GridBug::none); }},
    {"grid_split_ok", [] { return exchange(GridBug::none_split); }},
    {"grid_before_read", [] { return exchange(GridBug::no_barrier_before_read); }},
    {"grid_before_reuse", [] { return exchange(GridBug::no_barrier_before_reuse); }},
    {"grid_write_after_arrive", [] { return exchange(GridBug::write_after_arrive); }},
    {"grid_release", [] { return exchange(GridBug::no_release); }},
    {"grid_acquire", [] { return exchange(GridBug::no_acquire); }},
    {"grid_missing_arrival", [] { return exchange(GridBug::missing_arrival); }},
    {"grid_ordinary_launch", [] { return exchange(GridBug::ordinary_launch); }},
    {"grid_streams_ok", [] { return two_grids(true); }},
    {"grid_streams_event", [] { return two_grids(false); }},
    {"grid_shared_ok", [] { return grid_shared(0); }},
    {"grid_shared_oob", [] { return grid_shared(1); }},
    {"higher_block_ok", [] { return higher_block(true); }},
    {"higher_block", [] { return higher_block(false); }},
};

int run(const char* name) {
  if (std::strcmp(name, "exit_pending") == 0) exit_with_pending_work();
  if (std::strcmp(name, "exit_grid") == 0) exit_with_a_grid_running();
  if (std::strcmp(name, "devices") == 0) {
    print_devices();
    return 0;
  }
  for (const Case& c : kCases) {
    if (std::strcmp(c.name, name) != 0) continue;
    const bool right = c.run();
    std::printf("%s: %s\n", name, right ? "right answer" : "WRONG ANSWER");
    return right ? 0 : 1;
  }
  std::fprintf(stderr, "no case '%s'\n", name);
  return 9;
}

}  // namespace
}  // namespace gpunn::test

int main(int argc, char** argv) { return gpunn::test::run(argc > 1 ? argv[1] : ""); }
