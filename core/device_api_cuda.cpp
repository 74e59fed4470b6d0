// A CUDA device. The same text serves the emulated one: <cuda_runtime_api.h> is then the emulation's.
#include <cuda_runtime_api.h>

#include <algorithm>

#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/detail/cuda_probe.h"
#include "gpunn/core/detail/virtual_memory.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"

namespace gpunn {
namespace {

cudaStream_t stream_of(RawStream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(RawEvent event) { return static_cast<cudaEvent_t>(event); }

cudaMemcpyKind kind_of(CopyKind kind) {
  switch (kind) {
    case CopyKind::host_to_device:
      return cudaMemcpyHostToDevice;
    case CopyKind::device_to_host:
      return cudaMemcpyDeviceToHost;
    case CopyKind::device_to_device:
      break;
  }
  return cudaMemcpyDeviceToDevice;
}

const char* words_of(CopyKind kind) {
  switch (kind) {
    case CopyKind::host_to_device:
      return "copy to the device";
    case CopyKind::device_to_host:
      return "copy to the host";
    case CopyKind::device_to_device:
      break;
  }
  return "copy on the device";
}

class CudaDeviceApi final : public DeviceApi {
 public:
  explicit CudaDeviceApi(int index) : index_(index) {
    GPUNN_CUDA(cudaSetDevice(index));
    cudaDeviceProp properties{};
    GPUNN_CUDA(cudaGetDeviceProperties(&properties, index));
    info_.name = properties.name;
    info_.memory_bytes = properties.totalGlobalMem;
    info_.compute_major = properties.major;
    info_.compute_minor = properties.minor;
    info_.multiprocessors = properties.multiProcessorCount;
    info_.shared_bytes_optin = properties.sharedMemPerBlockOptin;
    info_.emulated = GPUNN_EMULATED != 0;
    GPUNN_CUDA(cudaDeviceGetStreamPriorityRange(&lowest_priority_, &highest_priority_));
    GPUNN_CUDA(cudaDeviceSynchronize());  // opens the context, and says whether it answers
    detail::watch_process_exit();
    detail::forget_cuda_loss(index);
    virtual_memory_.open(index);
  }

  DeviceType type() const noexcept override { return DeviceType::cuda; }
  int index() const noexcept override { return index_; }
  const DeviceInfo& info() const noexcept override { return info_; }

  void activate() override {
    detail::check_cuda_alive(index_);
    GPUNN_CUDA(cudaSetDevice(index_));
  }
  void memory_info(std::size_t& free_bytes, std::size_t& total_bytes) override {
    activate();
    GPUNN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  }

  void* allocate(std::size_t bytes) override {
    activate();
    void* pointer = nullptr;
    GPUNN_CUDA(cudaMalloc(&pointer, bytes));
    return pointer;
  }
  void deallocate(void* pointer, std::size_t) noexcept override {
    if (enter()) GPUNN_CUDA_NOTHROW(cudaFree(pointer));
  }
  void* allocate_host(std::size_t bytes) override {
    activate();
    void* pointer = nullptr;
    GPUNN_CUDA(cudaMallocHost(&pointer, bytes));
    return pointer;
  }
  void deallocate_host(void* pointer, std::size_t) noexcept override {
    if (enter()) GPUNN_CUDA_NOTHROW(cudaFreeHost(pointer));
  }

  std::size_t page_bytes() noexcept override { return virtual_memory_.page_bytes(); }
  void* reserve_addresses(std::size_t bytes) override {
    activate();
    return virtual_memory_.reserve(bytes);
  }
  void release_addresses(void* base, std::size_t bytes) noexcept override {
    if (enter()) virtual_memory_.release(base, bytes);
  }
  void map_pages(void* at, std::size_t bytes) override {
    activate();
    virtual_memory_.map(at, bytes);
  }
  void unmap_pages(void* at, std::size_t bytes) noexcept override {
    if (enter()) virtual_memory_.unmap(at, bytes);
  }

  RawStream create_stream(int priority) override {
    activate();
    cudaStream_t stream = nullptr;
    // CUDA's numbers fall with rising priority, as ours do.
    GPUNN_CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                            std::clamp(priority, highest_priority_, lowest_priority_)));
    return stream;
  }
  void destroy_stream(RawStream stream) noexcept override {
    if (enter()) GPUNN_CUDA_NOTHROW(cudaStreamDestroy(stream_of(stream)));
  }
  int stream_priority(RawStream stream) override {
    activate();
    int priority = 0;
    GPUNN_CUDA(cudaStreamGetPriority(stream_of(stream), &priority));
    return priority;
  }
  bool query_stream(RawStream stream) override {
    activate();
    return finished(cudaStreamQuery(stream_of(stream)));
  }
  void synchronize_stream(RawStream stream) override {
    activate();
    GPUNN_CUDA(cudaStreamSynchronize(stream_of(stream)));
  }
  void synchronize_device() override {
    activate();
    GPUNN_CUDA(cudaDeviceSynchronize());
  }

  RawEvent create_event() override { return make_event(cudaEventDisableTiming); }
  RawEvent create_timed_event() override { return make_event(cudaEventDefault); }
  double elapsed_milliseconds(RawEvent start, RawEvent end) override {
    activate();
    float milliseconds = 0;
    GPUNN_CUDA(cudaEventElapsedTime(&milliseconds, event_of(start), event_of(end)));
    return milliseconds;
  }
  void destroy_event(RawEvent event) noexcept override {
    if (enter()) GPUNN_CUDA_NOTHROW(cudaEventDestroy(event_of(event)));
  }
  void record_event(RawEvent event, RawStream stream) override {
    activate();
    GPUNN_CUDA(cudaEventRecord(event_of(event), stream_of(stream)));
  }
  void wait_event(RawStream stream, RawEvent event) override {
    activate();
    GPUNN_CUDA(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0));
  }
  bool query_event(RawEvent event) override {
    activate();
    return finished(cudaEventQuery(event_of(event)));
  }
  void synchronize_event(RawEvent event) override {
    activate();
    GPUNN_CUDA(cudaEventSynchronize(event_of(event)));
  }

  void copy(void* dst, const void* src, std::size_t bytes, CopyKind kind, RawStream stream) override {
    if (bytes == 0) return;
    begin(words_of(kind), bytes, stream);
    GPUNN_CUDA(cudaMemcpyAsync(dst, src, bytes, kind_of(kind), stream_of(stream)));
    settle(words_of(kind), bytes, stream);
  }
  void fill_bytes(void* dst, int value, std::size_t bytes, RawStream stream) override {
    if (bytes == 0) return;
    begin("fill", bytes, stream);
    GPUNN_CUDA(cudaMemsetAsync(dst, value, bytes, stream_of(stream)));
    settle("fill", bytes, stream);
  }
  void host_callback(RawStream stream, void (*callback)(void*), void* argument) override {
    begin("host callback", 0, stream);
    GPUNN_CUDA(cudaLaunchHostFunc(stream_of(stream), callback, argument));
    settle("host callback", 0, stream);
  }

 private:
  void begin(const char* what, std::size_t bytes, RawStream stream) {
    activate();
    flight_recorder().record_copy(what, bytes, stream, index_);
  }
  void settle(const char* what, std::size_t bytes, RawStream stream) {
    if (!synchronous_) [[likely]]
      return;
    const std::string work = bytes ? detail::concat(what, " of ", bytes, " bytes") : what;
    const detail::WaitingFor waiting(work);
    GPUNN_CUDA(cudaStreamSynchronize(stream_of(stream)));
  }
  static bool finished(cudaError_t state) {
    if (state == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    GPUNN_CUDA(state);
    return true;
  }
  RawEvent make_event(unsigned flags) {
    activate();
    cudaEvent_t event = nullptr;
    GPUNN_CUDA(cudaEventCreateWithFlags(&event, flags));
    return event;
  }
  // For what runs in destructors. A lost device frees its memory with the process.
  bool enter() noexcept {
    if (!detail::cuda_alive(index_)) return false;
    return detail::note_cuda(static_cast<int>(cudaSetDevice(index_)), "cudaSetDevice(index_)", __FILE__,
                             __LINE__);
  }

  int index_;
  int lowest_priority_ = 0, highest_priority_ = 0;
  DeviceInfo info_;
  detail::VirtualMemory virtual_memory_;
};

}  // namespace

namespace detail {

CudaProbe probe_cuda() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return {count, GPUNN_EMULATED != 0, {}};
  static_cast<void>(cudaGetLastError());
  if (error == cudaSuccess) return {0, false, "there is no CUDA device"};
  const auto code = static_cast<int>(error);
  const char* words = code == 35    ? "the NVIDIA driver is missing or older than this build's CUDA"
                      : code == 100 ? "no NVIDIA GPU was found"
                                    : cudaGetErrorString(error);
  return {0, false, concat("no NVIDIA driver or GPU: ", words, " (CUDA error ", code, ")")};
}

}  // namespace detail

std::unique_ptr<DeviceApi> make_cuda_device_api(int index) {
  const auto probe = detail::probe_cuda();
  if (index < 0 || index >= probe.devices)
    detail::throw_unsupported(
        detail::concat("cuda:", index, " is not there: ", detail::absent_reason(probe)));
  return std::make_unique<CudaDeviceApi>(index);
}

}  // namespace gpunn
