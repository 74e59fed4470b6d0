// What a run of the op benchmarks prints.
#include <cstdio>

#include "benchmarks/op_bench.h"
#include "gpunn/core/build_info.h"
#include "gpunn/io/json_writer.h"

namespace gpunn::bench {
namespace {

const char* name_of(RunsOn runs_on) {
  switch (runs_on) {
    case RunsOn::gpu:
      return "GPU only";
    case RunsOn::all_but_reference:
      return "all but the reference";
    case RunsOn::everything:
      break;
  }
  return "everything";
}

std::string line_of(const Listed& row) {
  char line[240];
  std::snprintf(line, sizeof line, "%-16s %-9s %-36s %-5s", row.op.c_str(), row.direction.c_str(),
                row.row.c_str(), gpunn::name_of(row.dtype));
  return line;
}

void write(JsonWriter& w, const std::vector<Listed>& rows) {
  w.begin_array();
  for (const Listed& row : rows) {
    w.begin_object();
    w.field("op", row.op).field("direction", row.direction).field("case", row.row);
    w.field("dtype", gpunn::name_of(row.dtype)).field("runs_on", name_of(row.runs_on));
    if (row.skipped) w.field("reason", row.skipped);
    w.end_object();
  }
  w.end_array();
}

}  // namespace

std::string to_table(const Bench& bench) {
  char line[240];
  std::string out;
  const Ceilings& c = bench.ceilings();
  if (c.bytes_per_second > 0) {
    std::snprintf(line, sizeof line, "ceilings: %.1f GB/s copy, %.1f GFLOP/s f32 multiply-add\n",
                  c.bytes_per_second * 1e-9, c.flops_per_second * 1e-9);
    out += line;
  }
  std::snprintf(line, sizeof line, "%-16s %-9s %-36s %-9s %-5s %15s %9s %9s %6s\n", "op", "direction", "row",
                "by", "dtype", "time", "GB/s", "GFLOP/s", "%");
  out += line;
  for (const Result& r : bench.results()) {
    std::snprintf(line, sizeof line, "%-16s %-9s %-36s %-9s %-5s %12.2f us %9.2f %9.2f %6.1f\n", r.op.c_str(),
                  r.direction.c_str(), r.row.c_str(), r.implementation.c_str(), gpunn::name_of(r.dtype),
                  r.seconds * 1e6, r.cost.bytes / r.seconds * 1e-9, r.cost.flops / r.seconds * 1e-9,
                  r.fraction * 100);
    out += line;
  }
  for (const Listed& row : bench.skipped()) out += line_of(row) + " not timed: " + row.skipped + "\n";
  return out;
}

std::string list_table(const Bench& bench) {
  std::string out;
  for (const Listed& row : bench.listed())
    out += line_of(row) +
           (row.runs_on == RunsOn::everything ? "\n" : std::string(" ") + name_of(row.runs_on) + "\n");
  return out;
}

std::string list_json(const Bench& bench) {
  JsonWriter w;
  write(w, bench.listed());
  return w.take();
}

std::string to_json(const Bench& bench) {
  JsonWriter w;
  w.begin_object();
  w.field("device", to_string(Device(bench.context())));
  w.field("threads", bench.context().runtime().pool().threads());
  w.field("commit", build_info().commit);
  w.field("copy_bytes_per_second", bench.ceilings().bytes_per_second);
  w.field("multiply_add_flops_per_second", bench.ceilings().flops_per_second);
  w.key("rows").begin_array();
  for (const Result& r : bench.results()) {
    w.begin_object();
    w.field("op", r.op).field("direction", r.direction).field("case", r.row);
    w.field("implementation", r.implementation).field("dtype", gpunn::name_of(r.dtype));
    w.field("seconds", r.seconds).field("seconds_low", r.low).field("seconds_high", r.high);
    w.field("flops", r.cost.flops).field("bytes", r.cost.bytes).field("fraction_of_ceiling", r.fraction);
    w.end_object();
  }
  w.end_array();
  w.key("skipped");
  write(w, bench.skipped());
  return w.end_object().take();
}

}  // namespace gpunn::bench
