// The host side of launch().
#include <string>

#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/detail/launch_host.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"
#include "gpunn/core/runtime.h"

namespace gpunn::detail {

void before_launch(const char* name, const LaunchShape& shape, const Exec& exec) {
  exec.device->api().activate();
  flight_recorder().record(name, {shape.grid[0], shape.grid[1], shape.grid[2]},
                           {shape.block[0], shape.block[1], shape.block[2]}, shape.shared_bytes, exec);
}

void after_launch(const Exec& exec) {
  if (exec.device->runtime().options().synchronous) exec.device->api().synchronize_stream(exec.stream);
}

void launch_failed(int code, const char* name, const LaunchShape& shape) {
  const auto extent = [](const unsigned(&v)[3]) { return concat('(', v[0], ',', v[1], ',', v[2], ')'); };
  const std::string what = concat(name, " with grid ", extent(shape.grid), ", block ", extent(shape.block),
                                  ", ", shape.shared_bytes, " bytes of shared memory");
  throw_cuda(code, "its launch", what.c_str(), nullptr, 0);
}

}  // namespace gpunn::detail
