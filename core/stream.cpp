#include "gpunn/core/stream.h"

#include <utility>

#include "gpunn/core/detail/host_calls.h"
#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/scheduler.h"

namespace gpunn {
namespace {

constinit thread_local const StreamScope* t_stream_scope = nullptr;

/// `function`, which then tells what it writes whether it could.
std::function<void()> settling(std::function<void()> function, std::shared_ptr<Outcome> outcome) {
  return [function = std::move(function), outcome = std::move(outcome)] {
    try {
      function();
    } catch (...) {
      outcome->fail(std::current_exception());
      throw;
    }
    outcome->succeed();
  };
}

}  // namespace

// Event

Event::~Event() {
  if (event_) context_->api().destroy_event(event_);
}

Event::Event(Event&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)),
      event_(std::exchange(other.event_, nullptr)),
      timed_(other.timed_) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(event_, other.event_);
  std::swap(timed_, other.timed_);
  return *this;
}

void Event::record(const Stream& stream) {
  DeviceContext& context = stream.device().context();
  GPUNN_CHECK(!context_ || context_ == &context, "expected a stream of ", Device(*context_),
              ", where the event was recorded before, got one of ", Device(context));
  if (!event_) {
    event_ = timed_ ? context.api().create_timed_event() : context.api().create_event();
    context_ = &context;
  }
  context.api().record_event(event_, stream.raw());
}

void Event::record(Device device) { record(Stream::current(device)); }

bool Event::query() const { return !event_ || context_->api().query_event(event_); }

void Event::synchronize() const {
  if (event_) context_->api().synchronize_event(event_);
}

double Event::elapsed_time(const Event& end) const {
  GPUNN_CHECK(timed_ && end.timed_,
              "elapsed_time: expected two timed events, got one made without Event(true)");
  GPUNN_CHECK(event_ && end.event_ && context_ == end.context_,
              "elapsed_time: expected two events recorded on one device");
  GPUNN_CHECK(query() && end.query(),
              "elapsed_time: expected two events that are done; synchronize the second");
  return context_->api().elapsed_milliseconds(event_, end.event_);
}

// Stream

Stream::Stream(Device device, int priority)
    : context_(&device.context()), raw_(context_->take_stream(priority)), priority_(priority) {}

Stream Stream::current(Device device) {
  DeviceContext& context = device.context();
  return {context, context.current_stream()};
}

Stream::~Stream() {
  if (context_ && owned_) context_->give_stream(raw_, priority_);
}

Stream::Stream(Stream&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)),
      raw_(other.raw_),
      priority_(other.priority_),
      owned_(other.owned_) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(raw_, other.raw_);
  std::swap(priority_, other.priority_);
  std::swap(owned_, other.owned_);
  return *this;
}

int Stream::priority() const { return context_->api().stream_priority(raw_); }

void Stream::synchronize() {
  {
    const detail::ProfiledWait profiled("synchronize stream");
    context_->api().synchronize_stream(raw_);
  }
  auto& calls = context_->scheduler().host_calls();
  calls.collect();
  calls.rethrow(raw_);
}

bool Stream::query() const { return context_->api().query_stream(raw_); }

void Stream::wait(const Event& event) {
  if (!event.event_ || event.context_->is_cpu()) return;
  if (context_->is_cpu()) return event.synchronize();
  context_->api().wait_event(raw_, event.event_);
}

void Stream::wait(const Stream& other) {
  if (context_ == other.context_) {
    if (!context_->is_cpu()) context_->scheduler().join(other.raw_, raw_);
    return;
  }
  Event now;
  now.record(other);
  wait(now);
}

void Stream::call(std::function<void()> function, const std::vector<Tensor>& reads,
                  const std::vector<Tensor>& writes) {
  const OpScope scope("Stream::call");
  GPUNN_CHECK(function != nullptr, "expected a function, got an empty one");
  std::vector<Storage*> read, written;
  const auto add = [&](const Tensor& t, std::vector<Storage*>& to) {
    Storage& s = t.storage();
    const bool host = s.place() == Storage::Place::pinned_host;
    GPUNN_CHECK(&s.context() == context_ || (host && context_->is_cpu()), "expected tensors of ", device(),
                " or host memory pinned for it, got one on ", t.device());
    to.push_back(&s);
  };
  for (const Tensor& t : reads) add(t, read);
  for (const Tensor& t : writes) add(t, written);
  if (context_->is_cpu()) {
    for (Storage* s : read)
      if (!s->context().is_cpu()) s->context().scheduler().wait_readable(*s);
    for (Storage* s : written)
      if (!s->context().is_cpu()) s->context().scheduler().wait_writable(*s);
    function();
  } else {
    auto& calls = context_->scheduler().host_calls();
    calls.collect();  // before the scheduler is locked: it destroys what the caller's functions captured
    Issue issue(context_->scheduler(), raw_, read, written);
    if (!issue.skipped()) {
      if (written.empty()) {
        calls.enqueue(raw_, std::move(function));
      } else {
        calls.enqueue(raw_, settling(std::move(function), context_->scheduler().expect(written)));
      }
    }
    issue.commit();
  }
  for (Storage* s : written) s->bump_version();
  if (context_->runtime().options().synchronous && !context_->is_cpu()) synchronize();
}

// StreamScope

RawStream DeviceContext::current_stream() const noexcept {
  for (const StreamScope* scope = t_stream_scope; scope; scope = scope->previous_)
    if (scope->context_ == this) return scope->stream_;
  return compute_;
}

StreamScope::StreamScope(DeviceContext& context, RawStream stream) noexcept
    : context_(&context), stream_(stream), previous_(std::exchange(t_stream_scope, this)) {}
StreamScope::~StreamScope() { t_stream_scope = previous_; }

bool detail::in_stream_scope() noexcept { return t_stream_scope != nullptr; }

}  // namespace gpunn
