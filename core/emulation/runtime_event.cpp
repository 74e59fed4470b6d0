// Events: each recording is a Completion of its own; an event points to its newest.

#include "gpunn/core/emulation/runtime.h"

namespace gpunn::emu {

std::shared_ptr<Event> find_event(cudaEvent_t handle) {
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto found = s.events.find(reinterpret_cast<std::uintptr_t>(handle));
  return found == s.events.end() ? nullptr : found->second;
}

namespace {

// What a wait for this event means now; a later recording does not change a wait that was issued before it.
std::shared_ptr<Completion> newest_recording(const Event& event) {
  const TsanQuiet quiet;
  const std::lock_guard lock(state().mutex);
  return event.recorded;
}

}  // namespace
}  // namespace gpunn::emu

using namespace gpunn::emu;

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const cudaError_t error = begin(Call::event);
  if (error != cudaSuccess) return error;
  if (event == nullptr || (flags & ~(cudaEventBlockingSync | cudaEventDisableTiming)) != 0)
    return finish(cudaErrorInvalidValue);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const std::uintptr_t handle = new_handle(s);
  s.events.emplace(handle, std::make_shared<Event>(
                               Event{current_device(), (flags & cudaEventDisableTiming) == 0, nullptr}));
  *event = reinterpret_cast<cudaEvent_t>(handle);
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (in_host_function) return finish(cudaErrorNotPermitted);
  bool found = false;
  {
    const TsanQuiet quiet;
    State& s = state();
    const std::lock_guard lock(s.mutex);
    found = s.events.erase(reinterpret_cast<std::uintptr_t>(event)) != 0;
  }
  return finish(found ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const cudaError_t error = begin(Call::event);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  const auto source = find_event(event);
  if (target == nullptr || source == nullptr || target->device() != source->device)
    return finish(cudaErrorInvalidResourceHandle);
  auto recording = target->marker();
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(state().mutex);
    source->recorded = std::move(recording);
  }
  return finish(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const cudaError_t error = begin(Call::event);
  if (error == cudaErrorNotPermitted || error == cudaErrorNoDevice) return error;
  const auto source = find_event(event);
  if (source == nullptr) return finish(cudaErrorInvalidResourceHandle);
  const auto recording = newest_recording(*source);
  if (recording != nullptr) recording->wait();
  return error != cudaSuccess ? error : finish(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const cudaError_t error = begin(Call::event);
  if (error != cudaSuccess) return error;
  const auto source = find_event(event);
  if (source == nullptr) return finish(cudaErrorInvalidResourceHandle);
  const auto recording = newest_recording(*source);
  return finish(recording == nullptr || recording->done() ? cudaSuccess : cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const cudaError_t error = begin(Call::event);
  if (error != cudaSuccess) return error;
  const auto first = find_event(start), second = find_event(end);
  if (milliseconds == nullptr) return finish(cudaErrorInvalidValue);
  // The order of these checks is CUDA's: handles, then whether they were recorded, then whether they are
  // done.
  if (first == nullptr || second == nullptr || !first->timed || !second->timed)
    return finish(cudaErrorInvalidResourceHandle);
  const auto from = newest_recording(*first), to = newest_recording(*second);
  if (from == nullptr || to == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (!from->done() || !to->done()) return finish(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(to->time() - from->time()).count();
  return finish(cudaSuccess);
}
