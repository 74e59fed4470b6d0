// Cost of allocating and freeing on the hit path, where the memory was freed a moment ago: the allocators of
// devices and of the CPU beside malloc, in one thread and in eight.
//
//   alloc_bench [--json]               nanoseconds of CPU time per allocate + free, medians of 31 rounds
//   alloc_bench --row NAME --count N   runs one row N times in one thread, to count instructions:
//     valgrind --tool=callgrind --toggle-collect='measured_region*' alloc_bench --row device/one --count
//     100000
//
// "one": one block of 4 KiB comes and goes. "mixed": 32 blocks of 16 sizes up to 512 KiB are live, and a
// random one is replaced. Nobody touches the memory.
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/memory.h"

namespace {

constexpr int kThreads = 8, kRounds = 31, kOperations = 20'000;

struct Allocator {
  const char* name;
  std::function<void*(std::size_t)> allocate;
  std::function<void(void*, std::size_t)> free;
};

std::uint64_t next_random(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

/// Live blocks of one thread; what they cost to set up is not measured.
class Program {
 public:
  Program(const Allocator& allocator, bool mixed, int thread)
      : allocator_(allocator), state_(static_cast<std::uint64_t>(thread) + 1), blocks_(mixed ? 32 : 0) {
    for (auto& block : blocks_) take(block);
  }
  ~Program() {
    for (auto& [p, bytes] : blocks_) allocator_.free(p, bytes);
  }
  void run(int operations) {
    if (blocks_.empty()) {
      for (int i = 0; i < operations; ++i) allocator_.free(allocator_.allocate(4096), 4096);
      return;
    }
    for (int i = 0; i < operations; ++i) {
      auto& block = blocks_[next_random(state_) % blocks_.size()];
      allocator_.free(block.first, block.second);
      take(block);
    }
  }

 private:
  void take(std::pair<void*, std::size_t>& block) {
    block.second = std::size_t{300} << (next_random(state_) % 12);
    if (next_random(state_) % 2) block.second = std::min(block.second * 3 / 2, std::size_t{512} << 10);
    block.first = allocator_.allocate(block.second);
  }

  const Allocator& allocator_;
  std::uint64_t state_;
  std::vector<std::pair<void*, std::size_t>> blocks_;
};

/// A symbol of its own, so that callgrind can count what happens inside.
extern "C" __attribute__((noinline)) void measured_region(Program& program, int operations) {
  program.run(operations);
}

double thread_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// Median over rounds and threads of the CPU time per operation.
double nanoseconds(const Allocator& allocator, bool mixed, int threads) {
  std::vector<std::vector<double>> rounds(static_cast<std::size_t>(threads));
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t)
    running.emplace_back([&, t] {
      Program program(allocator, mixed, t);
      measured_region(program, kOperations);
      for (int r = 0; r < kRounds; ++r) {
        const double start = thread_nanoseconds();
        measured_region(program, kOperations);
        rounds[static_cast<std::size_t>(t)].push_back((thread_nanoseconds() - start) / kOperations);
      }
    });
  for (auto& thread : running) thread.join();
  std::vector<double> all;
  for (const auto& r : rounds) all.insert(all.end(), r.begin(), r.end());
  return median(all);
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  std::string_view row;
  int count = 100'000;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      json = true;
    } else if (word == "--row" && i + 1 < argc) {
      row = argv[++i];
    } else if (word == "--count" && i + 1 < argc) {
      count = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: alloc_bench [--json] [--row NAME [--count N]]\n");
      return 2;
    }
  }
  // The CPU stands in for a device: one stream, whose work is always done. What is measured does not reach
  // it.
  const auto api = gpunn::make_cpu_device_api();
  const gpunn::RawStream stream = api->create_stream(0);
  const auto device = gpunn::make_caching_allocator(*api);
  const auto host = gpunn::make_host_allocator(*api);
  const auto row_of = [&](const char* name, gpunn::MemoryResource& resource) {
    return Allocator{name, [&, stream](std::size_t bytes) { return resource.allocate(bytes, stream); },
                     [&, stream](void* p, std::size_t bytes) { resource.deallocate(p, bytes, stream); }};
  };
  const Allocator allocators[] = {row_of("device", *device),
                                  row_of("host", *host),
                                  {"malloc", [](std::size_t bytes) { return std::malloc(bytes); },
                                   [](void* p, std::size_t) { std::free(p); }}};
  for (const Allocator& allocator : allocators) {
    for (bool mixed : {false, true}) {
      const std::string name = std::string(allocator.name) + (mixed ? "/mixed" : "/one");
      if (!row.empty()) {
        if (row != name) continue;
        Program program(allocator, mixed, 0);
        program.run(kOperations);
        measured_region(program, count);
        return 0;
      }
      const double one = nanoseconds(allocator, mixed, 1), eight = nanoseconds(allocator, mixed, kThreads);
      if (json) {
        std::printf("{\"row\": \"%s\", \"ns_1_thread\": %.1f, \"cpu_ns_8_threads\": %.1f}\n", name.c_str(),
                    one, eight);
      } else {
        std::printf("%-14s %7.1f ns in one thread, %7.1f ns of CPU time in eight\n", name.c_str(), one,
                    eight);
      }
    }
  }
  if (row.empty()) return 0;
  std::fprintf(stderr, "alloc_bench: no row %s\n", std::string(row).c_str());
  return 2;
}
