#include "gpunn/core/scheduler.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "gpunn/core/detail/access_history.h"
#include "gpunn/core/detail/host_calls.h"
#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"

namespace gpunn {
namespace {

// An event of the device; the scheduler's State takes it back when nobody needs it any more.
struct EventPool {
  DeviceApi& api;
  std::mutex mutex;
  std::vector<RawEvent> idle;

  explicit EventPool(DeviceApi& device) : api(device) {}
  ~EventPool() {
    for (RawEvent event : idle) api.destroy_event(event);
  }
  RawEvent take() {
    {
      std::lock_guard lock(mutex);
      if (!idle.empty()) {
        const RawEvent event = idle.back();
        idle.pop_back();
        return event;
      }
    }
    return api.create_event();
  }
  void give(RawEvent event) noexcept {
    try {
      std::lock_guard lock(mutex);
      idle.push_back(event);
    } catch (...) {
      api.destroy_event(event);
    }
  }
};

// Shared by the stream it marks and by host threads that wait for it.
struct Mark {
  EventPool& pool;
  RawEvent event;
  std::uint64_t number;  // covers issues 1 .. number of its stream
  Mark(EventPool& p, RawEvent e, std::uint64_t n) : pool(p), event(e), number(n) {}
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  ~Mark() { pool.give(event); }
};

}  // namespace

struct StreamState {
  RawStream stream;
  std::size_t index;
  std::uint64_t issued = 0;     // number of the last issue
  std::uint64_t completed = 0;  // the host knows that issues up to here have finished
  std::shared_ptr<Mark> mark;   // latest event recorded here, if any
  std::vector<std::uint64_t>
      waited;  // by stream index: this stream's later work comes after that issue there
};

struct Scheduler::State {
  DeviceApi& api;
  std::recursive_mutex mutex;
  EventPool events;
  detail::HostCalls calls;
  std::deque<StreamState> streams;  // references stay valid
  std::vector<std::unique_ptr<AccessHistory>> idle_histories;
  detail::FailureList failures;
  Counters counters;

  explicit State(DeviceApi& device) : api(device), events(device), calls(device) {}

  StreamState& state_of(RawStream stream);
  AccessHistory& history_of(Storage& storage, const StreamState* user = nullptr);
  std::shared_ptr<Mark> mark_covering(const Access& access);
  void order(StreamState& stream, const Access& before);
  void record(StreamState& stream, std::span<Storage* const> reads,
              std::span<Storage* const> writes) noexcept;
  bool skip(std::span<Storage* const> operands);
  void fail(std::span<Storage* const> writes, const std::exception_ptr& cause, std::string place) noexcept;
  void wait(std::unique_lock<std::recursive_mutex>& lock, Storage& storage, std::span<const Access> accesses);
};

StreamState& Scheduler::State::state_of(RawStream stream) {
  for (StreamState& s : streams)
    if (s.stream == stream) return s;
  streams.push_back({stream, streams.size(), 0, 0, nullptr, {}});
  return streams.back();
}

AccessHistory& Scheduler::State::history_of(Storage& storage, const StreamState* user) {
  if (!storage.history) {
    // What its memory held before may still be in use: the allocator handed it out for use after the work on
    // the storage's stream, which other streams see as a write. Pinned memory is handed out idle.
    Access before;
    if ((!user || storage.stream() != user->stream) && storage.place() == Storage::Place::device) {
      StreamState& owner = state_of(storage.stream());
      if (owner.issued > owner.completed) before = {&owner, owner.issued};
    }
    if (idle_histories.empty()) {
      storage.history = new AccessHistory;
    } else {
      storage.history = idle_histories.back().release();
      idle_histories.pop_back();
    }
    storage.history->writer = before;
  }
  return *storage.history;
}

// An event recorded now covers everything issued so far, so one serves all waiters until the stream moves on.
std::shared_ptr<Mark> Scheduler::State::mark_covering(const Access& access) {
  StreamState& s = *access.stream;
  if (s.mark && s.mark->number >= access.number) return s.mark;
  auto mark = std::make_shared<Mark>(events, events.take(), s.issued);
  api.record_event(mark->event, s.stream);
  ++counters.events;
  s.mark = std::move(mark);
  return s.mark;
}

void Scheduler::State::order(StreamState& stream, const Access& before) {
  if (!before.stream) return;
  if (stream.waited.size() < streams.size()) stream.waited.resize(streams.size());
  std::uint64_t& waited = stream.waited[before.stream->index];
  const bool same = before.stream == &stream, done = before.stream->completed >= before.number;
  const bool dropped = same || done || waited >= before.number;
  if (detail::profiling()) [[unlikely]]
    detail::profile_order(api, stream.stream, before.stream->stream, before.number,
                          !dropped ? ProfileOrder::made
                          : same   ? ProfileOrder::same_stream
                          : done   ? ProfileOrder::done
                                   : ProfileOrder::covered);
  if (dropped) {
    ++counters.waits_dropped;
    return;
  }
  const auto mark = mark_covering(before);
  api.wait_event(stream.stream, mark->event);
  ++counters.waits;
  waited = mark->number;
}

void Scheduler::State::record(StreamState& stream, std::span<Storage* const> reads,
                              std::span<Storage* const> writes) noexcept {
  const Access access{&stream, ++stream.issued};
  ++counters.issues;
  if (detail::profiling()) [[unlikely]]
    detail::profile_number(api, stream.stream, access.number);
  for (Storage* storage : reads) {
    auto& readers = storage->history->readers;
    const auto same =
        std::find_if(readers.begin(), readers.end(), [&](const Access& r) { return r.stream == &stream; });
    if (same == readers.end()) {
      readers.push_back(access);  // room was made by the constructor
    } else {
      *same = access;
    }
  }
  const char* const op = current_op();
  for (Storage* storage : writes) {
    storage->history->writer = access;
    storage->history->writer_op = op;
    storage->history->readers.clear();
  }
}

// Has an operand of an issue failed? That of a lost device throws: there, every call fails by itself.
bool Scheduler::State::skip(std::span<Storage* const> operands) {
  for (const Storage* storage : operands) {
    AccessHistory* const history = storage->history;
    if (!history || !failures.failed(*history)) continue;
    for (const auto& outcome : history->outcomes)
      if (outcome->device_lost()) outcome->rethrow();
    ++counters.skipped;
    return true;
  }
  return false;
}

void Scheduler::State::fail(std::span<Storage* const> writes, const std::exception_ptr& cause,
                            std::string place) noexcept {
  std::shared_ptr<Outcome> outcome;
  try {
    outcome = std::make_shared<Outcome>(std::move(place));
    outcome->fail(cause);
  } catch (...) {
    // Without memory for the words it is failed all the same.
  }
  for (const Storage* storage : writes) {
    if (outcome) {
      failures.depend(*storage->history, outcome);
    } else {
      failures.fail_unnamed(*storage->history);
    }
  }
}

// Waits outside the lock: the work waited for may need another thread's issue to go on. What the device says
// then is about work it was given before, so it is kept as a failure of what is waited for.
void Scheduler::State::wait(std::unique_lock<std::recursive_mutex>& lock, Storage& storage,
                            std::span<const Access> accesses) {
  std::vector<std::pair<StreamState*, std::shared_ptr<Mark>>> marks;
  for (const Access& a : accesses)
    if (a.stream && a.stream->completed < a.number) marks.emplace_back(a.stream, mark_covering(a));
  std::exception_ptr error;
  lock.unlock();
  try {
    std::optional<detail::ProfiledWait> profiled;
    if (!marks.empty()) profiled.emplace("wait for storage");
    for (const auto& [stream, mark] : marks) api.synchronize_event(mark->event);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (error) {
    const char* const op = storage.history->writer_op;
    Storage* const waited[] = {&storage};
    fail(waited, error, *op ? detail::concat('[', op, "] ") : std::string());
    std::rethrow_exception(error);
  }
  for (const auto& [stream, mark] : marks) stream->completed = std::max(stream->completed, mark->number);
}

Scheduler::Scheduler(DeviceApi& api) : state_(std::make_unique<State>(api)) {}
Scheduler::~Scheduler() = default;

Issue::Issue(Scheduler& scheduler, RawStream stream, std::span<Storage* const> reads,
             std::span<Storage* const> writes)
    : scheduler_(scheduler), stream_(stream), reads_(reads), writes_(writes) {
  Scheduler::State& s = *scheduler.state_;
  std::unique_lock lock(s.mutex);
  if (!s.failures.empty() && (s.skip(reads) || s.skip(writes))) [[unlikely]] {
    for (Storage* storage : writes) s.history_of(*storage);
    skipped_ = true;
    lock.release();
    return;
  }
  StreamState& state = s.state_of(stream);
  for (Storage* storage : reads) {
    AccessHistory& history = s.history_of(*storage, &state);
    history.readers.reserve(history.readers.size() + 1);
    s.order(state, history.writer);
  }
  for (Storage* storage : writes) {
    const AccessHistory& history = s.history_of(*storage, &state);
    s.order(state, history.writer);
    for (const Access& reader : history.readers) s.order(state, reader);
  }
  lock.release();  // held until the issue ends
}

void Issue::commit() noexcept {
  if (!open_) return;
  open_ = false;
  Scheduler::State& s = *scheduler_.state_;
  if (!skipped_) [[likely]]
    s.record(s.state_of(stream_), reads_, writes_);
  if (!s.failures.empty()) [[unlikely]] {
    s.failures.inherit(reads_, writes_);
    s.failures.inherit(writes_, writes_);  // an op may read what it writes without saying so
  }
  s.mutex.unlock();
}

// The exception that ends an issue cannot be seen here; whoever caught it knows more.
Issue::~Issue() {
  if (!open_) return;
  if (!skipped_) {
    try {
      scheduler_.state_->fail(writes_, std::make_exception_ptr(Error(where() + "issuing the work failed")),
                              where());
    } catch (...) {
      for (const Storage* storage : writes_) scheduler_.state_->failures.fail_unnamed(*storage->history);
    }
  }
  commit();
}

void Scheduler::wait_readable(Storage& storage) {
  std::unique_lock lock(state_->mutex);
  if (!storage.history) return;
  std::exception_ptr error;
  try {
    const Access writer[] = {storage.history->writer};
    state_->wait(lock, storage, writer);
  } catch (...) {
    error = std::current_exception();
  }
  if (!state_->failures.empty()) [[unlikely]]
    state_->failures.rethrow(*storage.history);
  if (error) std::rethrow_exception(error);
}

void Scheduler::wait_writable(Storage& storage) {
  std::unique_lock lock(state_->mutex);
  if (!storage.history) return;
  std::vector<Access> accesses = storage.history->readers;
  accesses.push_back(storage.history->writer);
  state_->wait(lock, storage, accesses);
}

void Scheduler::forget(Storage& storage, MemoryResource& resource) noexcept {
  std::lock_guard lock(state_->mutex);
  std::unique_ptr<AccessHistory> history(std::exchange(storage.history, nullptr));
  if (!history) return;
  if (history->listed) [[unlikely]]
    state_->failures.clear(*history);
  try {
    void* const block = storage.owner().data();
    const auto note = [&](const Access& a) {
      if (a.stream && a.stream->stream != storage.stream() && a.stream->completed < a.number)
        resource.record_use(block, a.stream->stream);
    };
    note(history->writer);
    for (const Access& reader : history->readers) note(reader);
    history->writer = {};
    history->readers.clear();
    state_->idle_histories.push_back(std::move(history));
  } catch (...) {
    // The allocator could not note a user: then the work must end before the memory goes back.
    try {
      state_->api.synchronize_device();
    } catch (...) {
    }
  }
}

void Scheduler::join(RawStream from, RawStream to) {
  std::lock_guard lock(state_->mutex);
  StreamState& source = state_->state_of(from);
  StreamState& target = state_->state_of(to);
  // A number of its own, so that work the scheduler has not seen is covered as well.
  state_->order(target, {&source, ++source.issued});
}

void Scheduler::synchronize() {
  std::vector<std::uint64_t> issued;
  {
    std::lock_guard lock(state_->mutex);
    for (const StreamState& s : state_->streams) issued.push_back(s.issued);
  }
  {
    const detail::ProfiledWait profiled("synchronize");
    state_->api.synchronize_device();
  }
  {
    std::lock_guard lock(state_->mutex);
    for (std::size_t i = 0; i < issued.size(); ++i)
      state_->streams[i].completed = std::max(state_->streams[i].completed, issued[i]);
  }
  state_->calls.collect();
  check();
  state_->calls.rethrow(nullptr);
}

std::shared_ptr<Outcome> Scheduler::expect(std::span<Storage* const> writes) {
  std::lock_guard lock(state_->mutex);
  auto outcome = std::make_shared<Outcome>(where());
  for (Storage* storage : writes) state_->failures.depend(state_->history_of(*storage), outcome);
  return outcome;
}

void Scheduler::fail(std::span<Storage* const> writes, const std::exception_ptr& cause) {
  std::lock_guard lock(state_->mutex);
  for (Storage* storage : writes) state_->history_of(*storage);
  state_->fail(writes, cause, where());
}

void Scheduler::check() const {
  std::lock_guard lock(state_->mutex);
  state_->failures.rethrow_first();
}

detail::HostCalls& Scheduler::host_calls() const noexcept { return state_->calls; }

Scheduler::Counters Scheduler::counters() const {
  std::lock_guard lock(state_->mutex);
  return state_->counters;
}

// Overwrite

struct Overwrite::Kept {
  std::vector<std::shared_ptr<Outcome>> outcomes;
  bool unnamed = false;
};

Overwrite::Overwrite(Storage& storage) : storage_(storage) {
  if (!storage.history) return;
  Scheduler::State& s = *storage.context().scheduler().state_;
  std::lock_guard lock(s.mutex);
  AccessHistory& history = *storage.history;
  if (!history.listed) return;
  kept_ = std::make_unique<Kept>();
  kept_->outcomes.swap(history.outcomes);
  kept_->unnamed = history.unnamed;
  s.failures.clear(history);
}

void Overwrite::done() noexcept { kept_.reset(); }

Overwrite::~Overwrite() {
  if (!kept_) return;
  Scheduler::State& s = *storage_.context().scheduler().state_;
  std::lock_guard lock(s.mutex);
  for (const auto& outcome : kept_->outcomes) s.failures.depend(*storage_.history, outcome);
  if (kept_->unnamed) s.failures.fail_unnamed(*storage_.history);
}

}  // namespace gpunn
