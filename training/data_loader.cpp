#include "gpunn/training/data_loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <thread>

#include "gpunn/core/copies.h"
#include "gpunn/core/profiler.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"

namespace gpunn {

namespace {
// Shuffles draw from Philox subsequences of their own, apart from initial weights (subsequence 0).
constexpr std::uint64_t kShuffleStream = std::uint64_t{0x5348} << 48;

// Batches on a CUDA device, each buffer filled again after its turn. The copies run on the copy-in stream;
// the scheduler makes each wait for the last op that read the buffer.
class DeviceBuffers {
 public:
  DeviceBuffers(Device device, int count) : device_(device), buffers_(static_cast<std::size_t>(count)) {}

  std::size_t count() const noexcept { return buffers_.size(); }

  Batch fill(Batch pinned) {
    Buffer& b = buffers_[turn_++ % buffers_.size()];
    // What this buffer was filled from last must have been read: that bounds pinned memory, and the host's
    // lead.
    for (const Tensor* last : {&b.source.inputs, &b.source.targets})
      if (last->defined()) device_.context().scheduler().wait_writable(last->storage());
    b.source = std::move(pinned);
    return {upload(b.source.inputs, b.target.inputs), upload(b.source.targets, b.target.targets)};
  }

 private:
  struct Buffer {
    Batch source, target;
  };

  // Handed out as another handle on the same memory: what the caller does to it, a gradient for instance,
  // does not return with the next batch.
  Tensor upload(const Tensor& pinned, Tensor& target) {
    const bool free = target.defined() && target.storage().exclusive();
    if (free && target.shape() == pinned.shape() && target.dtype() == pinned.dtype()) {
      copy_async(target, pinned);
    } else {
      target = {};
      target = pinned.to(device_, true);
    }
    return target.detach();
  }

  Device device_;
  std::vector<Buffer> buffers_;
  std::size_t turn_ = 0;
};

}  // namespace

// A pass. Batches are made in host memory, by the caller or by workers, and on a CUDA device staged from
// there ahead of the caller. With workers: slot i % window holds batch i once it is made; a worker claims
// batch i only while i < taken + window, so a slot is never claimed while it is in use.
struct DataLoader::Epoch::State {
  struct Slot {
    bool ready = false;
    Batch batch;
    std::exception_ptr error;
  };
  struct Staged {
    Batch batch;
    std::exception_ptr error;
  };

  std::shared_ptr<const Dataset> dataset;
  DataLoaderOptions options;
  std::vector<std::int64_t> order;
  std::int64_t epoch_number = 0;
  std::int64_t batches = 0;
  Runtime* runtime = &Runtime::current();

  std::int64_t taken = 0;                // batches handed out or staged
  std::optional<DeviceBuffers> buffers;  // on a CUDA device
  std::deque<Staged> staged;             // their copies under way

  std::mutex mutex;
  std::condition_variable can_make, can_take;
  std::vector<Slot> slots;
  std::int64_t claimed = 0;
  bool stopped = false;
  std::vector<std::thread> workers;

  ~State() { stop(); }

  Batch make(std::int64_t i) const {
    const ProfileRange range("make batch");
    const std::size_t begin = static_cast<std::size_t>(i * options.batch_size);
    const std::size_t end = std::min(begin + static_cast<std::size_t>(options.batch_size), order.size());
    Batch batch = dataset->get_in_epoch(std::span(order).subspan(begin, end - begin), epoch_number);
    if (!options.device || options.device->is_cpu()) return batch;
    DeviceContext& context = options.device->context();
    const StreamScope copy_in(context, context.copy_in_stream());
    return {batch.inputs.pin_memory(*options.device), batch.targets.pin_memory(*options.device)};
  }

  void start() {
    if (options.device && options.device->is_cuda()) buffers.emplace(*options.device, options.device_buffers);
    if (options.workers == 0 || taken >= batches) return;
    const std::int64_t wanted = std::int64_t{options.workers} * options.prefetch;
    slots.resize(static_cast<std::size_t>(std::min(wanted, batches - taken)));
    claimed = taken;
    try {
      for (int w = 0; w < options.workers; ++w) workers.emplace_back([this, w] { work(w); });
    } catch (...) {
      stop();
      throw;
    }
  }

  void work(int number) {
    RuntimeScope scope(*runtime);
    name_profile_thread("loader " + std::to_string(number + 1));
    std::unique_lock lock(mutex);
    for (;;) {
      can_make.wait(lock, [&] {
        return stopped || claimed >= batches || claimed < taken + static_cast<std::int64_t>(slots.size());
      });
      if (stopped || claimed >= batches) return;
      const std::int64_t i = claimed++;
      lock.unlock();
      Slot made{true, {}, nullptr};
      try {
        made.batch = make(i);
      } catch (...) {
        made.error = std::current_exception();
      }
      lock.lock();
      slot(i) = std::move(made);
      can_take.notify_one();
    }
  }

  Slot& slot(std::int64_t i) { return slots[static_cast<std::size_t>(i) % slots.size()]; }

  // The next batch in host memory.
  Batch take() {
    if (workers.empty()) return make(taken++);
    Slot made;
    {
      std::unique_lock lock(mutex);
      const ProfileRange range("wait for a batch");
      can_take.wait(lock, [&] { return slot(taken).ready; });
      made = std::exchange(slot(taken), Slot{});
      ++taken;
    }
    can_make.notify_one();
    if (made.error) std::rethrow_exception(made.error);
    return std::move(made.batch);
  }

  // A slow worker must not hold up a batch that is there already.
  bool worth_staging() {
    if (workers.empty() || staged.empty()) return true;
    const std::lock_guard lock(mutex);
    return slot(taken).ready;
  }

  Batch take_staged() {
    while (staged.size() < buffers->count() && taken < batches && worth_staging()) {
      Staged next;
      try {
        next.batch = buffers->fill(take());
      } catch (...) {
        next.error = std::current_exception();  // for the batch that it belongs to
        end();
      }
      staged.push_back(std::move(next));
    }
    Staged first = std::move(staged.front());
    staged.pop_front();
    if (first.error) std::rethrow_exception(first.error);
    return std::move(first.batch);
  }

  bool over() const noexcept { return taken >= batches && staged.empty(); }
  // No further batches but those that are staged.
  void end() noexcept {
    stop();
    taken = batches;
  }

  void stop() noexcept {
    {
      const std::lock_guard lock(mutex);
      stopped = true;
    }
    can_make.notify_all();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }
};

DataLoader::Epoch::Epoch(std::unique_ptr<State> state) : state_(std::move(state)) {}
DataLoader::Epoch::~Epoch() = default;
DataLoader::Epoch::Epoch(Epoch&&) noexcept = default;
DataLoader::Epoch& DataLoader::Epoch::operator=(Epoch&&) noexcept = default;

std::optional<Batch> DataLoader::Epoch::next() {
  State& s = *state_;
  if (s.over()) return std::nullopt;
  try {
    return s.buffers ? s.take_staged() : s.take();
  } catch (...) {
    s.end();
    throw;
  }
}

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options)
    : dataset_(std::move(dataset)), options_(options) {
  GPUNN_CHECK(dataset_ != nullptr, "expected a data set for the loader, got null");
  GPUNN_CHECK(options_.batch_size >= 1, "expected a batch size of at least 1, got ", options_.batch_size);
  GPUNN_CHECK(options_.workers >= 0, "expected 0 or more loader workers, got ", options_.workers);
  GPUNN_CHECK(options_.prefetch >= 1, "expected prefetch of at least 1, got ", options_.prefetch);
  GPUNN_CHECK(options_.device_buffers >= 1, "expected device_buffers of at least 1, got ",
              options_.device_buffers);
}

std::int64_t DataLoader::size() const noexcept {
  const std::int64_t rows = dataset_->size();
  return options_.drop_last ? rows / options_.batch_size
                            : (rows + options_.batch_size - 1) / options_.batch_size;
}

std::vector<std::int64_t> DataLoader::order(std::int64_t number) const {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(dataset_->size()));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  if (!options_.shuffle) return rows;
  PhiloxStream random(options_.seed, kShuffleStream + static_cast<std::uint64_t>(number));
  for (std::size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[random.below(i)]);
  return rows;
}

DataLoader::Epoch DataLoader::epoch(std::int64_t number, std::int64_t first_batch) const {
  GPUNN_CHECK(number >= 0 && first_batch >= 0, "expected an epoch and a first batch of at least 0, got ",
              number, " and ", first_batch);
  auto state = std::make_unique<Epoch::State>();
  state->dataset = dataset_;
  state->options = options_;
  state->order = order(number);
  state->epoch_number = number;
  state->batches = size();
  state->taken = std::min(first_batch, state->batches);
  state->start();
  return Epoch(std::move(state));
}

}  // namespace gpunn
