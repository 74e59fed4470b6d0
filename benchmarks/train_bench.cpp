// Training steps of whole models: tokens a second, the fraction of the rate of a large matrix product
// measured in the same run, and memory. Peers: benchmarks/peers/train_rows.py.
//
//   train_bench [ROW...] [--device cpu|cuda] [--threads N] [--rounds N] [--seconds S] [--matrix N] [--tf32]
//               [--start FILE] [--list] [--json]
//
// Without names the rows of the device. Medians over rounds of S seconds, f32; --tf32 lets a GPU round
// products' operands. --start writes weights and batches of the one row named, as they are before the first
// step. --list times nothing.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/train_rows.h"
#include "gpunn/core/build_info.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/kernels/matmul/matmul.h"

namespace {

using namespace gpunn;
using bench::TrainMeasurement;
using bench::TrainRow;

struct Arguments {
  std::vector<std::string_view> rows;
  bench::TrainBenchOptions options;
  std::string device = "cpu";
  int threads = 1;
  bool list = false, json = false, tf32 = false;
};

[[noreturn]] void usage(const std::string& what) {
  std::fprintf(
      stderr,
      "train_bench: %s\nusage: train_bench [ROW...] [--device D] [--threads N] [--rounds N] [--seconds S] "
      "[--matrix N] [--tf32] [--start FILE] [--list] [--json]\n",
      what.c_str());
  std::exit(2);
}

double positive(std::string_view flag, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (*end != '\0' || !(value > 0 && value < 1e6))
    usage(std::string(flag) + ": expected a number above 0, got '" + text + "'");
  return value;
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json" || word == "--list" || word == "--tf32") {
      (word == "--json" ? a.json : word == "--list" ? a.list : a.tf32) = true;
      continue;
    }
    if (word.substr(0, 2) != "--") {
      a.rows.push_back(word);
      continue;
    }
    if (i + 1 == argc) usage(std::string(word) + ": expected a value");
    const char* value = argv[++i];
    if (word == "--device")
      a.device = value;
    else if (word == "--threads")
      a.threads = static_cast<int>(positive(word, value));
    else if (word == "--rounds")
      a.options.rounds = static_cast<int>(positive(word, value));
    else if (word == "--seconds")
      a.options.seconds = positive(word, value);
    else if (word == "--matrix")
      a.options.matrix = static_cast<std::int64_t>(positive(word, value));
    else if (word == "--start")
      a.options.start_file = value;
    else
      usage(std::string(word) + ": no such option");
  }
  if (a.threads < 1 || a.options.rounds < 1) usage("expected whole numbers");
  return a;
}

std::vector<const TrainRow*> chosen(const Arguments& a, bool cpu) {
  std::vector<const TrainRow*> rows;
  for (const TrainRow& row : bench::train_rows())
    if (a.rows.empty() && (a.list || (cpu ? row.on_cpu : row.on_gpu))) rows.push_back(&row);
  for (const std::string_view name : a.rows) {
    const std::size_t before = rows.size();
    for (const TrainRow& row : bench::train_rows())
      if (name == row.name) rows.push_back(&row);
    if (rows.size() == before) usage("no row is called '" + std::string(name) + "'; --list shows them");
  }
  if (!a.options.start_file.empty() && rows.size() != 1) usage("--start: expected one row");
  return rows;
}

void write_sizes(JsonWriter& w, const TrainRow& row) {
  const Gpt2Options& o = row.model;
  w.field("row", row.name).field("what", row.what).field("vocabulary", o.vocabulary);
  w.field("context", o.context).field("features", o.features).field("layers", o.layers);
  w.field("heads", o.heads).field("eps", o.eps).field("batch", row.batch).field("length", row.length);
  w.field("lr", row.lr).field("beta2", row.beta2).field("weight_decay", row.weight_decay);
  w.field("clip", row.clip).field("on_cpu", row.on_cpu).field("on_gpu", row.on_gpu);
}

void write_measured(JsonWriter& w, const TrainMeasurement& m) {
  w.field("parameters", m.parameters).field("tokens", m.tokens).field("seconds", m.seconds);
  w.field("seconds_low", m.low).field("seconds_high", m.high).field("cpu_seconds", m.cpu_seconds);
  w.field("tokens_per_second", m.tokens_per_second()).field("flops_per_token", m.flops_per_token);
  w.field("flops_per_second", m.flops_per_second()).field("matrix_flops_per_second", m.matrix_rate);
  w.field("fraction_of_matrix_rate", m.fraction()).field("peak_live_bytes", m.peak_live_bytes);
  w.field("peak_reserved_bytes", m.peak_reserved_bytes).field("losses", m.losses);
}

void print_line(const TrainRow& row, const TrainMeasurement& m) {
  std::printf("%-13s %-29s %9.2f M %10.3f ms %10.0f %11.2f %11.2f %6.1f %9.1f %9.1f\n", row.name, row.what,
              static_cast<double>(m.parameters) * 1e-6, m.seconds * 1e3, m.tokens_per_second(),
              m.flops_per_second() * 1e-9, m.matrix_rate * 1e-9, m.fraction() * 100,
              static_cast<double>(m.peak_live_bytes) * 1e-6,
              static_cast<double>(m.peak_reserved_bytes) * 1e-6);
  std::fflush(stdout);
}

void run(const Arguments& a) {
  const Device device = Device::parse(a.device);
  Runtime::current().set_threads(a.threads);
  set_allow_tf32(a.tf32);
  const std::vector<const TrainRow*> rows = chosen(a, device.is_cpu());
  if (!a.json && !a.list)
    std::printf("%s, %d thread(s), medians of %d rounds\n%-43s %11s %13s %10s %11s %11s %6s %9s %9s\n",
                to_string(device).c_str(), a.threads, a.options.rounds, "row", "parameters", "step",
                "tokens/s", "GFLOP/s", "product", "%", "live MB", "held MB");
  JsonWriter w;
  w.begin_object().field("device", to_string(device)).field("threads", a.threads).field("tf32", a.tf32);
  w.field("commit", build_info().commit).key("rows").begin_array();
  for (const TrainRow* row : rows) {
    w.begin_object();
    write_sizes(w, *row);
    if (!a.list) {
      const TrainMeasurement m = measure_training(*row, device, a.options);
      write_measured(w, m);
      if (!a.json) print_line(*row, m);
    } else if (!a.json) {
      std::printf("%-13s %s%s%s\n", row->name, row->what, row->on_cpu ? " (CPU)" : "",
                  row->on_gpu ? " (GPU)" : "");
    }
    w.end_object();
  }
  w.end_array().end_object();
  if (a.json) std::printf("%s\n", w.take().c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  run(parse(argc, argv));
  return 0;
} catch (const gpunn::Error& e) {
  std::fprintf(stderr, "train_bench: %s\n", e.what());
  return 1;
}
