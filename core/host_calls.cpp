#include "gpunn/core/detail/host_calls.h"

#include <algorithm>
#include <utility>

#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/device_api.h"

namespace gpunn::detail {

void HostCalls::enqueue(RawStream stream, std::function<void()> function) {
  std::list<Call> fresh;
  Call& call = fresh.emplace_back();
  call.owner = this;
  call.stream = stream;
  call.function = std::move(function);
  call.self = fresh.begin();
  {
    const std::lock_guard lock(mutex_);
    waiting_.splice(waiting_.end(), fresh);
  }
  try {
    api_.host_callback(stream, &HostCalls::run, &call);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    fresh.splice(fresh.end(), waiting_, call.self);
    throw;
  }
}

void HostCalls::run(void* argument) noexcept {
  Call& call = *static_cast<Call*>(argument);
  auto expected = Progress::waiting;
  if (!call.progress.compare_exchange_strong(expected, Progress::begun)) return;  // its owner is gone
  try {
    const ProfiledCallback profiled("host function");
    call.function();
  } catch (...) {
    call.failure = std::current_exception();
  }
  HostCalls& owner = *call.owner;
  const std::lock_guard lock(owner.mutex_);
  owner.done_.splice(owner.done_.end(), owner.waiting_, call.self);
  owner.changed_.notify_all();
}

void HostCalls::collect() noexcept {
  std::list<Call> finished, failed;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(done_);
  }
  for (auto call = finished.begin(); call != finished.end();) {
    const auto next = std::next(call);
    if (call->failure) {
      call->function = nullptr;
      failed.splice(failed.end(), finished, call);
    }
    call = next;
  }
  const std::lock_guard lock(mutex_);
  failed_.splice(failed_.end(), failed);
}

void HostCalls::rethrow(RawStream stream) {
  std::list<Call> first;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(failed_.begin(), failed_.end(),
                                    [&](const Call& c) { return !stream || c.stream == stream; });
    if (found == failed_.end()) return;
    first.splice(first.end(), failed_, found);
  }
  std::rethrow_exception(first.front().failure);
}

// A lost device may come back to a call at any time: what it needs to see that it is too late stays for ever.
void HostCalls::abandon(std::list<Call>& calls) noexcept {
  static std::mutex mutex;
  static auto* const kept = new std::list<Call>;
  const std::lock_guard lock(mutex);
  kept->splice(kept->end(), calls);
}

void HostCalls::clear() noexcept {
  std::list<Call> abandoned, all;
  {
    std::unique_lock lock(mutex_);
    for (auto call = waiting_.begin(); call != waiting_.end();) {
      const auto next = std::next(call);
      auto expected = Progress::waiting;
      if (call->progress.compare_exchange_strong(expected, Progress::abandoned))
        abandoned.splice(abandoned.end(), waiting_, call);
      call = next;
    }
    changed_.wait(lock, [this] { return waiting_.empty(); });
    for (auto* calls : {&done_, &failed_}) all.splice(all.end(), *calls);
  }
  for (Call& call : abandoned) call.function = nullptr;
  if (!abandoned.empty()) abandon(abandoned);
}

}  // namespace gpunn::detail
