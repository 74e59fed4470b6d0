#include "gpunn/core/tuning.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <set>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

TuningKey::TuningKey(const char* op, const char* direction, DType dtype)
    : text_(detail::concat(op, ' ', direction, ' ', name_of(dtype))) {}

TuningKey& TuningKey::add(std::string_view name, std::int64_t value) {
  if (value != 0) text_ += detail::concat(' ', name, '=', value);
  return *this;
}

TuningKey& TuningKey::add_alignment(std::initializer_list<const void*> pointers) {
  std::uintptr_t bits = 0;
  for (const void* p : pointers) bits |= reinterpret_cast<std::uintptr_t>(p);
  return add("unaligned", bits % 16 != 0);
}

void TuningTable::set(TuningRow row) {
  std::string key = row.key;
  rows_.insert_or_assign(std::move(key), std::move(row));
}

const TuningRow* TuningTable::find(std::string_view key) const {
  const auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &found->second;
}

std::vector<const TuningRow*> TuningTable::rows() const {
  std::vector<const TuningRow*> out;
  for (const auto& entry : rows_) out.push_back(&entry.second);
  return out;
}

struct TuningRecorder::State {
  double seconds = 0;
  const detail::TuningState* previous = nullptr;
  std::mutex
      mutex{};  // of what follows; held while measuring, so that measurements do not disturb each other
  TuningTable table{};
  std::set<std::string> seen{};
};

namespace detail {

struct TuningState {
  const DeviceContext* context;
  TuningTable table{};
  std::string digest{};
  TuningRecorder::State* recorder = nullptr;  // measures instead
};

namespace {

constinit std::atomic<const TuningState*> g_state{nullptr};

/// Makes `state` the current one. States are few and small; kept, readers of them need no lock.
const TuningState* exchange_state(std::unique_ptr<TuningState> state) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<std::unique_ptr<TuningState>>;
  const std::lock_guard lock(mutex);
  kept->push_back(std::move(state));
  return g_state.exchange(kept->back().get(), std::memory_order_acq_rel);
}

/// Device memory for a scope.
class Scratch {
 public:
  Scratch(DeviceContext& context, std::size_t bytes)
      : memory_(context.memory()), stream_(context.current_stream()), bytes_(bytes) {
    if (bytes > 0) data_ = memory_.allocate(bytes, stream_);
  }
  ~Scratch() {
    if (data_) memory_.deallocate(data_, bytes_, stream_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  MemoryResource& memory_;
  RawStream stream_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

bool overlap(const Operand& a, const Operand& b) {
  const auto begin = [](const Operand& o) { return static_cast<const char*>(*o.pointer); };
  const auto end = [&](const Operand& o) {
    return begin(o) + static_cast<std::size_t>(o.elements) * size_of(o.dtype);
  };
  return begin(a) < end(b) && begin(b) < end(a);
}

/// Contents of the operands that a run both reads and writes, for running it again.
class Saved {
 public:
  Saved(DeviceContext& context, std::span<const Operand> operands) : context_(context) {
    for (const Operand& o : operands) {
      if (o.role == Role::in || !*o.pointer || o.elements == 0) continue;
      const auto read_too = [&](const Operand& in) {
        return in.role == Role::in && *in.pointer && overlap(in, o);
      };
      if (o.role != Role::inout && std::none_of(operands.begin(), operands.end(), read_too)) continue;
      const std::size_t bytes = static_cast<std::size_t>(o.elements) * size_of(o.dtype);
      copies_.push_back({*o.pointer, std::make_unique<Scratch>(context, bytes)});
      copy(copies_.back().scratch->data(), *o.pointer, bytes);
    }
  }
  void restore() const {
    for (const Copy& c : copies_) copy(c.original, c.scratch->data(), c.scratch->bytes());
  }

 private:
  struct Copy {
    void* original;
    std::unique_ptr<Scratch> scratch;
  };
  void copy(void* to, const void* from, std::size_t bytes) const {
    context_.api().copy(to, from, bytes, CopyKind::device_to_device, context_.current_stream());
  }

  DeviceContext& context_;
  std::vector<Copy> copies_;
};

/// One implementation, ready to run again and again.
class Trial {
 public:
  Trial(DeviceContext& context, const ErasedRun& run)
      : context_(context), run_(run), scratch_(context, run.workspace(run.problem, run.entry)) {
    exec_.device = &context;
    exec_.stream = context.is_cpu() ? nullptr : context.current_stream();
    exec_.pool = &context.runtime().pool();
    exec_.workspace = scratch_.data();
    exec_.workspace_bytes = scratch_.bytes();
  }
  /// Of one run, on average.
  double seconds(int runs) const {
    context_.api().synchronize_device();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < runs; ++i) run_.run(run_.problem, run_.entry, exec_);
    context_.api().synchronize_device();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / runs;
  }

 private:
  DeviceContext& context_;
  ErasedRun run_;
  Scratch scratch_;
  Exec exec_{};
};

/// Least seconds of each, taking turns. What the operands hold is as before, but for plain outputs.
std::vector<double> measure(DeviceContext& context, std::span<const ErasedRun> runs,
                            std::span<const Operand> operands, double seconds) {
  constexpr int kTurns = 5;
  context.synchronize();  // whatever the operands wait for
  const Saved saved(context, operands);
  std::vector<std::unique_ptr<Trial>> trials;
  std::vector<int> batch;
  for (const ErasedRun& run : runs) {
    trials.push_back(std::make_unique<Trial>(context, run));
    trials.back()->seconds(1);  // first runs compile, load and fill caches
    saved.restore();
    const double once = std::max(trials.back()->seconds(1), 1e-8);
    batch.push_back(static_cast<int>(std::clamp(seconds / kTurns / once, 1.0, 1e5)));
  }
  std::vector<double> least(runs.size(), std::numeric_limits<double>::infinity());
  for (int turn = 0; turn < kTurns; ++turn)
    for (std::size_t i = 0; i < runs.size(); ++i) {
      saved.restore();
      least[i] = std::min(least[i], trials[i]->seconds(batch[i]));
    }
  saved.restore();
  context.api().synchronize_device();
  return least;
}

/// Peers of an op on a device: those that are chosen among. The reference is not one.
std::vector<std::size_t> peers(std::span<const Candidate> candidates, const DeviceContext& context) {
  const bool deterministic = context.runtime().options().deterministic;
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    if (c.device == context.type() && !c.reason && std::string_view(c.name) != "ref" &&
        !(deterministic && c.determinism == Determinism::varies))
      out.push_back(i);
  }
  return out;
}

void record(TuningRecorder::State& recorder, const TuningKey& key, DeviceContext& context,
            std::span<const Candidate> candidates, std::span<const ErasedRun> runs,
            std::span<const Operand> operands) {
  constexpr double kGain = 1.03;  // less may be noise, and is not worth other bits
  const std::lock_guard lock(recorder.mutex);
  if (!recorder.seen.insert(key.text()).second) return;
  const std::vector<std::size_t> wanted = peers(candidates, context);
  if (wanted.size() < 2) return;
  std::vector<ErasedRun> chosen;
  for (const std::size_t i : wanted) chosen.push_back(runs[i]);
  const std::vector<double> seconds = measure(context, chosen, operands, recorder.seconds);
  TuningRow row{key.text(), {}};
  for (std::size_t i = 0; i < wanted.size(); ++i)
    row.order.push_back({candidates[wanted[i]].name, seconds[i]});
  const double least = *std::min_element(seconds.begin(), seconds.end());
  const bool keep_first = seconds[0] <= kGain * least;
  std::stable_sort(row.order.begin() + keep_first, row.order.end(),
                   [](const TuningTime& a, const TuningTime& b) { return a.seconds < b.seconds; });
  recorder.table.set(std::move(row));
}

}  // namespace

const TuningState* tuning_state(const DeviceContext& context) noexcept {
  const TuningState* state = g_state.load(std::memory_order_acquire);
  return state && state->context == &context ? state : nullptr;
}

std::vector<std::size_t> tuned_order(const TuningState& state, const TuningKey& key, DeviceContext& context,
                                     std::span<const Candidate> candidates, std::span<const ErasedRun> runs,
                                     std::span<const Operand> operands) {
  std::vector<std::size_t> order;
  if (state.recorder) {
    record(*state.recorder, key, context, candidates, runs, operands);
  } else if (const TuningRow* row = state.table.find(key.text())) {
    const std::vector<std::size_t> allowed = peers(candidates, context);
    for (const TuningTime& time : row->order)
      for (const std::size_t i : allowed)
        if (time.implementation == candidates[i].name) order.push_back(i);
  }
  for (std::size_t i = 0; i < candidates.size(); ++i)
    if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
  return order;
}

}  // namespace detail

void install_tuning(DeviceContext& context, TuningTable table, std::string digest) {
  detail::exchange_state(std::make_unique<detail::TuningState>(
      detail::TuningState{&context, std::move(table), std::move(digest), nullptr}));
}

void remove_tuning() noexcept { detail::g_state.store(nullptr, std::memory_order_release); }

std::string tuning_digest() {
  const detail::TuningState* state = detail::g_state.load(std::memory_order_acquire);
  return state ? state->digest : "";
}

TuningRecorder::TuningRecorder(DeviceContext& context, double seconds) : state_(std::make_unique<State>()) {
  state_->seconds = seconds;
  state_->previous = detail::exchange_state(std::make_unique<detail::TuningState>(
      detail::TuningState{.context = &context, .recorder = state_.get()}));
}

TuningRecorder::~TuningRecorder() { detail::g_state.store(state_->previous, std::memory_order_release); }

TuningTable TuningRecorder::table() const {
  const std::lock_guard lock(state_->mutex);
  return state_->table;
}

std::size_t TuningRecorder::problems() const {
  const std::lock_guard lock(state_->mutex);
  return state_->seen.size();
}

std::vector<std::string> TuningRecorder::keys() const {
  const std::lock_guard lock(state_->mutex);
  return {state_->seen.begin(), state_->seen.end()};
}

}  // namespace gpunn
