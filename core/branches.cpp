#include "gpunn/core/branches.h"

#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/error.h"

namespace gpunn {

Branches::Branches(Device device, int streams) : device_(device), limit_(static_cast<std::size_t>(streams)) {
  GPUNN_CHECK(streams >= 1, "expected at least one branch stream, got ", streams);
}

RawStream Branches::next() {
  if (device_.is_cpu()) return device_.context().compute_stream();
  const std::size_t i = turn_++ % limit_;
  if (i == streams_.size()) {
    streams_.emplace_back(device_);
    detail::name_stream(device_.context().api(), streams_[i].raw(), detail::concat("branch ", i + 1));
  }
  return streams_[i].raw();
}

void Branches::join() {
  Stream here = Stream::current(device_);
  for (const Stream& branch : streams_) here.wait(branch);
}

}  // namespace gpunn
