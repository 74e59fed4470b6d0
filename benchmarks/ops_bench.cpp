// Every op's benchmark rows over every implementation that accepts them.
//
//   ops_bench [--op NAME] [--row NAME] [--device cpu|cuda:0] [--threads N] [--seconds S] [--list] [--json]
//
// A row prints the median time, what that is in GB/s and GFLOP/s by the op's cost(), and the fraction of this
// machine's ceiling (its own copy bandwidth or multiply-add rate, whichever binds), measured in the same run.
// Rows for a GPU only are named, not timed, on other devices. --list times nothing and shows the rows.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "benchmarks/op_bench.h"
#include "gpunn/core/error.h"

namespace {

using namespace gpunn;

struct Arguments {
  bench::Options options;
  std::string device = "cpu";
  int threads = 1;
  bool json = false;
};

[[noreturn]] void usage() {
  std::fputs(
      "usage: ops_bench [--op NAME] [--row NAME] [--device D] [--threads N] [--seconds S] [--list] "
      "[--json]\n",
      stderr);
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
    if (flag == "--list") {
      a.options.names_only = true;
      continue;
    }
    if (i + 1 == argc) usage();
    const char* value = argv[++i];
    if (flag == "--op")
      a.options.op = value;
    else if (flag == "--row")
      a.options.row = value;
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

}  // namespace

int main(int argc, char** argv) try {
  const Arguments a = parse(argc, argv);
  Runtime::current().set_threads(a.threads);
  bench::Bench b(Device::parse(a.device).context(), a.options);
  bench::add_all_rows(b);
  const bool list = a.options.names_only;
  std::fputs((a.json ? (list ? bench::list_json(b) : bench::to_json(b)) + "\n"
              : list ? bench::list_table(b)
                     : bench::to_table(b))
                 .c_str(),
             stdout);
  return 0;
} catch (const gpunn::Error& e) {
  std::fprintf(stderr, "ops_bench: %s\n", e.what());
  return 1;
}
