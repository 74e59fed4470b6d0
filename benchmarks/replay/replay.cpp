#include "benchmarks/replay/replay.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>

#include "benchmarks/replay/simulated_device.h"
#include "benchmarks/replay/torch_allocator.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"

namespace gpunn::replay {

namespace {

using Clock = std::chrono::steady_clock;

/// The system's allocator in the shape of the others.
class Malloc final : public MemoryResource {
 public:
  void* allocate(std::size_t bytes, RawStream) override {
    void* const pointer = std::malloc(bytes);
    if (!pointer) throw OutOfMemory("malloc has nothing");
    return pointer;
  }
  void deallocate(void* pointer, std::size_t, RawStream) noexcept override { std::free(pointer); }
  void record_use(void*, RawStream) override {}
  std::size_t trim() override { return 0; }
  MemoryStats stats() const override { return {}; }
  void reset_peaks() override {}
};

/// Device, streams and allocator of one replay.
struct Bench {
  std::unique_ptr<SimulatedDevice> simulated;
  std::unique_ptr<DeviceApi> cpu;
  std::vector<RawStream> streams;
  std::unique_ptr<MemoryResource> resource;

  Bench(const std::string& allocator, std::uint32_t stream_count, const ReplayOptions& options) {
    if (allocator == "caching" || allocator == "torch")
      simulated = std::make_unique<SimulatedDevice>(options.device_bytes, options.lag);
    else
      cpu = make_cpu_device_api();
    DeviceApi& api = simulated ? *simulated : *cpu;
    for (std::uint32_t i = 0; i < stream_count; ++i) streams.push_back(api.create_stream(0));
    if (allocator == "caching")
      resource = make_caching_allocator(api);
    else if (allocator == "torch")
      resource = make_torch_allocator(api);
    else if (allocator == "host")
      resource = make_host_allocator(api);
    else if (allocator == "malloc")
      resource = std::make_unique<Malloc>();
    else
      detail::throw_invalid("no allocator '" + allocator + "'; there are: caching torch host malloc");
  }
};

/// One pass; blocks that stay live to the end are given back then.
void run(const Trace& trace, Bench& bench) {
  struct Block {
    void* pointer = nullptr;
    std::size_t bytes = 0;
    RawStream stream = nullptr;
  };
  std::vector<Block> blocks(trace.slots);
  MemoryResource& resource = *bench.resource;
  const auto give_back = [&] {
    for (const Block& block : blocks) resource.deallocate(block.pointer, block.bytes, block.stream);
  };
  try {
    for (const Event& event : trace.events) {
      if (bench.simulated) bench.simulated->tick();
      Block& block = blocks[event.slot];
      const RawStream stream = bench.streams[event.stream];
      switch (event.kind) {
        case Event::Kind::alloc:
          block = {resource.allocate(event.bytes, stream), event.bytes, stream};
          break;
        case Event::Kind::use:
          resource.record_use(block.pointer, stream);
          break;
        case Event::Kind::free:
          resource.deallocate(block.pointer, block.bytes, stream);
          block = {};
      }
    }
  } catch (...) {
    give_back();
    throw;
  }
  give_back();
}

double timed(const Trace& trace, Bench& bench, int threads) {
  const auto start = Clock::now();
  if (threads <= 1) {
    run(trace, bench);
  } else {
    std::vector<std::jthread> workers;
    for (int i = 0; i < threads; ++i) workers.emplace_back([&] { run(trace, bench); });
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

bool real(const std::string& allocator) { return allocator == "host" || allocator == "malloc"; }

std::string reason_to_skip(const Trace& trace, const std::string& allocator, const ReplayOptions& options) {
  if (!real(allocator)) return {};
  std::size_t free_bytes = 0, total_bytes = 0;
  make_cpu_device_api()->memory_info(free_bytes, total_bytes);
  const std::size_t wanted = trace.peak_live_bytes * static_cast<std::size_t>(std::max(1, options.threads));
  return wanted > free_bytes / 4 ? "larger than a quarter of this machine's memory" : "";
}

}  // namespace

double ReplayResult::ratio() const {
  return peak_live_bytes == 0
             ? 0
             : static_cast<double>(peak_reserved_bytes) / static_cast<double>(peak_live_bytes);
}

std::vector<std::string> allocator_names() { return {"caching", "torch", "host", "malloc"}; }

ReplayResult replay(const Trace& trace, const std::string& allocator, const ReplayOptions& options) {
  ReplayResult result;
  result.allocator = allocator;
  result.skipped = reason_to_skip(trace, allocator, options);
  Bench bench(allocator, trace.streams, options);
  if (!result.skipped.empty()) return result;
  try {
    run(trace, bench);
    const MemoryStats stats = bench.resource->stats();
    result.peak_live_bytes = trace.peak_live_bytes;
    result.peak_reserved_bytes = stats.peak_reserved_bytes;
    result.device_allocations = stats.device_allocations;
    if (bench.simulated) result.waits = bench.simulated->waits();
    double best = 0;
    for (int i = 0; i < options.rounds; ++i) {
      const double took = timed(trace, bench, options.threads);
      best = best == 0 ? took : std::min(best, took);
    }
    // Every allocation is given back, if only at the end.
    result.nanoseconds = best / (2 * static_cast<double>(trace.allocations));
    bench.resource.reset();
    if (bench.simulated) result.leaked_bytes = bench.simulated->used_bytes();
  } catch (const OutOfMemory& e) {
    result = {};
    result.allocator = allocator;
    result.skipped = e.what();
  }
  return result;
}

}  // namespace gpunn::replay
