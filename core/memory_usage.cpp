#include "gpunn/core/memory_usage.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "gpunn/core/detail/memory_recorder.h"
#include "gpunn/core/detail/out_of_memory.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

namespace {

MemoryTag tag_at(int i) { return static_cast<MemoryTag>(i); }

void raise(std::atomic<std::size_t>& peak, std::size_t bytes) noexcept {
  std::size_t seen = peak.load(std::memory_order_relaxed);
  while (seen < bytes && !peak.compare_exchange_weak(seen, bytes, std::memory_order_relaxed)) {
  }
}

}  // namespace

MemoryUsage::MemoryUsage() : recorder_(std::make_unique<detail::MemoryRecorder>(*this)) {}
MemoryUsage::~MemoryUsage() = default;

void MemoryUsage::raise_peaks(Counter& c, std::size_t bytes) noexcept {
  raise(c.recent, bytes);
  raise(c.peak, bytes);
}

TagUsage MemoryUsage::of(MemoryTag tag) const noexcept {
  const Counter& c = counter(tag);
  const std::int64_t wraps = c.wraps.load(kRelaxed);
  const std::uint64_t now = c.now.load(kRelaxed);
  const std::size_t limit = c.limit.load(kRelaxed);
  return {.live_bytes = bytes_in(now),
          .peak_bytes = c.peak.load(kRelaxed),
          .limit_bytes = limit == kNoLimit ? 0 : limit,
          .blocks = static_cast<std::uint64_t>(wraps) * (kLastBlock / kBlock + 1) + now / kBlock};
}

std::size_t MemoryUsage::live_bytes() const noexcept {
  std::size_t total = 0;
  for (int i = 0; i < kMemoryTags; ++i) total += live_bytes(tag_at(i));
  return total;
}

void MemoryUsage::reset_peaks() noexcept {
  for (Counter& c : counters_) {
    const std::size_t live = bytes_in(c.now.load(kRelaxed));
    c.recent.store(live, kRelaxed);
    c.peak.store(live, kRelaxed);
  }
}

std::array<std::size_t, kMemoryTags> MemoryUsage::take_recent_peaks() noexcept {
  std::array<std::size_t, kMemoryTags> peaks{};
  for (std::size_t i = 0; i < counters_.size(); ++i)
    peaks[i] = counters_[i].recent.exchange(bytes_in(counters_[i].now.load(kRelaxed)), kRelaxed);
  return peaks;
}

void MemoryUsage::set_limit(MemoryTag tag, std::size_t bytes) noexcept {
  counter(tag).limit.store(bytes == 0 ? kNoLimit : std::min<std::size_t>(bytes, kBlock - 1), kRelaxed);
}

void MemoryUsage::set_limits(std::string_view text) {
  std::array<std::size_t, kMemoryTags> limits{};
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma), name = item.substr(0, item.find('='));
    int i = 0;
    while (i < kMemoryTags && name != name_of(tag_at(i))) ++i;
    GPUNN_CHECK(i < kMemoryTags && name.size() < item.size(),
                "expected limits like \"activations=2GiB,optimizer=500MiB\", got \"", item, "\"");
    limits[static_cast<std::size_t>(i)] = detail::parse_bytes(item.substr(name.size() + 1));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  for (int i = 0; i < kMemoryTags; ++i)
    if (const std::size_t bytes = limits[static_cast<std::size_t>(i)]) set_limit(tag_at(i), bytes);
}

bool MemoryUsage::claim(MemoryTag tag, std::size_t bytes) noexcept {
  Counter& c = counter(tag);
  const std::size_t limit = c.limit.load(kRelaxed);
  std::uint64_t now = c.now.load(kRelaxed);
  do {
    if (bytes > limit || bytes_in(now) > limit - bytes) return false;
  } while (!c.now.compare_exchange_weak(now, now + kBlock + bytes, kRelaxed));
  if (now >= kLastBlock) c.wraps.fetch_add(1, kRelaxed);
  return true;
}

namespace detail {

namespace {

// Under a limit the bytes are counted first, so that two threads cannot pass it together.
void* take_limited(DeviceContext& context, std::size_t bytes, RawStream stream, MemoryTag tag) {
  MemoryUsage& usage = context.usage();
  if (!usage.claim(tag, bytes)) throw OutOfMemory(limit_text(context, bytes, tag));
  try {
    void* const pointer = context.memory().allocate(bytes, stream);
    usage.reach_peak(tag);
    return pointer;
  } catch (...) {
    usage.remove(tag, bytes);
    throw;
  }
}

void* take_counted(DeviceContext& context, std::size_t bytes, RawStream stream, MemoryTag tag) {
  if (context.usage().has_limit(tag)) [[unlikely]]
    return take_limited(context, bytes, stream, tag);
  void* const pointer = context.memory().allocate(bytes, stream);
  context.usage().add(tag, bytes);
  return pointer;
}

}  // namespace

void* take_memory(DeviceContext& context, std::size_t bytes, RawStream stream, MemoryTag tag) {
  if (bytes == 0) return nullptr;
  void* pointer = nullptr;
  try {
    pointer = take_counted(context, bytes, stream, tag);
  } catch (const OutOfMemory& e) {
    throw OutOfMemory(out_of_memory_text(context, bytes, tag, e.what()));
  }
  if (context.usage().recording()) [[unlikely]]
    context.usage().recorder().allocated(pointer, bytes, tag, stream);
  return pointer;
}

void give_memory(DeviceContext& context, void* pointer, std::size_t bytes, RawStream stream,
                 MemoryTag tag) noexcept {
  if (!pointer) return;
  MemoryUsage& usage = context.usage();
  // Before the memory can be handed out again, so that the record of an address is always its owner's.
  if (usage.recording()) [[unlikely]]
    usage.recorder().freed(pointer);
  usage.remove(tag, bytes);
  context.memory().deallocate(pointer, bytes, stream);
}

void change_tag(DeviceContext& context, const void* pointer, std::size_t bytes, MemoryTag from,
                MemoryTag to) noexcept {
  if (!pointer || from == to) return;
  MemoryUsage& usage = context.usage();
  usage.add(to, bytes);
  usage.remove(from, bytes);
  if (usage.recording()) [[unlikely]]
    usage.recorder().retagged(pointer, to);
}

void prepare_usage(DeviceContext& context) {
  MemoryUsage& usage = context.usage();
  if (const char* const limits = std::getenv("GPUNN_MEMORY_TAG_LIMITS")) {
    const OpScope scope("GPUNN_MEMORY_TAG_LIMITS");  // named in what is thrown
    usage.set_limits(limits);
  }
  const RuntimeOptions& options = context.runtime().options();
  const std::string device = to_string(Device(context));
  if (!options.memory_trace.empty()) {
    usage.recorder().start(device, TraceFile::open(options.memory_trace, TraceFile::Complaint::to_stderr));
  } else if (options.memory_debug) {
    usage.recorder().start(device, nullptr);
  }
}

std::size_t parse_bytes(std::string_view text) {
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  int shift = unit.empty() ? 0 : -1;
  for (int i = 0; i < 5; ++i)
    if (unit == kUnits[i]) shift = 10 * i;
  const bool fits = shift >= 0 && value <= std::numeric_limits<std::size_t>::max() >> shift;
  GPUNN_CHECK(error == std::errc() && fits, "expected a size like 500MiB (B, KiB, MiB, GiB, TiB), got \"",
              text, "\"");
  return value << shift;
}

}  // namespace detail
}  // namespace gpunn
