// Checks a launch as CUDA does and puts it into its stream.

#include "gpunn/core/emulation/launch.h"

#include <cuda_runtime_api.h>

#include "gpunn/core/emulation/coresident.h"
#include "gpunn/core/emulation/pool.h"
#include "gpunn/core/emulation/runtime.h"

namespace gpunn::emu {
namespace {

constexpr int kDefaultSharedLimit = 48 << 10;

bool valid_shape(dim3 grid, dim3 block) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  return threads > 0 && threads <= kMaxThreads && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
         grid.x > 0 && grid.x <= 0x7fffffffu && grid.y > 0 && grid.y <= 65535 && grid.z > 0 &&
         grid.z <= 65535;
}

struct KernelWork {
  LaunchRequest request;
  std::string name;
  std::uint64_t serial;
  int device;
  unsigned colour;
  bool coresident;
};

void run_kernel(const KernelWork& work) {
  if (sticky_error(work.device) != cudaSuccess) return;  // after a failure nothing runs any more
  std::unique_ptr<Launch> launch;
  {
    const TsanQuiet quiet;
    const LaunchRequest& r = work.request;
    launch = std::make_unique<Launch>();
    launch->name = work.name;
    launch->loop = r.loop;
    launch->kernel = r.kernel;
    launch->arguments = r.arguments.get();
    launch->grid = r.grid;
    launch->block = r.block;
    launch->shared_bytes = static_cast<std::uint32_t>(r.shared_bytes);
    launch->blocks = std::uint64_t{r.grid.x} * r.grid.y * r.grid.z;
    launch->serial = work.serial;
    launch->colour = work.colour;
    launch->coresident = work.coresident;
  }
  edge_release(&launch->start_edge);
  run_on_pool(*launch);
  if (launch->failed) set_sticky(work.device, cudaErrorLaunchFailure);
  const TsanQuiet quiet;
  launch.reset();
}

// Dynamic shared memory that the kernel may have. Lock held by the caller.
int shared_limit(const State& locked, const void* kernel) {
  const auto found = locked.shared_limits.find(kernel);
  return found == locked.shared_limits.end() ? kDefaultSharedLimit
                                             : std::max(kDefaultSharedLimit, found->second);
}

bool too_large(const LaunchRequest& r) {
  const unsigned threads = r.block.x * r.block.y * r.block.z;
  return std::uint64_t{r.grid.x} * r.grid.y * r.grid.z > coresident_limit(threads, r.shared_bytes);
}

cudaError_t launch_in_stream(LaunchRequest request, bool coresident) {
  const cudaError_t error = begin(Call::launch);
  if (error != cudaSuccess) return error;
  const auto stream = find_stream(request.stream);
  if (stream == nullptr || stream->device() != current_device())
    return finish(cudaErrorInvalidResourceHandle);
  if (request.kernel == nullptr) return finish(cudaErrorInvalidDeviceFunction);
  if (!valid_shape(request.grid, request.block)) return finish(cudaErrorInvalidConfiguration);
  if (coresident && too_large(request)) return finish(cudaErrorCooperativeLaunchTooLarge);
  State& s = state();
  std::uint64_t serial = 0;
  {
    const TsanQuiet quiet;
    const std::lock_guard lock(s.mutex);
    if (request.shared_bytes <= static_cast<std::size_t>(shared_limit(s, request.kernel))) {
      serial = ++s.launch_serial;
      ++s.launches;
    }
  }
  if (serial == 0) return finish(cudaErrorInvalidValue);
  std::shared_ptr<KernelWork> work;
  {
    const TsanQuiet quiet;
    const char* name = request.name != nullptr ? request.name : "(unnamed)";
    work = std::make_shared<KernelWork>(KernelWork{std::move(request), name, serial, stream->device(),
                                                   stream->number() % kColours, coresident});
  }
  // Moved, not shared: the arguments are destroyed in the stream, whichever side is faster.
  stream->push([work = std::move(work)] { run_kernel(*work); });
  return finish(cudaSuccess);
}

}  // namespace

cudaError_t launch(LaunchRequest request) { return launch_in_stream(std::move(request), false); }
cudaError_t launch_coresident(LaunchRequest request) { return launch_in_stream(std::move(request), true); }

}  // namespace gpunn::emu

using namespace gpunn::emu;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  if (kernel == nullptr) return finish(cudaErrorInvalidDeviceFunction);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return finish(cudaSuccess);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      value > static_cast<int>(kMaxShared))
    return finish(cudaErrorInvalidValue);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.shared_limits[kernel] = value;
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          size_t dynamic_shared_bytes) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  if (kernel == nullptr) return finish(cudaErrorInvalidDeviceFunction);
  if (blocks == nullptr || threads <= 0 || threads > static_cast<int>(kMaxThreads))
    return finish(cudaErrorInvalidValue);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const bool allowed = dynamic_shared_bytes <= static_cast<std::size_t>(shared_limit(s, kernel));
  *blocks = allowed ? blocks_per_multiprocessor(static_cast<unsigned>(threads), dynamic_shared_bytes) : 0;
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  const cudaError_t error = begin();
  if (error != cudaSuccess) return error;
  if (kernel == nullptr) return finish(cudaErrorInvalidDeviceFunction);
  if (attributes == nullptr) return finish(cudaErrorInvalidValue);
  const TsanQuiet quiet;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto found = s.shared_limits.find(kernel);
  *attributes = {};
  attributes->maxThreadsPerBlock = kMaxThreads;
  attributes->ptxVersion = attributes->binaryVersion = 90;
  attributes->maxDynamicSharedSizeBytes =
      found == s.shared_limits.end() ? kDefaultSharedLimit : found->second;
  return cudaSuccess;
}
