#include "tests/support/random_programs.h"

#include <algorithm>
#include <array>
#include <span>

#include "gpunn/core/device_api.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"

namespace gpunn::testing {
namespace {

std::uint32_t mix(std::uint32_t a, std::uint32_t b) {
  a = (a ^ (b + 0x9e3779b9u + (a << 6) + (a >> 2))) * 0x85ebca6bu;
  return a ^ (a >> 13);
}

}  // namespace

// Every written value becomes a hash of what it was, of all values read, and of the operation's number.
struct RandomProgram::Kernel {
  std::uint32_t number = 0;
  std::uint32_t* clears = nullptr;
  std::vector<std::uint32_t*> reads, writes;

  void run() const {
    if (clears) std::fill_n(clears, kValues, 0u);
    std::uint32_t seed = number;
    for (const std::uint32_t* r : reads)
      for (int i = 0; i < kValues; ++i) seed = mix(seed, r[i]);
    for (std::uint32_t* w : writes)
      for (int i = 0; i < kValues; ++i) w[i] = mix(w[i], seed + static_cast<std::uint32_t>(i));
  }
  static void call(void* self) { static_cast<const Kernel*>(self)->run(); }
};

RandomProgram::RandomProgram(DeviceContext& context, ProgramOptions options)
    : context_(context), options_(options), random_(options.seed) {
  for (int s = 0; s < options.streams; ++s) streams_.emplace_back(Device(context));
  slots_.resize(static_cast<std::size_t>(options.storages));
}

RandomProgram::~RandomProgram() {
  slots_.clear();
  try {
    context_.api().synchronize_device();
  } catch (...) {
    // A fake that was made to fail: its queues are empty by now.
  }
}

void RandomProgram::fresh(Slot& slot) {
  slot.expected.assign(kValues, 0);
  slot.storage = nullptr;  // may still be in use on any stream: its memory must not come back too early
  StreamScope scope(streams_[random_() % streams_.size()]);
  slot.storage = Storage::allocate(context_, kValues * sizeof(std::uint32_t), Storage::Place::pinned_host);
  // The first operation on it clears it, on the stream it belongs to.
  auto kernel = std::make_unique<Kernel>();
  kernel->clears = static_cast<std::uint32_t*>(slot.storage->data());
  const std::array<Storage*, 1> writes{slot.storage.get()};
  Scheduler::Issue issue(context_.scheduler(), context_.current_stream(), {}, writes);
  context_.api().host_callback(context_.current_stream(), &Kernel::call, kernel.get());
  issue.commit();
  kernels_.push_back(std::move(kernel));
}

std::vector<std::size_t> RandomProgram::pick(std::size_t at_most, bool at_least_one) {
  std::vector<std::size_t> all(slots_.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  std::shuffle(all.begin(), all.end(), random_);
  all.resize((at_least_one ? 1 : 0) + random_() % at_most);
  return all;
}

void RandomProgram::issue() {
  const auto written = pick(2, true);
  auto read = pick(4, false);
  auto kernel = std::make_unique<Kernel>();
  Kernel serial;
  serial.number = kernel->number = static_cast<std::uint32_t>(random_());
  std::vector<Storage*> reads, writes;
  // A storage may be read and written by one operation; it then counts as both.
  for (std::size_t i : read) {
    reads.push_back(slots_[i].storage.get());
    kernel->reads.push_back(static_cast<std::uint32_t*>(reads.back()->data()));
    serial.reads.push_back(slots_[i].expected.data());
  }
  for (std::size_t i : written) {
    writes.push_back(slots_[i].storage.get());
    kernel->writes.push_back(static_cast<std::uint32_t*>(writes.back()->data()));
    serial.writes.push_back(slots_[i].expected.data());
  }
  serial.run();
  const RawStream stream = streams_[random_() % streams_.size()].raw();
  if (options_.scheduled) {
    Scheduler::Issue issue(context_.scheduler(), stream, reads, writes);
    context_.api().host_callback(stream, &Kernel::call, kernel.get());
    issue.commit();
  } else {
    context_.api().host_callback(stream, &Kernel::call, kernel.get());
  }
  kernels_.push_back(std::move(kernel));
}

int RandomProgram::differences(const Slot& slot) const {
  const auto* const values = static_cast<const std::uint32_t*>(slot.storage->data());
  int count = 0;
  for (std::size_t i = 0; i < kValues; ++i) count += values[i] != slot.expected[i];
  return count;
}

void RandomProgram::host_read() {
  const Slot& slot = slots_[random_() % slots_.size()];
  if (!options_.scheduled) return;
  context_.scheduler().wait_readable(*slot.storage);
  different_ += differences(slot);
}

void RandomProgram::host_write() {
  Slot& slot = slots_[random_() % slots_.size()];
  if (!options_.scheduled) return;
  context_.scheduler().wait_writable(*slot.storage);
  const auto value = static_cast<std::uint32_t>(random_());
  static_cast<std::uint32_t*>(slot.storage->data())[0] = value;
  slot.expected[0] = value;
}

int RandomProgram::run() {
  for (Slot& slot : slots_) fresh(slot);
  for (int i = 0; i < options_.operations; ++i) {
    const auto turn = random_() % 20;
    if (turn == 0) {
      host_read();
    } else if (turn == 1) {
      host_write();
    } else if (turn == 2) {
      fresh(slots_[random_() % slots_.size()]);
    } else if (turn == 3) {
      context_.scheduler().join(streams_[random_() % streams_.size()].raw(),
                                streams_[random_() % streams_.size()].raw());
    } else {
      issue();
    }
  }
  context_.synchronize();
  for (const Slot& slot : slots_) different_ += differences(slot);
  return different_;
}

}  // namespace gpunn::testing
