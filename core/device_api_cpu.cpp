// The CPU as a device: one stream, on which everything has happened by the time a call returns.
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/cpu_count.h"
#include "gpunn/core/detail/wrap_cpu_api.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"

namespace gpunn {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t physical_bytes() noexcept {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) : 0;
}

// Value of a "name : text" line, or of "name: number kB".
std::string field_of(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? std::string() : line.substr(start);
  }
  return {};
}

class CpuDeviceApi final : public DeviceApi {
 public:
  DeviceType type() const noexcept override { return DeviceType::cpu; }
  int index() const noexcept override { return 0; }

  // Read on first use: a program's start does not pay for it.
  const DeviceInfo& info() const noexcept override {
    std::call_once(described_, [this] {
      try {
        info_.name = field_of("/proc/cpuinfo", "model name");
        info_.multiprocessors = detail::usable_cores();
      } catch (...) {
        info_.multiprocessors = 1;  // a machine without these files is still a CPU
      }
      if (info_.name.empty()) info_.name = "CPU";
      info_.memory_bytes = physical_bytes();
    });
    return info_;
  }

  void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) override {
    total_bytes = physical_bytes();
    free_bytes = std::strtoull(field_of("/proc/meminfo", "MemAvailable").c_str(), nullptr, 10) * 1024;
  }

  void* allocate(std::size_t bytes) override {
    // The system grants more than there is and ends the process at the first touch; refuse it here, where it
    // can be said.
    const std::size_t physical = physical_bytes();
    void* p = nullptr;
    if (bytes < detail::kMaxRequest && (physical == 0 || bytes <= physical)) {
      const std::size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
      if (posix_memalign(&p, alignment, detail::round_up(bytes, kAlignment)) != 0) p = nullptr;
#if defined(MADV_HUGEPAGE)
      // Whole huge pages only, so that no more memory is touched than was asked for. A hint: it may fail.
      if (p && bytes >= kHugePage)
        static_cast<void>(madvise(p, bytes / kHugePage * kHugePage, MADV_HUGEPAGE));
#endif
    }
    if (!p)
      throw OutOfMemory(detail::concat(where(), "out of memory on cpu: requested ", detail::bytes_text(bytes),
                                       ", the machine has ", detail::bytes_text(physical)));
    return p;
  }
  void deallocate(void* pointer, std::size_t) noexcept override { std::free(pointer); }
  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void deallocate_host(void* pointer, std::size_t bytes) noexcept override { deallocate(pointer, bytes); }

  RawStream create_stream(int) override { return &stream_; }
  void destroy_stream(RawStream) noexcept override {}
  int stream_priority(RawStream) override { return 0; }
  bool query_stream(RawStream) override { return true; }
  void synchronize_stream(RawStream) override {}
  void synchronize_device() override {}

  RawEvent create_event() override { return &stream_; }
  // Only timed events are objects: for the others there is nothing to remember.
  RawEvent create_timed_event() override { return new Clock::time_point; }
  void destroy_event(RawEvent event) noexcept override {
    if (event != &stream_) delete static_cast<Clock::time_point*>(event);
  }
  void record_event(RawEvent event, RawStream) override {
    if (event != &stream_) *static_cast<Clock::time_point*>(event) = Clock::now();
  }
  double elapsed_milliseconds(RawEvent start, RawEvent end) override {
    return std::chrono::duration<double, std::milli>(*static_cast<Clock::time_point*>(end) -
                                                     *static_cast<Clock::time_point*>(start))
        .count();
  }
  void wait_event(RawStream, RawEvent) override {}
  bool query_event(RawEvent) override { return true; }
  void synchronize_event(RawEvent) override {}

  void copy(void* dst, const void* src, std::size_t bytes, CopyKind, RawStream) override {
    if (bytes) std::memcpy(dst, src, bytes);
  }
  void fill_bytes(void* dst, int value, std::size_t bytes, RawStream) override {
    if (bytes) std::memset(dst, value, bytes);
  }
  void host_callback(RawStream, void (*callback)(void*), void* argument) override { callback(argument); }

 private:
  mutable std::once_flag described_;
  mutable DeviceInfo info_;
  char stream_ = 0;  // only its address is used
};

}  // namespace

std::unique_ptr<DeviceApi> (*detail::wrap_cpu_api)(std::unique_ptr<DeviceApi>) = nullptr;

std::unique_ptr<DeviceApi> make_cpu_device_api() {
  std::unique_ptr<DeviceApi> api = std::make_unique<CpuDeviceApi>();
  return detail::wrap_cpu_api ? detail::wrap_cpu_api(std::move(api)) : std::move(api);
}

}  // namespace gpunn
