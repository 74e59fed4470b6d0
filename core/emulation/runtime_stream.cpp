// Streams: a queue of closures and an OS thread each, detached and never joined, so that a process may end at
// any time.

#include <cuda_runtime_api.h>

#include <algorithm>
#include <thread>

#include "gpunn/core/emulation/runtime.h"

namespace gpunn::emu {

void Completion::complete() {
  edge_release(&edge_);
  const TsanQuiet quiet;
  const std::lock_guard lock(mutex_);
  time_ = std::chrono::steady_clock::now();
  done_ = true;
  changed_.notify_all();
}

void Completion::wait() {
  {
    const TsanQuiet quiet;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
  }
  edge_acquire(&edge_);
}

bool Completion::done() {
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(mutex_);
    if (!done_) return false;
  }
  edge_acquire(&edge_);
  return true;
}

std::shared_ptr<Stream> Stream::start(int device, bool blocking, int priority) {
  const TsanQuiet quiet;
  State& s = state();
  unsigned number = 0;
  {
    const std::lock_guard lock(s.mutex);
    number = s.newest_stream++;
  }
  auto stream = std::make_shared<Stream>(device, blocking, priority, number);
  std::thread([stream] { stream->serve(); }).detach();
  return stream;
}

void Stream::push(std::function<void()> run, bool marker) {
  Operation* operation = nullptr;
  {
    const TsanQuiet quiet;
    operation = new Operation{std::move(run), marker};
  }
  edge_release(&operation->edge);  // what the host did before: the only order that enqueueing creates
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(mutex_);
    if (!ended_) {
      queue_.push_back(operation);
      changed_.notify_one();
      return;
    }
  }
  // The marker of a wait that found the stream just before it was destroyed.
  edge_acquire(&idle_edge_);
  operation->run();
  const TsanQuiet quiet;
  delete operation;
}

// With jitter set, every other operation starts late: orders that a quiet machine never shows.
void Stream::delay(std::uint64_t& dice) const {
  const int limit = config().jitter_us;
  if (limit <= 0) return;
  dice = dice * 6364136223846793005u + 1442695040888963407u;
  const auto roll = dice >> 33;
  if ((roll & 1) != 0)
    std::this_thread::sleep_for(std::chrono::microseconds((roll >> 1) % static_cast<unsigned>(limit)));
}

void Stream::serve() {
  std::uint64_t dice = config().seed * 0x9e3779b97f4a7c15u + number_;
  for (;;) {
    Operation* operation = nullptr;
    {
      const TsanQuiet quiet;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
      if (queue_.empty()) {
        ended_ = true;
        return;
      }
      operation = queue_.front();
      queue_.pop_front();
      running_ = !operation->marker;
    }
    edge_acquire(&operation->edge);
    delay(dice);
    operation->run();
    edge_release(&idle_edge_);
    const TsanQuiet quiet;
    delete operation;
    const std::lock_guard lock(mutex_);
    running_ = false;
  }
}

std::shared_ptr<Completion> Stream::marker() {
  std::shared_ptr<Completion> completion;
  {
    const TsanQuiet quiet;
    completion = std::make_shared<Completion>();
  }
  push([completion] { completion->complete(); }, true);
  return completion;
}

bool Stream::idle() {
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(mutex_);
    if (running_ || !queue_.empty()) return false;
  }
  edge_acquire(&idle_edge_);
  return true;
}

void Stream::close() {
  const TsanQuiet quiet;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_one();
}

std::uintptr_t new_handle(State& locked) { return locked.newest_handle += 0x10; }

// Smaller numbers are more urgent, as on a GPU.
constexpr int kLowestPriority = 0, kHighestPriority = -5;

// The null stream of a device is made at its first use. The lock is given up meanwhile: starting takes it
// too.
std::shared_ptr<Stream> find_stream(cudaStream_t handle) {
  const TsanQuiet quiet;
  State& s = state();
  std::unique_lock lock(s.mutex);
  if (handle != nullptr) {
    const auto found = s.streams.find(reinterpret_cast<std::uintptr_t>(handle));
    return found == s.streams.end() ? nullptr : found->second;
  }
  const int number = current_device();
  Device& device = s.devices[static_cast<std::size_t>(number)];
  if (device.null_stream == nullptr) {
    lock.unlock();
    auto fresh = Stream::start(number, true, kLowestPriority);
    lock.lock();
    if (device.null_stream == nullptr) {
      device.null_stream = std::move(fresh);
    } else {
      fresh->close();
    }
  }
  return device.null_stream;
}

namespace {

void synchronize(int device, bool only_blocking) {
  std::vector<std::shared_ptr<Stream>> found;
  {
    const TsanQuiet quiet;
    State& s = state();
    const std::lock_guard lock(s.mutex);
    for (const auto& [handle, stream] : s.streams)
      if (stream->device() == device && (stream->blocking() || !only_blocking)) found.push_back(stream);
    const auto& null_stream = s.devices[static_cast<std::size_t>(device)].null_stream;
    if (null_stream != nullptr) found.push_back(null_stream);
  }
  std::vector<std::shared_ptr<Completion>> ends;
  for (const auto& stream : found) {
    auto end = stream->marker();
    const TsanQuiet quiet;
    ends.push_back(std::move(end));
  }
  // All ends are queued before the first wait, so that the streams run on beside each other.
  for (const auto& end : ends) end->wait();
  const TsanQuiet quiet;
  ends.clear();
  found.clear();
}

}  // namespace

void synchronize_device(int device) { synchronize(device, false); }

void synchronize_blocking_streams(int device) { synchronize(device, true); }

void push_and_wait(Stream& stream, std::function<void()> operation) {
  stream.push(std::move(operation));
  auto end = stream.marker();
  end->wait();
  const TsanQuiet quiet;
  end.reset();
}

}  // namespace gpunn::emu

using namespace gpunn::emu;

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

// Priorities are kept within the range and told, but order nothing, as on a GPU without contention.
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  const cudaError_t error = begin(Call::stream);
  if (error != cudaSuccess) return error;
  if (stream == nullptr || flags > cudaStreamNonBlocking) return finish(cudaErrorInvalidValue);
  auto fresh = Stream::start(current_device(), flags == cudaStreamDefault,
                             std::clamp(priority, kHighestPriority, kLowestPriority));
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const std::uintptr_t handle = new_handle(s);
  s.streams.emplace(handle, std::move(fresh));
  *stream = reinterpret_cast<cudaStream_t>(handle);
  return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  const cudaError_t error = begin(Call::stream);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (priority == nullptr) return finish(cudaErrorInvalidValue);
  *priority = target->priority();
  return finish(cudaSuccess);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  std::shared_ptr<Stream> closing;
  {
    const TsanQuiet quiet;
    State& s = state();
    const std::lock_guard lock(s.mutex);
    const auto found = s.streams.find(reinterpret_cast<std::uintptr_t>(stream));
    if (found != s.streams.end()) {
      closing = std::move(found->second);
      s.streams.erase(found);
    }
  }
  if (closing == nullptr) return finish(cudaErrorInvalidResourceHandle);
  closing->close();
  const TsanQuiet quiet;
  closing.reset();
  return finish(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t error = begin(Call::stream);
  if (error == cudaErrorNotPermitted || error == cudaErrorNoDevice) return error;
  // After any other error too: the caller will free what the stream still uses.
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  push_and_wait(*target, [] {});
  return error != cudaSuccess ? error : finish(cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const cudaError_t error = begin(Call::stream);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  return finish(target->idle() ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  const cudaError_t error = begin(Call::stream);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  const auto source = find_event(event);
  if (target == nullptr || source == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (flags > cudaEventWaitExternal) return finish(cudaErrorInvalidValue);
  std::shared_ptr<Completion> recorded;
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(state().mutex);
    recorded = source->recorded;
  }
  if (recorded != nullptr) target->push([recorded] { recorded->wait(); });
  return finish(cudaSuccess);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  const cudaError_t error = begin(Call::launch);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (function == nullptr) return finish(cudaErrorInvalidValue);
  target->push([=, device = target->device()] {
    if (sticky_error(device) != cudaSuccess) return;
    in_host_function = true;
    function(data);
    in_host_function = false;
  });
  return finish(cudaSuccess);
}

cudaError_t cudaDeviceSynchronize() {
  const cudaError_t error = begin(Call::stream);
  if (error == cudaErrorNotPermitted || error == cudaErrorNoDevice) return error;
  synchronize_device(current_device());
  return error != cudaSuccess ? error : finish(cudaSuccess);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  if (least != nullptr) *least = kLowestPriority;
  if (greatest != nullptr) *greatest = kHighestPriority;
  return cudaSuccess;
}
