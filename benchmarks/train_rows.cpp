#include "benchmarks/train_rows.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "gpunn/core/memory.h"
#include "gpunn/gpunn.h"

namespace gpunn::bench {
namespace {

constexpr Gpt2Options sizes(std::int64_t vocabulary, std::int64_t context, std::int64_t features,
                            std::int64_t layers, std::int64_t heads) {
  return {.vocabulary = vocabulary,
          .context = context,
          .features = features,
          .layers = layers,
          .heads = heads,
          .dropout = 0};
}

// The character models are those of tinyshakespeare's 65 characters; GPT-2's table is filled up to a multiple
// of 128.
constexpr Gpt2Options kChar = sizes(65, 64, 128, 4, 4), kChar256 = sizes(65, 256, 256, 4, 4),
                      kGpt2 = sizes(50304, 1024, 768, 12, 12);

constexpr TrainRow kRows[] = {
    {"tiny", "shows that everything runs", sizes(17, 8, 16, 1, 2), 2, 8, 1e-3, 0.99, 0, 1, false, false},
    {"char-gpt", "B16 T64 d128 L4, characters", kChar, 16, 64, 1e-3, 0.99, 0, 1, true, false},
    {"char-gpt-256", "B64 T256 d256 L4, characters", kChar256, 64, 256, 1e-3, 0.99, 0, 1, false, true},
    {"gpt2-b1-t64", "GPT-2 124M, B1 T64", kGpt2, 1, 64, 1e-4, 0.95, 0.1, 1, true, false},
    {"gpt2-b4", "GPT-2 124M, B4 T1024", kGpt2, 4, 1024, 1e-4, 0.95, 0.1, 1, false, true},
    {"gpt2-b16", "GPT-2 124M, B16 T1024", kGpt2, 16, 1024, 1e-4, 0.95, 0.1, 1, false, true},
    {"gpt2-b32", "GPT-2 124M, B32 T1024", kGpt2, 32, 1024, 1e-4, 0.95, 0.1, 1, false, true},
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Of all threads of this process.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double quantile(std::vector<double> v, std::size_t quarter) {
  const std::size_t at = (v.size() - 1) * quarter / 4;
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(at), v.end());
  return v[at];
}

/// Products of two random square matrices, as a linear layer calls them.
class MatrixRate {
 public:
  MatrixRate(Device device, std::int64_t side)
      : device_(device),
        side_(side > 0          ? side
              : device.is_cpu() ? 1024
                                : 8192),
        a_(rand({side_, side_}, {.device = device})),
        b_(rand({side_, side_}, {.device = device})) {}
  /// FLOP/s now.
  double measure() const {
    const NoGrad no_grad;
    matmul(a_, b_);
    device_.synchronize();
    int calls = 0;
    const Clock::time_point start = Clock::now();
    do {
      matmul(a_, b_);
      device_.synchronize();
      ++calls;
    } while (seconds_since(start) < kSeconds);
    const auto n = static_cast<double>(side_);
    return 2 * n * n * n * calls / seconds_since(start);
  }

 private:
  static constexpr double kSeconds = 0.1;
  Device device_;
  std::int64_t side_;
  Tensor a_, b_;
};

struct TokenBatch {
  Tensor inputs, targets;  // i64 [batch, length], targets one token later
};

std::vector<TokenBatch> make_batches(const TrainRow& row, Device device) {
  PhiloxStream random(1, 1);
  std::vector<TokenBatch> batches;
  for (int i = 0; i < kBatches; ++i) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(row.batch * (row.length + 1)));
    for (std::int64_t& id : ids)
      id = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(row.model.vocabulary)));
    const Tensor rows = Tensor::from(ids, {row.batch, row.length + 1}, {.device = device});
    batches.push_back(
        {rows.narrow(1, 0, row.length).contiguous(), rows.narrow(1, 1, row.length).contiguous()});
  }
  return batches;
}

void write_start(const std::string& path, Gpt2& model, const std::vector<TokenBatch>& batches) {
  StateDict entries = model.state_dict();
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const std::string name = "batch." + std::to_string(i);
    entries.emplace_back(name + ".inputs", batches[i].inputs);
    entries.emplace_back(name + ".targets", batches[i].targets);
  }
  write_safetensors(path, entries);
}

AdamWOptions optimizer_of(const TrainRow& row) {
  AdamWOptions o;
  o.lr = row.lr;
  o.betas = {0.9, row.beta2};
  o.weight_decay = row.weight_decay;
  return o;
}

}  // namespace

std::span<const TrainRow> train_rows() { return kRows; }

TrainMeasurement measure_training(const TrainRow& row, Device device, const TrainBenchOptions& options) {
  const DeviceScope scope(device);
  MemoryResource& memory = device.context().memory();
  memory.trim();
  memory.reset_peaks();
  manual_seed(1);
  TrainMeasurement m;
  std::vector<double> rounds, busy, rates;
  {
    Gpt2 model(row.model);
    const std::vector<TokenBatch> batches = make_batches(row, device);
    if (!options.start_file.empty()) write_start(options.start_file, model, batches);
    AdamW optimizer(model.parameters(), optimizer_of(row));
    std::size_t number = 0;
    const auto step = [&] {
      const TokenBatch& batch = batches[number++ % kBatches];
      optimizer.zero_grad();
      Tensor loss = model.loss(batch.inputs, batch.targets);
      loss.backward();
      clip_grad_norm_(model.parameters(), row.clip);
      optimizer.step();
      return loss.detach();
    };
    Clock::time_point start{};
    for (int i = 0; i < kFirstSteps; ++i) {
      if (i + 1 == kFirstSteps) start = Clock::now();
      m.losses.push_back(step().item());
    }
    device.synchronize();
    const int steps = std::max(1, static_cast<int>(options.seconds / seconds_since(start)));
    // The matrices are no part of what the training needs.
    const MemoryStats stats = memory.stats();
    m.peak_live_bytes = stats.peak_live_bytes, m.peak_reserved_bytes = stats.peak_reserved_bytes;
    const MatrixRate matrix(device, options.matrix);
    for (int round = 0; round < options.rounds; ++round) {
      rates.push_back(matrix.measure());
      const Clock::time_point begin = Clock::now();
      const double busy_before = cpu_seconds();
      for (int i = 0; i < steps; ++i) step();
      device.synchronize();
      rounds.push_back(seconds_since(begin) / steps);
      busy.push_back((cpu_seconds() - busy_before) / steps);
    }
    m.parameters = model.parameter_count();
    m.flops_per_token = 6.0 * static_cast<double>(m.parameters - model.wpe.weight.numel()) +
                        12.0 * static_cast<double>(row.model.layers * row.model.features * row.length);
  }
  m.tokens = row.batch * row.length;
  m.seconds = quantile(rounds, 2), m.low = quantile(rounds, 1), m.high = quantile(rounds, 3);
  m.cpu_seconds = quantile(busy, 2);
  m.matrix_rate = quantile(rates, 2);
  return m;
}

}  // namespace gpunn::bench
