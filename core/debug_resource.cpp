// Debug mode. A block lies between two red zones:
//
//   base [kZone bytes of kZoneByte] pointer [bytes] [kZone bytes of kZoneByte]
//
// A returned block waits in quarantine. What its streams have yet to do may still read and write it, so it is
// filled with kFreed only when they are done, and looked at again when it leaves. One that has to leave
// earlier goes to the resource below as it would without debug mode; then its memory is watched until they
// are done.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"

namespace gpunn {

MemoryFault::~MemoryFault() = default;

namespace {

constexpr std::size_t kZone = 256;
constexpr int kZoneByte = 0xa5, kFresh = 0xff, kFreed = 0xfd;
constexpr std::size_t kStaging = std::size_t{256} << 10;
constexpr std::size_t kMostFaults = 16;  // told in one message

// Index of the first byte that is not `value`; `count` when all are.
std::size_t first_other(const void* memory, int value, std::size_t count) noexcept {
  const auto* bytes = static_cast<const unsigned char*>(memory);
  return static_cast<std::size_t>(
      std::find_if(bytes, bytes + count, [value](unsigned char b) { return b != value; }) - bytes);
}

struct BlockInfo {
  char* base = nullptr;
  std::size_t bytes = 0;  // between the zones
  RawStream stream = nullptr;
  std::string place;  // where it was allocated: "[layer: op] "
  std::vector<RawStream> users;

  char* body() const { return base + kZone; }
  std::size_t total() const { return bytes + 2 * kZone; }
};

struct Returned {
  BlockInfo block;
  std::vector<std::pair<RawStream, RawEvent>> events;  // what may still use it
  char* zones =
      nullptr;          // on a device: copy of both zones as they were when it was returned, in pinned memory
  bool filled = false;  // with kFreed
};

class DebugResource final : public MemoryResource {
 public:
  DebugResource(std::unique_ptr<MemoryResource> below, DeviceApi& api, DebugOptions options)
      : below_(std::move(below)), api_(api), options_(options) {}
  ~DebugResource() override;

  void* allocate(std::size_t bytes, RawStream stream) override;
  void deallocate(void* pointer, std::size_t bytes, RawStream stream) noexcept override;
  void record_use(void* pointer, RawStream stream) override;
  std::size_t trim() override;
  MemoryStats stats() const override;
  void reset_peaks() override;
  std::vector<MemorySegment> segments() const override { return below_->segments(); }
  void check() override;

 private:
  char* take(std::size_t bytes, RawStream stream);
  void fill(const BlockInfo& block, char* at, int value, std::size_t bytes);
  void fill_zones(const BlockInfo& block);
  void check_idle(const BlockInfo& block);
  Returned retire(BlockInfo&& block);
  bool settled(Returned& returned);
  void check_copied_zones(Returned& returned);
  void advance();
  void evict() noexcept;
  bool evict_all() noexcept;

  bool zones_intact(const BlockInfo& block, const void* before, const void* behind) noexcept;
  void check_zones(const BlockInfo& block);
  void check_freed(const BlockInfo& block);
  const char* to_host(const char* memory, std::size_t bytes, RawStream stream);

  RawEvent take_event();
  char* take_zones();
  void give_zones(char*& zones) noexcept;
  void release_pinned() noexcept;
  template <class... Parts>
  void report(const BlockInfo& block, const Parts&... parts) noexcept;
  void throw_faults();

  std::unique_ptr<MemoryResource> below_;
  DeviceApi& api_;
  const DebugOptions options_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, BlockInfo> live_;
  std::deque<Returned> quarantine_;
  std::size_t quarantine_bytes_ = 0, filled_ = 0;  // filled: so many at the front are
  std::list<Returned> watched_;  // given to the resource below before their streams were done
  std::vector<RawEvent> idle_events_;
  std::vector<char*> idle_zones_;
  std::vector<char*> pinned_zones_;
  char* staging_ = nullptr;
  std::vector<std::string> faults_;
  std::size_t live_bytes_ = 0, peak_live_bytes_ = 0;
  std::uint64_t allocations_ = 0, deallocations_ = 0;
};

DebugResource::~DebugResource() {
  try {
    api_.synchronize_device();
    advance();
  } catch (...) {
    // A lost device: what it holds cannot be looked at.
  }
  evict_all();
  for (const Returned& r : watched_)
    for (const auto& [stream, event] : r.events) api_.destroy_event(event);
  for (RawEvent event : idle_events_) api_.destroy_event(event);
  release_pinned();
  for (const std::string& fault : faults_) std::fprintf(stderr, "gpunn memory debug: %s\n", fault.c_str());
}

void* DebugResource::allocate(std::size_t bytes, RawStream stream) {
  std::lock_guard lock(mutex_);
  advance();
  throw_faults();
  if (bytes == 0 || bytes > detail::kMaxRequest) return below_->allocate(bytes, stream);
  BlockInfo block{take(bytes + 2 * kZone, stream), bytes, stream, where(), {}};
  void* const pointer = block.body();
  try {
    check_idle(block);
    throw_faults();
    fill_zones(block);
    fill(block, block.body(), kFresh, bytes);
    live_.emplace(pointer, block);
  } catch (...) {
    below_->deallocate(block.base, block.total(), stream);
    throw;
  }
  ++allocations_;
  live_bytes_ += bytes;
  peak_live_bytes_ = std::max(peak_live_bytes_, live_bytes_);
  return pointer;
}

char* DebugResource::take(std::size_t bytes, RawStream stream) {
  try {
    return static_cast<char*>(below_->allocate(bytes, stream));
  } catch (const OutOfMemory&) {
    if (!evict_all()) throw;
  }
  return static_cast<char*>(below_->allocate(bytes, stream));
}

// At once where the host writes the memory, else in stream order.
void DebugResource::fill(const BlockInfo& block, char* at, int value, std::size_t bytes) {
  if (options_.host) {
    std::memset(at, value, bytes);
  } else {
    api_.fill_bytes(at, value, bytes, block.stream);
  }
}

void DebugResource::fill_zones(const BlockInfo& block) {
  fill(block, block.base, kZoneByte, kZone);
  fill(block, block.body() + block.bytes, kZoneByte, kZone);
}

// The resource below must not hand out what a stream has yet to finish with.
void DebugResource::check_idle(const BlockInfo& block) {
  for (const Returned& old : watched_) {
    const bool apart =
        old.block.base + old.block.total() <= block.base || block.base + block.total() <= old.block.base;
    if (apart) continue;
    for (const auto& [stream, event] : old.events)
      if ((options_.host || stream != block.stream) && !api_.query_event(event))
        report(old.block, "was handed out again, as a block of ", detail::bytes_text(block.bytes),
               ", while a stream that used it had not finished");
  }
}

void DebugResource::deallocate(void* pointer, std::size_t bytes, RawStream stream) noexcept {
  if (!pointer) return;
  std::lock_guard lock(mutex_);
  auto node = live_.extract(pointer);
  if (node.empty()) {
    const auto again = std::find_if(quarantine_.begin(), quarantine_.end(),
                                    [&](const Returned& r) { return r.block.body() == pointer; });
    if (again != quarantine_.end()) {
      report(again->block, "was returned twice");
    } else {
      report({nullptr, bytes, stream, {}, {}},
             "was returned, but is not handed out: returned twice, or unknown");
    }
    return;
  }
  BlockInfo block = std::move(node.mapped());
  ++deallocations_;
  live_bytes_ -= block.bytes;
  if (bytes != block.bytes) report(block, "was returned as one of ", detail::bytes_text(bytes));
  if (stream != block.stream) report(block, "was returned on another stream than it was allocated on");
  char* const base = block.base;
  const std::size_t total = block.total();
  const RawStream owner = block.stream;
  bool kept = false;
  try {
    quarantine_.push_back(retire(std::move(block)));
    kept = true;
    quarantine_bytes_ += total;
    advance();
  } catch (...) {
    if (!kept) {
      // The device answers no more, or there is no memory to note the block: it goes unchecked.
      below_->deallocate(base, total, owner);
    }
  }
  while (quarantine_bytes_ > options_.quarantine_bytes) evict();
}

// What is still to run on the block gets events; the zones are copied behind the work of its stream.
Returned DebugResource::retire(BlockInfo&& block) {
  Returned returned;
  returned.block = std::move(block);
  const BlockInfo& b = returned.block;
  try {
    const auto record = [&](RawStream stream) {
      returned.events.reserve(b.users.size() + 1);
      const RawEvent event = take_event();
      returned.events.emplace_back(stream, event);
      api_.record_event(event, stream);
    };
    if (!options_.host) {
      returned.zones = take_zones();
      api_.copy(returned.zones, b.base, kZone, CopyKind::device_to_host, b.stream);
      api_.copy(returned.zones + kZone, b.body() + b.bytes, kZone, CopyKind::device_to_host, b.stream);
    }
    record(b.stream);
    for (RawStream user : b.users) record(user);
    return returned;
  } catch (...) {
    for (const auto& [stream, event] : returned.events) api_.destroy_event(event);
    for (RawStream user : b.users) below_->record_use(b.base, user);
    throw;
  }
}

bool DebugResource::settled(Returned& returned) {
  while (!returned.events.empty()) {
    if (!api_.query_event(returned.events.back().second)) return false;
    idle_events_.push_back(returned.events.back().second);
    returned.events.pop_back();
  }
  return true;
}

// The zones as they were when the block was returned. A fault is told once: then they are whole again.
void DebugResource::check_copied_zones(Returned& returned) {
  const bool intact = zones_intact(returned.block, returned.zones, returned.zones + kZone);
  give_zones(returned.zones);
  if (!intact) fill_zones(returned.block);
}

void DebugResource::advance() {
  for (; filled_ < quarantine_.size(); ++filled_) {
    Returned& r = quarantine_[filled_];
    if (!settled(r)) break;
    // No work uses the block any more.
    if (r.zones) {
      check_copied_zones(r);
    } else {
      check_zones(r.block);
    }
    fill(r.block, r.block.body(), kFreed, r.block.bytes);
    r.filled = true;
  }
  for (auto it = watched_.begin(); it != watched_.end();) {
    if (!settled(*it)) {
      ++it;
      continue;
    }
    // Its memory may be somebody else's by now; what is left to look at is the copy of its zones.
    if (it->zones) {
      zones_intact(it->block, it->zones, it->zones + kZone);
      give_zones(it->zones);
    }
    it = watched_.erase(it);
  }
}

// The oldest block leaves the quarantine.
void DebugResource::evict() noexcept {
  Returned returned = std::move(quarantine_.front());
  quarantine_.pop_front();
  const BlockInfo block = returned.block;
  quarantine_bytes_ -= block.total();
  if (filled_ > 0) --filled_;
  try {
    if (returned.filled) {
      check_freed(block);
      check_zones(block);
    } else {
      for (RawStream user : block.users) below_->record_use(block.base, user);
      watched_.push_back(std::move(returned));
    }
  } catch (...) {
    // A device that fails is reported by whoever can throw.
  }
  below_->deallocate(block.base, block.total(), block.stream);
}

bool DebugResource::evict_all() noexcept {
  const bool any = !quarantine_.empty();
  while (!quarantine_.empty()) evict();
  return any;
}

void DebugResource::record_use(void* pointer, RawStream stream) {
  std::lock_guard lock(mutex_);
  const auto found = live_.find(pointer);
  if (found != live_.end()) {
    auto& users = found->second.users;
    if (stream != found->second.stream && std::find(users.begin(), users.end(), stream) == users.end())
      users.push_back(stream);
    return;
  }
  const auto returned = std::find_if(quarantine_.begin(), quarantine_.end(),
                                     [&](const Returned& r) { return r.block.body() == pointer; });
  if (returned != quarantine_.end()) {
    report(returned->block, "was used by another stream after it had been returned");
  } else {
    report({nullptr, 0, stream, {}, {}}, "was used by another stream, but is not handed out");
  }
}

std::size_t DebugResource::trim() {
  std::lock_guard lock(mutex_);
  api_.synchronize_device();
  advance();
  evict_all();
  if (idle_zones_.size() == pinned_zones_.size()) release_pinned();
  throw_faults();
  return below_->trim();
}

void DebugResource::check() {
  std::lock_guard lock(mutex_);
  api_.synchronize_device();
  advance();
  for (const auto& [pointer, block] : live_) check_zones(block);
  for (const Returned& r : quarantine_) {
    if (!r.filled) continue;
    check_freed(r.block);
    check_zones(r.block);
  }
  throw_faults();
  below_->check();
}

MemoryStats DebugResource::stats() const {
  std::lock_guard lock(mutex_);
  MemoryStats stats = below_->stats();
  stats.live_bytes = live_bytes_;
  stats.peak_live_bytes = peak_live_bytes_;
  stats.allocations = allocations_;
  stats.deallocations = deallocations_;
  return stats;
}

void DebugResource::reset_peaks() {
  std::lock_guard lock(mutex_);
  below_->reset_peaks();
  peak_live_bytes_ = live_bytes_;
}

bool DebugResource::zones_intact(const BlockInfo& block, const void* before, const void* behind) noexcept {
  const std::size_t after = first_other(behind, kZoneByte, kZone);
  if (after < kZone) report(block, "was written past its end, first at byte +", after);
  const auto* zone = static_cast<const unsigned char*>(before);
  std::size_t back = 1;
  while (back <= kZone && zone[kZone - back] == kZoneByte) ++back;
  if (back <= kZone) report(block, "was written before its start, at byte -", back);
  return after == kZone && back > kZone;
}

void DebugResource::check_zones(const BlockInfo& block) {
  char before[kZone];
  std::memcpy(before, to_host(block.base, kZone, block.stream), kZone);
  if (!zones_intact(block, before, to_host(block.body() + block.bytes, kZone, block.stream)))
    fill_zones(block);
}

void DebugResource::check_freed(const BlockInfo& block) {
  for (std::size_t done = 0; done < block.bytes; done += kStaging) {
    const std::size_t bytes = std::min(kStaging, block.bytes - done);
    const std::size_t wrong = first_other(to_host(block.body() + done, bytes, block.stream), kFreed, bytes);
    if (wrong == bytes) continue;
    report(block, "was written after it had been returned, first at byte ", done + wrong);
    return fill(block, block.body(), kFreed, block.bytes);
  }
}

// At most kStaging bytes, for the host to read until the next call.
const char* DebugResource::to_host(const char* memory, std::size_t bytes, RawStream stream) {
  if (options_.host) return memory;
  if (!staging_) staging_ = static_cast<char*>(api_.allocate_host(kStaging));
  api_.copy(staging_, memory, bytes, CopyKind::device_to_host, stream);
  api_.synchronize_stream(stream);
  return staging_;
}

RawEvent DebugResource::take_event() {
  if (idle_events_.empty()) return api_.create_event();
  const RawEvent event = idle_events_.back();
  idle_events_.pop_back();
  return event;
}

char* DebugResource::take_zones() {
  if (!idle_zones_.empty()) {
    char* const zones = idle_zones_.back();
    idle_zones_.pop_back();
    return zones;
  }
  pinned_zones_.reserve(pinned_zones_.size() + 1);
  idle_zones_.reserve(pinned_zones_.size() + 1);  // so that give_zones() cannot fail
  pinned_zones_.push_back(static_cast<char*>(api_.allocate_host(2 * kZone)));
  return pinned_zones_.back();
}

void DebugResource::give_zones(char*& zones) noexcept {
  idle_zones_.push_back(std::exchange(zones, nullptr));
}

// Nothing is copied to it any more.
void DebugResource::release_pinned() noexcept {
  for (char* zones : pinned_zones_) api_.deallocate_host(zones, 2 * kZone);
  pinned_zones_.clear();
  idle_zones_.clear();
  if (staging_) api_.deallocate_host(staging_, kStaging);
  staging_ = nullptr;
}

template <class... Parts>
void DebugResource::report(const BlockInfo& block, const Parts&... parts) noexcept {
  try {
    faults_.push_back(detail::concat(block.place, "a block of ", detail::bytes_text(block.bytes), " on ",
                                     name_of(api_.type()), ':', api_.index(), ' ', parts...));
  } catch (...) {
    // No memory for the words.
  }
}

void DebugResource::throw_faults() {
  if (faults_.empty()) return;
  const std::vector<std::string> faults = std::exchange(faults_, {});
  std::string text = faults.front();
  for (std::size_t i = 1; i < std::min(faults.size(), kMostFaults); ++i) text += "; " + faults[i];
  if (faults.size() > kMostFaults) text += detail::concat("; and ", faults.size() - kMostFaults, " more");
  throw MemoryFault(text);
}

}  // namespace

std::unique_ptr<MemoryResource> make_debug_resource(std::unique_ptr<MemoryResource> resource, DeviceApi& api,
                                                    DebugOptions options) {
  return std::make_unique<DebugResource>(std::move(resource), api, options);
}

}  // namespace gpunn
