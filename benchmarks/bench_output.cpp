// What a run of the op benchmarks prints.
#include <cstdio>

#include "benchmarks/op_bench.h"
#include "gpunn/core/build_info.h"
#include "gpunn/io/json_writer.h"

namespace gpunn::bench {

std::string to_table(const Bench& bench) {
  char line[240];
  std::string out;
  const Ceilings& c = bench.ceilings();
  if (c.bytes_per_second > 0) {
    std::snprintf(line, sizeof line, "ceilings: %.1f GB/s copy, %.1f GFLOP/s f32 multiply-add\n",
                  c.bytes_per_second * 1e-9, c.flops_per_second * 1e-9);
    out += line;
  }
  std::snprintf(line, sizeof line, "%-16s %-9s %-24s %-9s %-5s %15s %9s %9s %6s\n", "op", "direction", "row",
                "by", "dtype", "time", "GB/s", "GFLOP/s", "%");
  out += line;
  for (const Result& r : bench.results()) {
    std::snprintf(line, sizeof line, "%-16s %-9s %-24s %-9s %-5s %12.2f us %9.2f %9.2f %6.1f\n", r.op.c_str(),
                  r.direction.c_str(), r.row.c_str(), r.implementation.c_str(), name_of(r.dtype),
                  r.seconds * 1e6, r.cost.bytes / r.seconds * 1e-9, r.cost.flops / r.seconds * 1e-9,
                  r.fraction * 100);
    out += line;
  }
  return out;
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
    w.field("implementation", r.implementation).field("dtype", name_of(r.dtype));
    w.field("seconds", r.seconds).field("seconds_low", r.low).field("seconds_high", r.high);
    w.field("flops", r.cost.flops).field("bytes", r.cost.bytes).field("fraction_of_ceiling", r.fraction);
    w.end_object();
  }
  return w.end_array().end_object().take();
}

}  // namespace gpunn::bench
