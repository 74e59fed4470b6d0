#include "tests/support/fake_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"

namespace gpunn::testing {

struct FakeDevice::Stream {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Operation> queue;
  bool stop = false, held = false, busy = false;
  int priority = 0;
  std::thread thread;

  void run() {
    for (;;) {
      Operation operation;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stop || !queue.empty(); });
        if (queue.empty()) return;
        operation = std::move(queue.front());
        queue.pop_front();
        busy = true;
      }
      if (operation.before) operation.before->wait();
      operation.work();
      std::lock_guard lock(mutex);
      busy = false;
    }
  }
};

bool FakeDevice::Record::is_done() {
  std::lock_guard lock(mutex);
  return done;
}

void FakeDevice::Record::complete() {
  std::lock_guard lock(mutex);
  done = true;
  time = std::chrono::steady_clock::now();
  changed.notify_all();
}

void FakeDevice::Record::wait() {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
}

std::shared_ptr<FakeDevice::Record> FakeDevice::Event::get() {
  std::lock_guard lock(mutex);
  return record;
}

FakeDevice::FakeDevice(FakeOptions options) : options_(options), random_(options.seed * 2 + 1) {
  info_.name = "fake";
  info_.memory_bytes = options.memory_bytes;
  info_.compute_major = 9;
  info_.multiprocessors = 1;
  info_.emulated = true;
}

FakeDevice::~FakeDevice() {
  while (!streams_.empty()) destroy_stream(streams_.back().get());
  for (const auto& [pointer, bytes] : blocks_) std::free(pointer);
  for (const auto& [pointer, bytes] : host_blocks_) std::free(pointer);
  for (const auto& [base, bytes] : ranges_) munmap(base, bytes);
}

void FakeDevice::fail_at(FakeCall kind, long n, FakeFailure failure) {
  std::lock_guard lock(mutex_);
  injections_.push_back({kind, n, failure});
}

void FakeDevice::clear_failures() {
  std::lock_guard lock(mutex_);
  injections_.clear();
  lost_ = false;
}

void FakeDevice::enter(FakeCall kind) {
  ++calls_;
  if (lost_) throw DeviceLost("the fake device is lost", 700);
  std::lock_guard lock(mutex_);
  for (auto it = injections_.begin(); it != injections_.end(); ++it) {
    if ((it->kind != FakeCall::any && it->kind != kind) || --it->left > 0) continue;
    const FakeFailure failure = it->failure;
    injections_.erase(it);
    if (failure == FakeFailure::out_of_memory) throw OutOfMemory("injected");
    if (failure == FakeFailure::cuda_error) throw CudaError("injected", 1);
    lost_ = true;
    throw DeviceLost("injected", 700);
  }
}

void FakeDevice::enqueue(RawStream stream, std::function<void()> work) {
  enter(FakeCall::stream);
  push(stream, {std::move(work), nullptr});
}

void FakeDevice::enqueue_failure(RawStream stream) {
  push(stream, {[this] { lost_ = true; }, nullptr});
}

void FakeDevice::hold(RawStream stream, bool held) {
  std::lock_guard lock(mutex_);
  static_cast<Stream*>(stream)->held = held;
}

void FakeDevice::push(RawStream stream, Operation operation) {
  if (options_.mode == FakeMode::immediate) return operation.work();
  auto& s = *static_cast<Stream*>(stream);
  if (options_.mode == FakeMode::deferred) {
    std::lock_guard lock(mutex_);
    s.queue.push_back(std::move(operation));
    return;
  }
  std::lock_guard lock(s.mutex);
  s.queue.push_back(std::move(operation));
  s.changed.notify_one();
}

// Deferred mode: runs the head of one stream, chosen at random among those that may go on. False when there
// is none.
bool FakeDevice::advance() {
  std::lock_guard lock(mutex_);
  std::vector<Stream*> ready;
  for (const auto& s : streams_)
    if (!s->held && !s->queue.empty() && (!s->queue.front().before || s->queue.front().before->is_done()))
      ready.push_back(s.get());
  if (ready.empty()) return false;
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  Stream& s = *ready[(random_ >> 33) % ready.size()];
  Operation operation = std::move(s.queue.front());
  s.queue.pop_front();
  operation.work();
  return true;
}

void FakeDevice::finish(const std::shared_ptr<Record>& record) {
  if (!record) return;
  if (options_.mode == FakeMode::threaded) return record->wait();
  while (!record->is_done())
    if (!advance()) throw std::logic_error("fake device: the streams wait for each other");
}

FakeDevice::Live FakeDevice::live() const {
  std::lock_guard lock(mutex_);
  return {blocks_.size() + pages_.size(),
          used_bytes_,
          host_blocks_.size(),
          streams_.size(),
          events_,
          ranges_.size()};
}

void FakeDevice::memory_info(std::size_t& free_bytes, std::size_t& total_bytes) {
  std::lock_guard lock(mutex_);
  free_bytes = options_.memory_bytes - used_bytes_;
  total_bytes = options_.memory_bytes;
}

void* FakeDevice::grant(std::size_t bytes, bool host) {
  constexpr std::size_t kAlignment = 256, kHostRequest = std::size_t{1} << 30;
  std::lock_guard lock(mutex_);
  if (!host && bytes > options_.memory_bytes - used_bytes_) throw OutOfMemory("the fake device is full");
  if (host && bytes > kHostRequest) throw OutOfMemory("more host memory than the fake device gives");
  void* const pointer = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!pointer) throw OutOfMemory("no host memory for the fake device");
  (host ? host_blocks_ : blocks_)[pointer] = bytes;
  if (!host) used_bytes_ += bytes;
  return pointer;
}

void FakeDevice::take_back(void* pointer, bool host) noexcept {
  std::lock_guard lock(mutex_);
  auto& blocks = host ? host_blocks_ : blocks_;
  const auto found = blocks.find(pointer);
  if (found == blocks.end()) std::abort();  // freed twice, or never granted
  if (!host) used_bytes_ -= found->second;
  blocks.erase(found);
  std::free(pointer);
}

void* FakeDevice::allocate(std::size_t bytes) {
  enter(FakeCall::allocate);
  return grant(bytes, false);
}
void FakeDevice::deallocate(void* pointer, std::size_t) noexcept { take_back(pointer, false); }
void* FakeDevice::allocate_host(std::size_t bytes) {
  enter(FakeCall::allocate);
  return grant(bytes, true);
}
void FakeDevice::deallocate_host(void* pointer, std::size_t) noexcept { take_back(pointer, true); }

namespace {
constexpr std::size_t kPage = std::size_t{2} << 20;
constexpr int kNoMemory = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
}  // namespace

std::size_t FakeDevice::page_bytes() noexcept { return options_.virtual_memory ? kPage : 0; }

void* FakeDevice::reserve_addresses(std::size_t bytes) {
  enter(FakeCall::allocate);
  void* const base = mmap(nullptr, bytes, PROT_NONE, kNoMemory, -1, 0);
  if (base == MAP_FAILED) throw OutOfMemory("no addresses for the fake device");
  std::lock_guard lock(mutex_);
  ranges_[static_cast<char*>(base)] = bytes;
  return base;
}

void FakeDevice::release_addresses(void* base, std::size_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  const auto start = static_cast<char*>(base);
  const auto page = pages_.lower_bound(start);
  if (ranges_.erase(start) != 1 || (page != pages_.end() && *page < start + bytes)) std::abort();
  munmap(base, bytes);
}

void FakeDevice::map_pages(void* at, std::size_t bytes) {
  enter(FakeCall::allocate);
  std::lock_guard lock(mutex_);
  if (bytes > options_.memory_bytes - used_bytes_) throw OutOfMemory("the fake device is full");
  for (std::size_t i = 0; i < bytes; i += kPage)
    if (!pages_.insert(static_cast<char*>(at) + i).second) std::abort();  // mapped twice
  if (mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0) std::abort();
  used_bytes_ += bytes;
}

void FakeDevice::unmap_pages(void* at, std::size_t bytes) noexcept {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < bytes; i += kPage)
    if (pages_.erase(static_cast<char*>(at) + i) != 1) std::abort();  // not mapped
  if (mmap(at, bytes, PROT_NONE, kNoMemory | MAP_FIXED, -1, 0) != at) std::abort();
  used_bytes_ -= bytes;
}

RawStream FakeDevice::create_stream(int priority) {
  enter(FakeCall::stream);
  auto stream = std::make_unique<Stream>();
  stream->priority = priority;
  Stream* const raw = stream.get();
  if (options_.mode == FakeMode::threaded) raw->thread = std::thread([raw] { raw->run(); });
  std::lock_guard lock(mutex_);
  streams_.push_back(std::move(stream));
  return raw;
}

void FakeDevice::destroy_stream(RawStream stream) noexcept {
  auto* const s = static_cast<Stream*>(stream);
  if (options_.mode == FakeMode::deferred) {
    while (!s->queue.empty())
      if (!advance()) std::abort();
  }
  if (s->thread.joinable()) {
    {
      std::lock_guard lock(s->mutex);
      s->stop = true;
      s->changed.notify_one();
    }
    s->thread.join();
  }
  std::lock_guard lock(mutex_);
  std::erase_if(streams_, [&](const auto& other) { return other.get() == s; });
}

int FakeDevice::stream_priority(RawStream stream) {
  enter(FakeCall::stream);
  return static_cast<Stream*>(stream)->priority;
}

bool FakeDevice::query_stream(RawStream stream) {
  enter(FakeCall::stream);
  auto& s = *static_cast<Stream*>(stream);
  if (options_.mode == FakeMode::deferred) {
    if (!s.queue.empty()) advance();
    return s.queue.empty();
  }
  std::lock_guard lock(s.mutex);
  return s.queue.empty() && !s.busy;
}

void FakeDevice::synchronize_stream(RawStream stream) {
  enter(FakeCall::stream);
  const auto record = std::make_shared<Record>();
  push(stream, {[record] { record->complete(); }, nullptr});
  finish(record);
  if (lost_) throw DeviceLost("the fake device is lost", 700);
}

void FakeDevice::synchronize_device() {
  enter(FakeCall::stream);
  std::vector<Stream*> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& s : streams_) all.push_back(s.get());
  }
  for (Stream* s : all) {
    const auto record = std::make_shared<Record>();
    push(s, {[record] { record->complete(); }, nullptr});
    finish(record);
  }
  if (lost_) throw DeviceLost("the fake device is lost", 700);
}

RawEvent FakeDevice::create_event() {
  enter(FakeCall::event);
  auto* const event = new Event;
  std::lock_guard lock(mutex_);
  ++events_;
  return event;
}

void FakeDevice::destroy_event(RawEvent event) noexcept {
  delete static_cast<Event*>(event);
  std::lock_guard lock(mutex_);
  --events_;
}

void FakeDevice::record_event(RawEvent event, RawStream stream) {
  enter(FakeCall::event);
  auto record = std::make_shared<Record>();
  auto& e = *static_cast<Event*>(event);
  {
    std::lock_guard lock(e.mutex);
    e.record = record;
  }
  push(stream, {[record] { record->complete(); }, nullptr});
}

void FakeDevice::wait_event(RawStream stream, RawEvent event) {
  enter(FakeCall::event);
  if (auto record = static_cast<Event*>(event)->get()) push(stream, {[] {}, std::move(record)});
}

double FakeDevice::elapsed_milliseconds(RawEvent start, RawEvent end) {
  enter(FakeCall::event);
  const auto from = static_cast<Event*>(start)->get(), to = static_cast<Event*>(end)->get();
  return std::chrono::duration<double, std::milli>(to->time - from->time).count();
}

bool FakeDevice::query_event(RawEvent event) {
  enter(FakeCall::event);
  const auto record = static_cast<Event*>(event)->get();
  if (!record) return true;
  if (options_.mode == FakeMode::deferred && !record->is_done()) advance();
  return record->is_done();
}

void FakeDevice::synchronize_event(RawEvent event) {
  enter(FakeCall::event);
  finish(static_cast<Event*>(event)->get());
  if (lost_) throw DeviceLost("the fake device is lost", 700);
}

bool FakeDevice::synchronize_event_for(RawEvent event, std::chrono::microseconds limit) {
  if (options_.mode != FakeMode::deferred) return DeviceApi::synchronize_event_for(event, limit);
  for (std::chrono::microseconds spent{0}; spent < limit; ++spent)
    if (query_event(event)) return true;
  return false;
}

void FakeDevice::copy(void* dst, const void* src, std::size_t bytes, CopyKind, RawStream stream) {
  enter(FakeCall::copy);
  if (bytes) push(stream, {[=] { std::memcpy(dst, src, bytes); }, nullptr});
}

void FakeDevice::fill_bytes(void* dst, int value, std::size_t bytes, RawStream stream) {
  enter(FakeCall::copy);
  if (bytes) push(stream, {[=] { std::memset(dst, value, bytes); }, nullptr});
}

void FakeDevice::host_callback(RawStream stream, void (*callback)(void*), void* argument) {
  enter(FakeCall::stream);
  push(stream, {[=] { callback(argument); }, nullptr});
}

}  // namespace gpunn::testing
