// gpunn parity: every op, implementation and dtype against the reference, with the harness of the tests.
#include <cstdio>
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

std::string to_json(const parity::Report& report, const Device& device) {
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
  std::string device_text = "best", dtypes, html;
  parity::Options options;
  Arguments arguments("parity [options]",
                      "Compares every implementation of every op with its reference in double.",
                      {"gpunn parity --device cuda:0", "gpunn parity --op softmax --dtype f32,bf16",
                       "gpunn parity --device cuda:0 --html parity.html"});
  arguments.option("--op", options.op, "OP", "this op only");
  arguments.option("--impl", options.implementation, "NAME", "this implementation only");
  arguments.option("--device", device_text, "D", "cpu, cuda, cuda:N or best [best]");
  arguments.option("--dtype", dtypes, "T,...", "these dtypes only: f32, f16, bf16");
  arguments.option("--html", html, "FILE", "write a page with the table");
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;

  options.dtypes = parse_dtypes(dtypes);
  options.device = open_device(device_text);
  const parity::Suite suite = parity::all_cases();
  check_selection(suite, options);
  if (!html.empty()) AtomicFile probe(html);  // a page that cannot be written is told before the work
  const parity::Report report = parity::run(suite, options);
  const Totals t = totals_of(report);

  if (common.json) {
    print_line(to_json(report, options.device));
  } else {
    for (const parity::Row& row : report.rows) print_line(row_text(row));
    print_line(std::to_string(t.cases) + " cases on " + to_string(options.device) + ", " +
               std::to_string(t.failed) + " failed");
  }
  if (!common.quiet)
    for (const parity::Failure& failure : report.failures)
      std::fprintf(stderr, "%s\n", failure.message.c_str());
  if (!html.empty()) write_html(html, report, options.device);
  return report.ok() ? kOk : kVerificationFailed;
}

}  // namespace gpunn::tool
