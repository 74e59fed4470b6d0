// Every op's benchmark rows over every implementation that accepts them.
//
//   ops_bench [--op NAME] [--device cpu|cuda:0] [--threads N] [--seconds S] [--json]
//
// A row prints the median time, what that is in GB/s and GFLOP/s by the op's cost(), and the fraction of this
// machine's ceiling (its own copy bandwidth or multiply-add rate, whichever binds), measured in the same run.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "benchmarks/op_bench.h"
#include "gpunn/core/build_info.h"
#include "gpunn/core/error.h"
#include "gpunn/io/json_writer.h"

namespace {

using namespace gpunn;

struct Arguments {
  bench::Options options;
  std::string device = "cpu";
  int threads = 1;
  bool json = false;
};

[[noreturn]] void usage() {
  std::fputs("usage: ops_bench [--op NAME] [--device D] [--threads N] [--seconds S] [--json]\n", stderr);
  std::exit(2);
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--json") {
      a.json = true;
      continue;
    }
    if (i + 1 == argc) usage();
    const char* value = argv[++i];
    if (flag == "--op")
      a.options.op = value;
    else if (flag == "--device")
      a.device = value;
    else if (flag == "--threads")
      a.threads = std::max(1, std::atoi(value));
    else if (flag == "--seconds")
      a.options.seconds_per_row = std::atof(value);
    else
      usage();
  }
  return a;
}

void print_table(const bench::Bench& b) {
  std::printf("ceilings: %.1f GB/s copy, %.1f GFLOP/s f32 multiply-add\n",
              b.ceilings().bytes_per_second * 1e-9, b.ceilings().flops_per_second * 1e-9);
  std::printf("%-14s %-9s %-24s %-9s %-5s %12s %9s %9s %6s\n", "op", "direction", "row", "by", "dtype",
              "time", "GB/s", "GFLOP/s", "%");
  for (const bench::Result& r : b.results())
    std::printf("%-14s %-9s %-24s %-9s %-5s %9.2f us %9.2f %9.2f %6.1f\n", r.op.c_str(), r.direction.c_str(),
                r.row.c_str(), r.implementation.c_str(), name_of(r.dtype), r.seconds * 1e6,
                r.cost.bytes / r.seconds * 1e-9, r.cost.flops / r.seconds * 1e-9, r.fraction * 100);
}

void print_json(const bench::Bench& b, const Arguments& a) {
  JsonWriter w;
  w.begin_object();
  w.field("device", a.device);
  w.field("threads", a.threads);
  w.field("commit", build_info().commit);
  w.field("copy_bytes_per_second", b.ceilings().bytes_per_second);
  w.field("multiply_add_flops_per_second", b.ceilings().flops_per_second);
  w.key("rows").begin_array();
  for (const bench::Result& r : b.results()) {
    w.begin_object();
    w.field("op", r.op);
    w.field("direction", r.direction);
    w.field("case", r.row);
    w.field("implementation", r.implementation);
    w.field("dtype", name_of(r.dtype));
    w.field("seconds", r.seconds);
    w.field("flops", r.cost.flops);
    w.field("bytes", r.cost.bytes);
    w.field("fraction_of_ceiling", r.fraction);
    w.end_object();
  }
  w.end_array();
  w.end_object();
  std::printf("%s\n", w.take().c_str());
}

}  // namespace

int main(int argc, char** argv) try {
  const Arguments a = parse(argc, argv);
  Runtime::current().set_threads(a.threads);
  bench::Bench b(Device::parse(a.device).context(), a.options);
  bench::add_elementwise_rows(b);
  bench::add_loss_rows(b);
  bench::add_matmul_rows(b);
  bench::add_optim_rows(b);
  bench::add_primitive_rows(b);
  bench::add_reduce_rows(b);
  bench::add_scan_rows(b);
  bench::add_softmax_rows(b);
  bench::add_sort_rows(b);
  if (a.json)
    print_json(b, a);
  else
    print_table(b);
  return 0;
} catch (const gpunn::Error& e) {
  std::fprintf(stderr, "ops_bench: %s\n", e.what());
  return 1;
}
