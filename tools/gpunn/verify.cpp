// gpunn verify RUN_A RUN_B: the first step and tensor in which two runs differ.
#include <cstdio>

#include "arguments.h"
#include "gpunn/core/error.h"
#include "gpunn/io/json_writer.h"
#include "run_compare.h"

namespace gpunn::tool {

namespace {

// The command's own exit codes, as diff has them.
constexpr int kEqual = 0, kDifferent = 1, kCannotCompare = 2;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

void print_config(const RunComparison& r) {
  if (r.config.empty()) {
    print_line("configuration: the same");
    return;
  }
  const std::size_t n = r.config.size();
  print_line("configuration: " + std::to_string(n) + (n == 1 ? " difference" : " differences"));
  std::size_t key_width = 0, a_width = 0;
  for (const ConfigDifference& d : r.config) {
    key_width = std::max(key_width, d.key.size());
    a_width = std::max(a_width, d.a.size());
  }
  for (const ConfigDifference& d : r.config)
    print_line("  " + padded(d.key, key_width) + "  A " + padded(d.a.empty() ? "-" : d.a, a_width) + "  B " +
               (d.b.empty() ? "-" : d.b));
}

// What to look at, by what came first.
const char* advice(const StepDifference& d) {
  if (d.equal_step < 0 && d.part == "parameters") return "They start from other weights: seed or --weights.";
  if (d.part == "batch") return "The data or its order is another one: files, seed, batch size, loader.";
  if (d.part == "buffers" || d.part == "loss")
    return "The forward pass gave other numbers from the same batch.";
  if (d.part == "gradients") return "The backward pass gave other numbers behind the same loss.";
  if (d.part == "optimizer") return "The gradients are the same: settings or rule of the optimizer.";
  return "Everything before the update is the same: the update gave other numbers.";
}

void print_first(const StepDifference& d) {
  const std::string what = describe(d.part, d.name);
  if (d.missing_in_a || d.missing_in_b)
    print_line("step " + std::to_string(d.step) + ": the " + what + " is in " + (d.missing_in_a ? "B" : "A") +
               " only");
  else
    print_line("step " + std::to_string(d.step) + ": the " + what + " is the first to differ");
  std::string equal, different;
  for (const PartCount& c : d.counts) {
    std::string& list = c.different > 0 ? different : equal;
    list += (list.empty() ? "" : ", ") + c.part;
    if (c.different > 0 && c.total > 1)
      list += " " + std::to_string(c.different) + " of " + std::to_string(c.total);
  }
  if (!equal.empty()) print_line("  equal in this step: " + equal);
  print_line("  different in this step: " + different);
  if (d.loss_a == d.loss_a && d.loss_b == d.loss_b)
    print_line("  loss: A " + number(d.loss_a) + ", B " + number(d.loss_b));
  if (d.equal_step >= 0) print_line("  last equal step: " + std::to_string(d.equal_step));
  if (d.equal_step >= 0 && d.equal_step + 1 < d.step)
    print_line("  The cause may lie in the steps between, which were not recorded: --hash-steps=1.");
  else
    print_line(std::string("  ") + advice(d));
}

void print_hashes(const RunComparison& r) {
  if (!r.hashes) {
    print_line("hashes of steps: not compared, " + r.no_hashes + " (gpunn train NAME --hash-steps)");
    return;
  }
  const HashComparison& h = *r.hashes;
  if (h.first)
    print_first(*h.first);
  else
    print_line("hashes of steps: equal in all " + std::to_string(h.steps) + " recorded by both, up to step " +
               std::to_string(h.last));
  if (h.last_a != h.last_b)
    print_line(std::string("  run ") + (h.last_a > h.last_b ? "A" : "B") + " goes on to step " +
               std::to_string(std::max(h.last_a, h.last_b)) + ", which was not compared");
}

void print_tensors(const TensorComparison& t) {
  std::string line = t.file;
  if (t.step >= 0) line += " after step " + std::to_string(t.step);
  if (t.different.empty()) {
    print_line(line + ": all " + std::to_string(t.tensors) + " tensors are equal");
    return;
  }
  print_line(line + ": " + std::to_string(t.different.size()) + " of " + std::to_string(t.tensors) +
             " tensors differ");
  std::size_t width = 0;
  for (const TensorDifference& d : t.different) width = std::max(width, d.name.size());
  for (const TensorDifference& d : t.different) {
    if (!d.problem.empty()) {
      print_line("  " + d.name + " " + d.problem);
      continue;
    }
    char text[120];
    std::snprintf(text, sizeof text, "  by up to %.2e, relative %.2e, in %lld of %lld", d.max_abs, d.max_rel,
                  static_cast<long long>(d.different), static_cast<long long>(d.elements));
    print_line("  " + padded(d.name, width) + text);
  }
}

void print_text(const RunComparison& r) {
  print_line("A: " + r.a);
  print_line("B: " + r.b);
  print_config(r);
  print_hashes(r);
  if (r.metrics && r.metrics->first) {
    const MetricDifference& d = *r.metrics->first;
    print_line("metrics: " + d.key + " differs first in epoch " + std::to_string(d.epoch) + ": A " +
               number(d.a) + ", B " + number(d.b));
  } else if (r.metrics && r.metrics->epochs > 0) {
    print_line("metrics: equal in " + std::to_string(r.metrics->epochs) +
               (r.metrics->epochs == 1 ? " epoch" : " epochs"));
  }
  for (const TensorComparison& t : r.tensors) print_tensors(t);
  print_line(r.equal() ? "verdict: equal" : "verdict: different");
}

void write_hashes(JsonWriter& json, const HashComparison& h) {
  json.begin_object().field("steps", h.steps).field("last", h.last);
  json.field("last_a", h.last_a).field("last_b", h.last_b).key("first");
  if (!h.first) {
    json.value(nullptr).end_object();
    return;
  }
  const StepDifference& d = *h.first;
  json.begin_object().field("step", d.step).field("part", d.part).field("name", d.name);
  json.field("missing_in_a", d.missing_in_a).field("missing_in_b", d.missing_in_b);
  json.field("equal_step", d.equal_step).field("loss_a", d.loss_a).field("loss_b", d.loss_b);
  json.key("parts").begin_array();
  for (const PartCount& c : d.counts)
    json.begin_object()
        .field("part", c.part)
        .field("different", c.different)
        .field("total", c.total)
        .end_object();
  json.end_array().end_object().end_object();
}

void write_tensors(JsonWriter& json, const TensorComparison& t) {
  json.begin_object().field("file", t.file).field("step", t.step).field("tensors", t.tensors);
  json.key("different").begin_array();
  for (const TensorDifference& d : t.different) {
    json.begin_object().field("name", d.name).field("problem", d.problem).field("elements", d.elements);
    json.field("different", d.different).field("max_abs", d.max_abs).field("max_rel", d.max_rel).end_object();
  }
  json.end_array().end_object();
}

void print_json(const RunComparison& r) {
  JsonWriter json;
  json.begin_object().field("a", r.a).field("b", r.b).field("equal", r.equal());
  json.key("config").begin_array();
  for (const ConfigDifference& d : r.config)
    json.begin_object().field("key", d.key).field("a", d.a).field("b", d.b).end_object();
  json.end_array().field("no_hashes", r.no_hashes).key("hashes");
  r.hashes ? write_hashes(json, *r.hashes) : static_cast<void>(json.value(nullptr));
  json.key("metrics");
  if (r.metrics && r.metrics->first) {
    const MetricDifference& d = *r.metrics->first;
    json.begin_object().field("epochs", r.metrics->epochs).field("epoch", d.epoch).field("key", d.key);
    json.field("a", d.a).field("b", d.b).end_object();
  } else if (r.metrics) {
    json.begin_object().field("epochs", r.metrics->epochs).end_object();
  } else {
    json.value(nullptr);
  }
  json.key("tensors").begin_array();
  for (const TensorComparison& t : r.tensors) write_tensors(json, t);
  json.end_array().end_object();
  print_line(json.take());
}

}  // namespace

int run_verify(Words words) {
  Common common;
  std::string a, b;
  Arguments arguments(
      "verify RUN_A RUN_B [options]",
      "Finds the first step and tensor in which two runs differ.\n"
      "Exit code 0: equal, 1: different, 2: they cannot be compared.",
      {"gpunn train mnist-mlp --hash-steps --run-dir a", "gpunn verify a b", "gpunn verify a b --json"});
  arguments.positional("run_a", a, "folder of a run");
  arguments.positional("run_b", b, "folder of another one");
  arguments.footer(
      "Runs made with --hash-steps are compared step by step, in the order of computation: batch, buffers,\n"
      "loss, gradients from the last layer to the first, optimizer, parameters. Of others, the metrics and\n"
      "the final weights are.");
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;
  if (b.empty()) throw UsageError("expected the folders of two runs");
  try {
    const RunComparison result = compare_runs(a, b);
    common.json ? print_json(result) : print_text(result);
    return result.equal() ? kEqual : kDifferent;
  } catch (const Error& e) {
    std::fprintf(stderr, "gpunn: error: %s\n", e.what());
    return kCannotCompare;
  }
}

}  // namespace gpunn::tool
