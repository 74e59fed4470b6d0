#include "gpunn/training/data_loader.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <thread>

#include "gpunn/core/profiler.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/stream.h"

namespace gpunn {

namespace {
// Shuffles draw from Philox subsequences of their own, apart from initial weights (subsequence 0).
constexpr std::uint64_t kShuffleStream = std::uint64_t{0x5348} << 48;
}  // namespace

// A pass. With workers: slot i % window holds batch i once it is made; a worker claims batch i only while
// i < taken + window, so a slot is never claimed while it is in use.
struct DataLoader::Epoch::State {
  struct Slot {
    bool ready = false;
    Batch batch;
    std::exception_ptr error;
  };

  std::shared_ptr<const Dataset> dataset;
  DataLoaderOptions options;
  std::vector<std::int64_t> order;
  std::int64_t batches = 0;
  Runtime* runtime = &Runtime::current();

  std::int64_t taken = 0;       // batches handed out
  std::optional<Batch> staged;  // without workers, on a CUDA device: the next batch, its copy under way

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
    Batch batch = dataset->get(std::span(order).subspan(begin, end - begin));
    if (!options.device || options.device->is_cpu()) return batch;
    DeviceContext& context = options.device->context();
    StreamScope copy_in(context, context.copy_in_stream());
    return {batch.inputs.pin_memory(*options.device).to(*options.device, true),
            batch.targets.pin_memory(*options.device).to(*options.device, true)};
  }

  void start() {
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

  Batch take() {
    Slot made;
    {
      std::unique_lock lock(mutex);
      const ProfileRange range("wait for a batch");
      can_take.wait(lock, [&] { return slot(taken).ready; });
      made = std::exchange(slot(taken), Slot{});
      ++taken;
    }
    can_make.notify_one();
    if (!made.error) return std::move(made.batch);
    stop();
    taken = batches;
    std::rethrow_exception(made.error);
  }

  Batch make_here() {
    const std::int64_t i = taken++;
    if (!options.device || options.device->is_cpu()) return make(i);
    Batch batch = staged ? std::move(*staged) : make(i);
    staged.reset();
    if (taken < batches) staged = make(taken);
    return batch;
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
  if (s.taken >= s.batches) return std::nullopt;
  if (!s.workers.empty()) return s.take();
  try {
    return s.make_here();
  } catch (...) {
    s.taken = s.batches;
    throw;
  }
}

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options)
    : dataset_(std::move(dataset)), options_(options) {
  GPUNN_CHECK(dataset_ != nullptr, "expected a data set for the loader, got null");
  GPUNN_CHECK(options_.batch_size >= 1, "expected a batch size of at least 1, got ", options_.batch_size);
  GPUNN_CHECK(options_.workers >= 0, "expected 0 or more loader workers, got ", options_.workers);
  GPUNN_CHECK(options_.prefetch >= 1, "expected prefetch of at least 1, got ", options_.prefetch);
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
  state->batches = size();
  state->taken = std::min(first_batch, state->batches);
  state->start();
  return Epoch(std::move(state));
}

}  // namespace gpunn
