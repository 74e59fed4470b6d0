// gpunn bench: the op benchmarks, on this machine.
#include <algorithm>
#include <vector>

#include "arguments.h"
#include "benchmarks/op_bench.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/json_writer.h"

namespace gpunn::tool {

namespace {

// A word that selects nothing would otherwise look like a table without rows.
void check_op(const std::string& op, const std::vector<std::string>& known) {
  if (op.empty() || std::find(known.begin(), known.end(), op) != known.end()) return;
  const std::string near = nearest_name(op, known);
  throw UsageError("no op with benchmark rows is called '" + op + "'" +
                   (near.empty() ? "" : ", did you mean '" + near + "'?"));
}

void print_ops(const std::vector<std::string>& ops, bool as_json) {
  JsonWriter json;
  json.begin_array();
  for (const std::string& op : ops) {
    if (!as_json) print_line(op);
    json.value(op);
  }
  json.end_array();
  if (as_json) print_line(json.take());
}

}  // namespace

int run_bench(Words words) {
  Common common;
  bench::Options options;
  std::string device_text = "best", threads = "1", seconds = "0.2", budget = "0";
  bool list = false;
  Arguments arguments(
      "bench [OP] [options]",
      "Times every implementation of an op, or of all, beside what the machine can do at most.",
      {"gpunn bench softmax", "gpunn bench matmul --device cpu --threads 2",
       "gpunn bench --json > bench.json"});
  arguments.positional("OP", options.op, "op; all of them when left out");
  arguments.flag("--list", list, "only list the ops that have rows, or the rows of OP");
  arguments.flag("--best", options.best_only, "only the implementation that a call would run");
  arguments.option("--row", options.row, "NAME", "only the row of this name, or rows that begin so (G6)");
  arguments.option("--device", device_text, "D", "cpu, cuda, cuda:N or best [best]");
  arguments.option("--threads", threads, "N", "CPU threads [1]");
  arguments.option("--seconds", seconds, "S", "time for each row and implementation [0.2]");
  arguments.option("--budget", budget, "S", "seconds after which no row is begun, 0 for no limit [0]");
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;

  options.seconds_per_row = parse_number("--seconds", seconds, 0.001, 60);
  options.budget = parse_number("--budget", budget, 0, 1e6);
  Runtime::current().set_threads(static_cast<int>(parse_number("--threads", threads, 1, 1024)));
  DeviceContext& context = open_device(device_text).context();
  const std::vector<std::string> known = bench::ops_with_rows(context);
  check_op(options.op, known);
  if (list && options.op.empty()) {
    print_ops(known, common.json);
    return kOk;
  }
  options.names_only = list;
  bench::Bench bench(context, options);
  bench::add_all_rows(bench);
  if (bench.results().empty() && bench.listed().empty() && bench.skipped().empty())
    throw UsageError("--row: no row of that name");
  std::string text = common.json ? (list ? bench::list_json(bench) : bench::to_json(bench))
                     : list      ? bench::list_table(bench)
                                 : bench::to_table(bench);
  if (!common.json) text.pop_back();
  print_line(text);
  return kOk;
}

}  // namespace gpunn::tool
