#include "tests/support/failing_cpu.h"

#include <atomic>

#include "gpunn/core/detail/wrap_cpu_api.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"

namespace gpunn::testing {
namespace {

std::atomic<long> left{0}, failed{0}, live{0};
std::atomic<bool> armed{false};

class Api final : public DeviceApi {
 public:
  explicit Api(std::unique_ptr<DeviceApi> cpu) : cpu_(std::move(cpu)) {}

  DeviceType type() const noexcept override { return DeviceType::cpu; }
  int index() const noexcept override { return 0; }
  const DeviceInfo& info() const noexcept override { return cpu_->info(); }
  // So little that the allocator's share of it, which it would keep for reuse, is nothing.
  void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) override {
    free_bytes = total_bytes = 8;
  }
  void* allocate(std::size_t bytes) override {
    if (armed && --left <= 0) {
      ++failed;
      throw OutOfMemory("injected");
    }
    void* const p = cpu_->allocate(bytes);
    ++live;
    return p;
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    --live;
    cpu_->deallocate(pointer, bytes);
  }
  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void deallocate_host(void* pointer, std::size_t bytes) noexcept override { deallocate(pointer, bytes); }
  RawStream create_stream(int priority) override { return cpu_->create_stream(priority); }
  void destroy_stream(RawStream stream) noexcept override { cpu_->destroy_stream(stream); }
  void synchronize_stream(RawStream) override {}
  void synchronize_device() override {}
  int stream_priority(RawStream stream) override { return cpu_->stream_priority(stream); }
  bool query_stream(RawStream stream) override { return cpu_->query_stream(stream); }
  RawEvent create_timed_event() override { return cpu_->create_timed_event(); }
  double elapsed_milliseconds(RawEvent start, RawEvent end) override {
    return cpu_->elapsed_milliseconds(start, end);
  }
  RawEvent create_event() override { return cpu_->create_event(); }
  void destroy_event(RawEvent) noexcept override {}
  void record_event(RawEvent, RawStream) override {}
  void wait_event(RawStream, RawEvent) override {}
  bool query_event(RawEvent) override { return true; }
  void synchronize_event(RawEvent) override {}
  void copy(void* dst, const void* src, std::size_t bytes, CopyKind kind, RawStream stream) override {
    cpu_->copy(dst, src, bytes, kind, stream);
  }
  void fill_bytes(void* dst, int value, std::size_t bytes, RawStream stream) override {
    cpu_->fill_bytes(dst, value, bytes, stream);
  }
  void host_callback(RawStream stream, void (*callback)(void*), void* argument) override {
    cpu_->host_callback(stream, callback, argument);
  }

 private:
  std::unique_ptr<DeviceApi> cpu_;
};

}  // namespace

FailingCpu::FailingCpu() {
  live = 0;
  detail::wrap_cpu_api = [](std::unique_ptr<DeviceApi> cpu) -> std::unique_ptr<DeviceApi> {
    return std::make_unique<Api>(std::move(cpu));
  };
}

FailingCpu::~FailingCpu() {
  detail::wrap_cpu_api = nullptr;
  fail_from(0);
}

void FailingCpu::fail_from(long n) {
  armed = n > 0;
  left = n;
  failed = 0;
}

long FailingCpu::failures() { return failed; }
long FailingCpu::live_blocks() { return live; }

}  // namespace gpunn::testing
