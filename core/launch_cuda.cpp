// The host side of launch().
#include <string>

#include "gpunn/core/detail/coresident_host.h"
#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"
#include "gpunn/core/runtime.h"

namespace gpunn::detail {
namespace {

// The launch that after_launch() waits for; kept in synchronous mode only.
struct Launched {
  const char* name;
  LaunchShape shape;
};
constinit thread_local Launched t_launched{};

std::string words_of(const char* name, const LaunchShape& shape) {
  const auto extent = [](const unsigned(&v)[3]) { return concat('(', v[0], ',', v[1], ',', v[2], ')'); };
  return concat(name, " with grid ", extent(shape.grid), ", block ", extent(shape.block), ", ",
                shape.shared_bytes, " bytes of shared memory");
}

}  // namespace

void before_launch(const char* name, const LaunchShape& shape, const Exec& exec) {
  exec.device->api().activate();
  flight_recorder().record(name, {shape.grid[0], shape.grid[1], shape.grid[2]},
                           {shape.block[0], shape.block[1], shape.block[2]}, shape.shared_bytes, exec);
  if (exec.device->runtime().options().synchronous) [[unlikely]]
    t_launched = {name, shape};
}

void after_launch(const Exec& exec) {
  if (!exec.device->runtime().options().synchronous) [[likely]]
    return;
  const std::string work = words_of(t_launched.name, t_launched.shape);
  const WaitingFor waiting(work);
  exec.device->api().synchronize_stream(exec.stream);
}

void launch_failed(int code, const char* name, const LaunchShape& shape) {
  const std::string what = words_of(name, shape);
  throw_cuda(code, "its launch", what.c_str(), nullptr, 0);
}

void make_current(const Exec& exec) { exec.device->api().activate(); }

void too_many_blocks(int code, const char* name, const LaunchShape& shape, int fits) {
  const std::string what = concat(words_of(name, shape), ", of whose blocks the device holds ", fits,
                                  " at once (they wait for each other)");
  throw_cuda(code, "its launch", what.c_str(), nullptr, 0);
}

}  // namespace gpunn::detail
