// Copies and fills. All of them are really asynchronous, also from pageable memory, which CUDA only permits.

#include <cstring>

#include "gpunn/core/emulation/runtime.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

struct Range {
  const void* start;
  std::size_t bytes;
  bool device = false;  // filled in by check_range
};

// False if the range leaves the allocation it starts in. Lock held by the caller.
bool check_range(const State& locked, Range& range) {
  const auto* found = find_allocation(locked, range.start);
  if (found == nullptr) return true;
  range.device = !found->second.host;
  const std::size_t offset = reinterpret_cast<std::uintptr_t>(range.start) - found->first;
  return range.bytes <= found->second.bytes - offset;
}

cudaError_t check_copy(Range to, Range from, cudaMemcpyKind kind) {
  if (to.start == nullptr || from.start == nullptr) return cudaErrorInvalidValue;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (!check_range(s, to) || !check_range(s, from)) return cudaErrorInvalidValue;
  if (kind != cudaMemcpyDefault) {
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (to_device != to.device || from_device != from.device) return cudaErrorInvalidValue;
  }
  ++s.copies;
  return cudaSuccess;
}

cudaError_t check_fill(Range target) {
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (!check_range(s, target) || !target.device) return cudaErrorInvalidValue;
  ++s.copies;
  return cudaSuccess;
}

void copy_bytes(void* to, const void* from, std::size_t bytes) {
  note_read(from, bytes);
  note_write(to, bytes);
  const TsanQuiet quiet;
  std::memmove(to, from, bytes);
}

void fill_bytes(void* target, int value, std::size_t bytes) {
  note_write(target, bytes);
  const TsanQuiet quiet;
  std::memset(target, value, bytes);
}

// Runs in the stream, unless its device has failed meanwhile: then nothing runs any more, as on a GPU.
template <class Function>
std::function<void()> guarded(const Stream& stream, Function function) {
  return [device = stream.device(), function] {
    if (sticky_error(device) == cudaSuccess) function();
  };
}

}  // namespace
}  // namespace gpunn::emu

using namespace gpunn::emu;

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const cudaError_t error = begin(Call::memcpy);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return finish(cudaSuccess);
  const cudaError_t wrong = check_copy({to, bytes}, {from, bytes}, kind);
  if (wrong != cudaSuccess) return finish(wrong);
  target->push(guarded(*target, [=] { copy_bytes(to, from, bytes); }));
  return finish(cudaSuccess);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = begin(Call::memcpy);
  if (error != cudaSuccess) return error;
  if (bytes == 0) return finish(cudaSuccess);
  const cudaError_t wrong = check_copy({to, bytes}, {from, bytes}, kind);
  if (wrong != cudaSuccess) return finish(wrong);
  synchronize_blocking_streams(current_device());
  const auto stream = find_stream(nullptr);
  push_and_wait(*stream, guarded(*stream, [=] { copy_bytes(to, from, bytes); }));
  return finish(cudaSuccess);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const cudaError_t error = begin(Call::memcpy);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (width > to_pitch || width > from_pitch) return finish(cudaErrorInvalidPitchValue);
  if (width == 0 || height == 0) return finish(cudaSuccess);
  if (height - 1 > (SIZE_MAX - width) / std::max(to_pitch, from_pitch)) return finish(cudaErrorInvalidValue);
  const cudaError_t wrong =
      check_copy({to, (height - 1) * to_pitch + width}, {from, (height - 1) * from_pitch + width}, kind);
  if (wrong != cudaSuccess) return finish(wrong);
  target->push(guarded(*target, [=] {
    for (size_t row = 0; row < height; ++row)
      copy_bytes(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                 width);
  }));
  return finish(cudaSuccess);
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  const cudaError_t error = begin(Call::memcpy);
  if (error != cudaSuccess) return error;
  const auto target = find_stream(stream);
  if (target == nullptr) return finish(cudaErrorInvalidResourceHandle);
  if (bytes == 0) return finish(cudaSuccess);
  const cudaError_t wrong = check_fill({p, bytes});
  if (wrong != cudaSuccess) return finish(wrong);
  target->push(guarded(*target, [=] { fill_bytes(p, value, bytes); }));
  return finish(cudaSuccess);
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) {
  const cudaError_t error = begin(Call::memcpy);
  if (error != cudaSuccess) return error;
  if (bytes == 0) return finish(cudaSuccess);
  const cudaError_t wrong = check_fill({p, bytes});
  if (wrong != cudaSuccess) return finish(wrong);
  synchronize_blocking_streams(current_device());
  const auto stream = find_stream(nullptr);
  push_and_wait(*stream, guarded(*stream, [=] { fill_bytes(p, value, bytes); }));
  return finish(cudaSuccess);
}
