// gpunn parity: every op, implementation and dtype against the reference, with the harness of the tests.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <vector>

#include "arguments.h"
#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/training/report.h"
#include "tests/support/all_cases.h"
#include "tests/support/parity.h"

namespace gpunn::tool {

namespace {

struct Totals {
  int cases = 0, failed = 0, skipped = 0;
};

Totals totals_of(const parity::Report& report) {
  Totals t;
  for (const parity::Row& row : report.rows) {
    t.cases += row.cases;
    t.failed += row.failed;
    t.skipped += row.skipped;
  }
  // An implementation that took no case at all has no failed case, and is a failure all the same.
  for (const parity::Failure& failure : report.failures)
    t.failed += failure.kind == parity::FailureKind::never_run;
  return t;
}

std::vector<DType> parse_dtypes(const std::string& text) {
  std::vector<DType> out;
  for (std::size_t begin = 0; begin <= text.size() && !text.empty();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    try {
      out.push_back(parse_dtype(text.substr(begin, end - begin)));
    } catch (const InvalidArgument& e) {
      throw UsageError(std::string("--dtype: ") + e.what());
    }
    begin = end + 1;
  }
  return out;
}

// A word that selects nothing would otherwise look like success.
void check_selection(const parity::Suite& suite, const parity::Options& options) {
  std::vector<std::string> ops, implementations;
  bool has_op = options.op.empty(), has_implementation = options.implementation.empty();
  for (const parity::Case& c : suite.cases()) {
    ops.push_back(c.op);
    has_op = has_op || c.op == options.op;
    for (const parity::EntryInfo& e : c.entries) {
      implementations.push_back(e.name);
      has_implementation = has_implementation || e.name == options.implementation;
    }
  }
  const auto refuse = [](const char* flag, const std::string& word, const std::vector<std::string>& names) {
    const std::string near = nearest_name(word, names);
    throw UsageError(std::string(flag) + ": nothing is called '" + word + "'" +
                     (near.empty() ? "" : ", did you mean '" + near + "'?"));
  };
  if (!has_op) refuse("--op", options.op, ops);
  if (!has_implementation) refuse("--impl", options.implementation, implementations);
}

// What a limited run leaves out.
struct Limits {
  double seconds = 0;                    // no op is begun after them; 0: no limit
  std::vector<std::string> not_reached;  // ops, when the time was over
};

// One op after the other, while there is time. An entry all of whose cases are too large is no failure here.
parity::Report run_limited(const parity::Suite& suite, parity::Options options, Limits& limits) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::string> ops;
  for (const parity::Case& c : suite.cases())
    if ((options.op.empty() || options.op == c.op) && std::find(ops.begin(), ops.end(), c.op) == ops.end())
      ops.push_back(c.op);
  parity::Report all;
  for (const std::string& op : ops) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (limits.seconds > 0 && elapsed.count() >= limits.seconds) {
      limits.not_reached.push_back(op);
      continue;
    }
    options.op = op;
    parity::Report one = parity::run(suite, options);
    if (options.most_elements > 0)
      std::erase_if(one.failures,
                    [](const parity::Failure& f) { return f.kind == parity::FailureKind::never_run; });
    std::move(one.rows.begin(), one.rows.end(), std::back_inserter(all.rows));
    std::move(one.failures.begin(), one.failures.end(), std::back_inserter(all.failures));
  }
  return all;
}

std::string to_json(const parity::Report& report, const Device& device, const Limits& limits) {
  const Totals t = totals_of(report);
  JsonWriter json;
  json.begin_object().field("device", to_string(device)).field("cases", t.cases).field("failed", t.failed);
  json.key("ops").begin_array();
  for (const parity::Row& r : report.rows) {
    json.begin_object()
        .field("op", r.op)
        .field("implementation", r.implementation)
        .field("dtype", name_of(r.dtype));
    json.field("determinism", parity::name_of(r.determinism));
    json.field("direction", r.direction).field("cases", r.cases).field("failed", r.failed);
    json.field("worst_error", r.worst_error).field("bound", r.bound).end_object();
  }
  json.end_array().key("not_reached").begin_array();
  for (const std::string& op : limits.not_reached) json.value(op);
  return json.end_array().end_object().take();
}

std::string row_text(const parity::Row& r) {
  char text[200];
  std::snprintf(text, sizeof text,
                "%-4s %-16s %-9s %-9s %-5s %-8s %4d cases  %3d skipped  worst %.2e of %.2e",
                r.failed ? "FAIL" : "ok", r.op.c_str(), r.direction.c_str(), r.implementation.c_str(),
                name_of(r.dtype), parity::name_of(r.determinism), r.cases, r.skipped, r.worst_error, r.bound);
  return text;
}

void write_html(const std::string& path, const parity::Report& report, const Device& device) {
  const Totals t = totals_of(report);
  HtmlReport page("Parity on " + to_string(device), "Every implementation against its reference in double");
  page.figure("cases", std::to_string(t.cases));
  page.figure("failed", std::to_string(t.failed), "", report.ok() ? Tone::good : Tone::bad);
  page.figure("skipped", std::to_string(t.skipped), "not accepted by an implementation");
  page.section("Implementations");
  std::vector<std::vector<std::string>> rows;
  for (const parity::Row& r : report.rows)
    rows.push_back({r.op, r.direction, r.implementation, name_of(r.dtype), parity::name_of(r.determinism),
                    std::to_string(r.cases), std::to_string(r.skipped), std::to_string(r.failed),
                    json_number(r.worst_error), json_number(r.bound)});
  page.table({"op", "direction", "implementation", "dtype", "determinism", "cases", "skipped", "failed",
              "worst error", "bound"},
             rows);
  if (!report.failures.empty()) {
    page.section("Failures");
    for (const parity::Failure& failure : report.failures) page.text(failure.message);
  }
  page.section("Environment");
  report_environment(page, device);
  page.save(path);
}

}  // namespace

int run_parity(Words words) {
  Common common;
  std::string device_text = "best", dtypes, html, most_elements = "0", budget = "0";
  parity::Options options;
  Limits limits;
  Arguments arguments("parity [options]",
                      "Compares every implementation of every op with its reference in double.",
                      {"gpunn parity --device cuda:0", "gpunn parity --op softmax --dtype f32,bf16",
                       "gpunn parity --device cuda:0 --html parity.html"});
  arguments.option("--op", options.op, "OP", "this op only");
  arguments.option("--impl", options.implementation, "NAME", "this implementation only");
  arguments.option("--device", device_text, "D", "cpu, cuda, cuda:N or best [best]");
  arguments.option("--dtype", dtypes, "T,...", "these dtypes only: f32, f16, bf16");
  arguments.option("--most-elements", most_elements, "N",
                   "leave out cases with more elements, 0 for none [0]");
  arguments.option("--budget", budget, "S", "seconds after which no op is begun, 0 for no limit [0]");
  arguments.option("--html", html, "FILE", "write a page with the table");
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;

  options.most_elements = static_cast<std::int64_t>(parse_number("--most-elements", most_elements, 0, 1e12));
  limits.seconds = parse_number("--budget", budget, 0, 1e6);
  options.dtypes = parse_dtypes(dtypes);
  options.device = open_device(device_text);
  const parity::Suite suite = parity::all_cases();
  check_selection(suite, options);
  if (!html.empty()) AtomicFile probe(html);  // a page that cannot be written is told before the work
  const parity::Report report = run_limited(suite, options, limits);
  const Totals t = totals_of(report);

  if (common.json) {
    print_line(to_json(report, options.device, limits));
  } else {
    for (const parity::Row& row : report.rows) print_line(row_text(row));
    print_line(std::to_string(t.cases) + " cases on " + to_string(options.device) + ", " +
               std::to_string(t.failed) + " failed");
    for (const std::string& op : limits.not_reached) print_line("not reached in the time: " + op);
  }
  if (!common.quiet)
    for (const parity::Failure& failure : report.failures)
      std::fprintf(stderr, "%s\n", failure.message.c_str());
  if (!html.empty()) write_html(html, report, options.device);
  return report.ok() ? kOk : kVerificationFailed;
}

}  // namespace gpunn::tool
