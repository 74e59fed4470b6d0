#include "tests/support/random_programs.h"

#include <algorithm>
#include <thread>

#include "gpunn/core/detail/make_impl.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/scheduler.h"

namespace gpunn::testing {
namespace {

std::uint32_t mix(std::uint32_t a, std::uint32_t b) {
  a = (a ^ (b + 0x9e3779b9u + (a << 6) + (a >> 2))) * 0x85ebca6bu;
  return a ^ (a >> 13);
}

std::uint32_t* values_of(const Tensor& t) { return static_cast<std::uint32_t*>(t.data()); }

Tensor tensor_over(Ref<Storage> storage, int values) {
  const Shape shape{values};
  return Tensor(detail::make_impl(std::move(storage), shape, contiguous_strides(shape), 0, DType::i32,
                                  Layout::contiguous));
}

}  // namespace

// Every written value becomes a hash of what it was, of all values read, and of the operation's number.
struct RandomProgram::Kernel {
  std::uint32_t number = 0;
  std::uint32_t* clears = nullptr;
  std::vector<std::uint32_t*> reads{}, writes{};

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

RandomProgram::RandomProgram(DeviceContext& context, ProgramOptions options, std::span<Stream> shared)
    : context_(context),
      options_(options),
      host_reaches_device_(context.api().info().emulated),
      random_(options.seed),
      streams_(shared),
      slots_(static_cast<std::size_t>(options.storages)),
      cell_(kValues),
      cell_expected_(kValues) {
  if (shared.empty()) {
    for (int s = 0; s < options.streams; ++s) own_streams_.emplace_back(Device(context));
    streams_ = own_streams_;
  }
  for (int e = 0; e < 3; ++e) events_.emplace_back();
}

RandomProgram::~RandomProgram() {
  slots_.clear();
  try {
    context_.synchronize();
  } catch (...) {
    // A fake that was made to fail: its queues are empty by now.
  }
}

Storage::Place RandomProgram::any_place() {
  return host_reaches_device_ && draw(2) == 0 ? Storage::Place::device : Storage::Place::pinned_host;
}

// The old memory may still be in use on any stream: it must not come back too early.
void RandomProgram::fresh(Slot& slot) {
  slot.tensor = {};
  const StreamScope scope(any_stream());
  slot.tensor =
      tensor_over(Storage::allocate(context_, kValues * sizeof(std::uint32_t), any_place()), kValues);
  clear(slot);
}

// Three slots become neighbours in one block, each with dependencies of its own.
void RandomProgram::fresh_slices() {
  const auto chosen = pick(1, true);
  constexpr std::size_t kStep = Storage::kSliceAlignment;
  const StreamScope scope(any_stream());
  const Ref<Storage> block = Storage::allocate(context_, 3 * kStep, any_place());
  for (std::size_t i = 0; i < 3; ++i) {
    Slot& slot = slots_[(chosen[0] + i) % slots_.size()];
    slot.tensor = {};
    slot.tensor = tensor_over(Storage::slice(block, i * kStep, kValues * sizeof(std::uint32_t)), kValues);
    clear(slot);
  }
}

// The first operation on a storage clears it, on whatever stream.
void RandomProgram::clear(Slot& slot) {
  slot.expected.assign(kValues, 0);
  Kernel kernel;
  kernel.clears = values_of(slot.tensor);
  launch(std::move(kernel), {}, {slot.tensor});
}

std::vector<std::size_t> RandomProgram::pick(std::size_t at_most, bool at_least_one) {
  std::vector<std::size_t> all(slots_.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  std::shuffle(all.begin(), all.end(), random_);
  all.resize((at_least_one ? 1 : 0) + draw(at_most));
  return all;
}

void RandomProgram::launch(Kernel kernel, const std::vector<Tensor>& reads,
                           const std::vector<Tensor>& writes) {
  Stream& stream = any_stream();
  if (options_.scheduled && draw(3) == 0) {
    stream.call([kernel = std::move(kernel)] { kernel.run(); }, reads, writes);
    return;
  }
  kernels_.push_back(std::make_unique<Kernel>(std::move(kernel)));
  if (!options_.scheduled)
    return context_.api().host_callback(stream.raw(), &Kernel::call, kernels_.back().get());
  std::vector<Storage*> read, written;
  for (const Tensor& t : reads) read.push_back(&t.storage());
  for (const Tensor& t : writes) written.push_back(&t.storage());
  Scheduler::Issue issue(context_.scheduler(), stream.raw(), read, written);
  context_.api().host_callback(stream.raw(), &Kernel::call, kernels_.back().get());
  issue.commit();
}

void RandomProgram::issue() {
  const auto written = pick(2, true);
  const auto read = pick(4, false);
  Kernel kernel, serial;
  serial.number = kernel.number = static_cast<std::uint32_t>(random_());
  std::vector<Tensor> reads, writes;
  // A storage may be read and written by one operation; it then counts as both.
  for (std::size_t i : read) {
    reads.push_back(slots_[i].tensor);
    kernel.reads.push_back(values_of(slots_[i].tensor));
    serial.reads.push_back(slots_[i].expected.data());
  }
  for (std::size_t i : written) {
    writes.push_back(slots_[i].tensor);
    kernel.writes.push_back(values_of(slots_[i].tensor));
    serial.writes.push_back(slots_[i].expected.data());
  }
  serial.run();
  launch(std::move(kernel), reads, writes);
}

int RandomProgram::differences(const Slot& slot) const {
  const std::uint32_t* const values = values_of(slot.tensor);
  int count = 0;
  for (std::size_t i = 0; i < kValues; ++i) count += values[i] != slot.expected[i];
  return count;
}

void RandomProgram::host_read() {
  const Slot& slot = any_slot();
  if (!options_.scheduled) return;
  context_.scheduler().wait_readable(slot.tensor.storage());
  different_ += differences(slot);
}

void RandomProgram::host_write() {
  Slot& slot = any_slot();
  if (!options_.scheduled) return;
  context_.scheduler().wait_writable(slot.tensor.storage());
  const auto value = static_cast<std::uint32_t>(random_());
  values_of(slot.tensor)[0] = value;
  slot.expected[0] = value;
}

void RandomProgram::use_event() {
  Event& event = events_[draw(events_.size())];
  switch (draw(4)) {
    case 0:
      return event.record(any_stream());
    case 1:
      return any_stream().wait(event);
    case 2:
      return event.synchronize();
    default:
      event.query();
  }
}

// On a stream that waits for the cell's last user, by a join or by an event.
void RandomProgram::undeclared_call() {
  if (!options_.scheduled) return;
  Stream& stream = any_stream();
  if (cell_user_ && cell_user_ != &stream) {
    if (draw(2) == 0) {
      stream.wait(*cell_user_);
    } else {
      Event& event = events_[draw(events_.size())];
      event.record(*cell_user_);
      stream.wait(event);
    }
  }
  cell_user_ = &stream;
  Kernel kernel, serial;
  serial.number = kernel.number = static_cast<std::uint32_t>(random_());
  kernel.writes.push_back(cell_.data());
  serial.writes.push_back(cell_expected_.data());
  serial.run();
  stream.call([kernel = std::move(kernel)] { kernel.run(); });
  if (draw(4) == 0) {
    stream.synchronize();
    different_ += cell_ != cell_expected_;
  }
}

void RandomProgram::turn() {
  switch (draw(20)) {
    case 0:
      return host_read();
    case 1:
      return host_write();
    case 2:
      return fresh(any_slot());
    case 3:
      return fresh_slices();
    case 4:
      return any_stream().wait(any_stream());
    case 5:
      return use_event();
    case 6:
    case 7:
      return undeclared_call();
    default:
      issue();
  }
}

int RandomProgram::run() {
  for (Slot& slot : slots_) fresh(slot);
  const auto take_turns = [this] {
    for (int i = 0; i < options_.operations / options_.threads; ++i) {
      const std::lock_guard lock(lock_);
      turn();
    }
  };
  std::vector<std::thread> others;
  for (int t = 1; t < options_.threads; ++t) others.emplace_back(take_turns);
  take_turns();
  for (std::thread& other : others) other.join();
  context_.synchronize();
  for (const Slot& slot : slots_) different_ += differences(slot);
  different_ += cell_ != cell_expected_;
  return different_;
}

}  // namespace gpunn::testing
