#pragma once
// Training steps of whole models: the rows of train_bench, and how one is timed.
//
// A step: gradients to none, forward, loss, backward, clipping, update; f32, dropout off, batches of random
// tokens that take turns. A peer does the same work when it starts from the same weights and tokens: both are
// written to a file on request, and the losses of the first steps are told.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/device.h"
#include "gpunn/models/gpt2.h"

namespace gpunn::bench {

struct TrainRow {
  const char* name;
  const char* what;
  Gpt2Options model;
  std::int64_t batch, length;
  double lr, beta2, weight_decay;  // AdamW; first beta 0.9, eps 1e-8
  double clip;                     // largest norm of the gradients together
  bool on_cpu, on_gpu;             // timed there unless rows are named
};
std::span<const TrainRow> train_rows();

inline constexpr int kBatches = 4;      // that take turns
inline constexpr int kFirstSteps = 10;  // whose losses are told; they warm up as well

struct TrainBenchOptions {
  int rounds = 5;
  double seconds = 0.5;      // of a round: at least one step
  std::int64_t matrix = 0;   // side of the matrices; 0: 1024 on a CPU, 8192 on a GPU
  std::string start_file{};  // safetensors: the weights, "batch.<i>.inputs" and "batch.<i>.targets" i64
};

struct TrainMeasurement {
  std::int64_t parameters = 0, tokens = 0;  // tokens of a step
  double seconds = 0, low = 0, high = 0;    // of a step: median and quartiles of the rounds
  double cpu_seconds =
      0;  // of a step, of all the process's threads: what compares on a machine with other work
  /// 6 for each weight of a product and 12 layers * features * length for attention, of which causal
  /// attention needs half: the usual way of counting.
  double flops_per_token = 0;
  double matrix_rate = 0;  // FLOP/s of a large product of the same dtype, between the rounds
  std::size_t peak_live_bytes = 0, peak_reserved_bytes = 0;
  std::vector<double> losses{};  // of the first steps, each before its update

  double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
  double flops_per_second() const { return tokens_per_second() * flops_per_token; }
  double fraction() const { return flops_per_second() / matrix_rate; }
};

/// Builds the row's model on `device`, trains the first steps, then times rounds of them.
TrainMeasurement measure_training(const TrainRow& row, Device device, const TrainBenchOptions& options);

}  // namespace gpunn::bench
