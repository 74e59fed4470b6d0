#include "gpunn/core/stream.h"

#include <utility>

#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/device_api.h"

namespace gpunn {
namespace {

constinit thread_local const StreamScope* t_stream_scope = nullptr;

}  // namespace

RawStream DeviceContext::current_stream() const noexcept {
  for (const StreamScope* scope = t_stream_scope; scope; scope = scope->previous_)
    if (scope->context_ == this) return scope->stream_;
  return compute_;
}

Stream::Stream(Device device, int priority)
    : context_(&device.context()), raw_(context_->take_stream(priority)), priority_(priority) {}

Stream::~Stream() {
  if (context_) context_->give_stream(raw_, priority_);
}

Stream::Stream(Stream&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)), raw_(other.raw_), priority_(other.priority_) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(raw_, other.raw_);
  std::swap(priority_, other.priority_);
  return *this;
}

void Stream::synchronize() {
  const detail::ProfiledWait profiled("synchronize stream");
  context_->api().synchronize_stream(raw_);
}

StreamScope::StreamScope(DeviceContext& context, RawStream stream) noexcept
    : context_(&context), stream_(stream), previous_(std::exchange(t_stream_scope, this)) {}
StreamScope::~StreamScope() { t_stream_scope = previous_; }

}  // namespace gpunn
