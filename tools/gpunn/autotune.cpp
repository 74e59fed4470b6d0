// gpunn autotune RECIPE | OP...: times every implementation of the problems that a few steps of a recipe
// meet, or that the benchmark rows of ops are, and stores their order.
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>

#include "arguments.h"
#include "benchmarks/op_bench.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tuning.h"
#include "gpunn/io/file.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/interrupt.h"
#include "gpunn/training/tuning_file.h"

namespace gpunn::tool {

namespace {

/// A folder for a run that nobody wants to keep.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / "gpunn-autotune-XXXXXX") {
    if (!::mkdtemp(path_.data())) throw Error("cannot make a temporary folder " + path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void print_table(const TuningTable& table, std::size_t problems, const std::string& out) {
  char text[64];
  for (const TuningRow* row : table.rows()) {
    std::string line = row->key + ":";
    for (const TuningTime& time : row->order) {
      std::snprintf(text, sizeof text, " %.2f us", 1e6 * time.seconds);
      line += (&time == row->order.data() ? " " : ", ") + time.implementation + text;
    }
    print_line(line);
  }
  print_line(std::to_string(table.size()) + " of " + std::to_string(problems) +
             " problems have several implementations here; written to " + out);
}

/// The names that come before the options.
Words leading_names(Words words) {
  std::size_t n = 0;
  while (n < words.size() && words[n].rfind('-', 0) != 0) ++n;
  return words.first(n);
}

/// The recipe of that name, or null.
const Recipe* recipe_named(const std::string& name) {
  for (const Recipe* recipe : recipes())
    if (recipe->name == name) return recipe;
  return nullptr;
}

std::vector<std::string> known_ops() { return bench::ops_with_rows(Device::cpu().context()); }

/// Throws UsageError for a word that is neither an op with benchmark rows nor, with `or_recipe`, a recipe.
void check_op(const std::string& word, bool or_recipe) {
  std::vector<std::string> known = known_ops();
  if (std::find(known.begin(), known.end(), word) != known.end()) return;
  if (or_recipe)
    for (const Recipe* recipe : recipes()) known.push_back(recipe->name);
  const std::string near = nearest_name(word, known);
  throw UsageError("no " + std::string(or_recipe ? "recipe and no op" : "op") +
                   " with benchmark rows is called '" + word + "'" +
                   (near.empty() ? "; `gpunn recipes` and `gpunn bench --list` list them"
                                 : ", did you mean '" + near + "'?"));
}

void check_writable(const std::string& out) {
  const AtomicFile probe(out);  // a file that cannot be written is told before the work
}

void store(const TuningRecorder& recorder, Device device, const std::string& out, bool as_json) {
  const TuningTable table = recorder.table();
  std::string json = to_json(table, device, Runtime::current().pool().threads());
  write_file_atomic(out, json);
  if (as_json) {
    json.pop_back();
    print_line(json);
  } else {
    print_table(table, recorder.problems(), out);
  }
}

int autotune(const Recipe& recipe, RunSettings& settings, double seconds, const std::string& out,
             const Common& common) {
  const Device device = open_device(settings.device);
  check_writable(out);
  std::optional<TemporaryFolder> folder;
  if (settings.run_dir.empty()) settings.run_dir = folder.emplace().path();
  InterruptScope interrupts;
  RecipeHooks hooks;
  hooks.stop = [] { return interrupt_signal() != 0; };
  TuningRecorder recorder(device.context(), seconds);
  run_recipe(recipe, settings, device, hooks);
  if (interrupt_signal() != 0) {
    if (!common.quiet)
      std::fprintf(stderr, "stopped by signal %d; nothing was written\n", interrupt_signal());
    return kSignal + interrupt_signal();
  }
  store(recorder, device, out, common.json);
  return kOk;
}

/// Asks for the order of every row of the ops that this device can run, while a TuningRecorder lives.
void ask_for_rows(Words ops, const std::string& row, DeviceContext& context) {
  for (const std::string& op : ops) {
    bench::Bench rows(context, {.op = op, .row = row, .issues_only = true});
    bench::add_all_rows(rows);
    if (rows.listed().empty() && rows.skipped().empty())
      throw UsageError("--row: " + op + " has no row of that name");
  }
}

void say_what_has_no_choice(Words ops, const TuningTable& table, Device device) {
  for (const std::string& op : ops) {
    const std::vector<const TuningRow*> rows = table.rows();
    const bool tuned = std::any_of(rows.begin(), rows.end(),
                                   [&](const TuningRow* row) { return row->key.rfind(op + ' ', 0) == 0; });
    if (!tuned)
      print_line(op + ": nothing to tune, no row has several implementations on " + to_string(device));
  }
}

/// autotune RECIPE
int autotune_recipe(const Recipe* recipe, Words words) {
  const std::string name = recipe ? recipe->name : "RECIPE";
  const std::unique_ptr<RunSettings> settings = recipe ? recipe->settings() : std::make_unique<RunSettings>();
  settings->steps = 2;
  Common common;
  std::string wanted, out = "autotune.json", seconds = "0.02";
  const std::string example = recipe ? name : "mnist-mlp";
  Arguments arguments("autotune " + (recipe ? name : "RECIPE|OP...") + " [options]",
                      "Runs a few steps of a recipe on this machine, times every implementation of the\n"
                      "problems it meets and stores their order. Or the same for the benchmark rows of ops.",
                      {"gpunn autotune " + example, "gpunn train " + example + " --autotune autotune.json",
                       "gpunn autotune " + example + " --device cpu --threads 1 --out one-thread.json",
                       "gpunn autotune matmul sum --device cuda"});
  arguments.positional(
      "name", wanted,
      "recipe (`gpunn recipes` lists them), or ops (`gpunn bench --list`); a recipe goes first");
  arguments.option("--out", out, "FILE", "file to write [autotune.json]");
  arguments.option("--seconds", seconds, "S", "time for each problem and implementation [0.02]");
  arguments.settings(*settings, "Settings of the run");
  arguments.common(common);
  arguments.footer(
      "`gpunn train --autotune FILE`, or GPUNN_AUTOTUNE=FILE, follows the stored order; the run folder's\n"
      "config.json then has the file's SHA-256. Problems are told apart by dtype, sizes, strides and flags, "
      "so\n"
      "give the settings of the run (such as its batch size). A file holds for the device, the version and,\n"
      "on the CPU, the number of threads it was made with. The run itself is thrown away, unless --run-dir\n"
      "keeps it.");
  if (!arguments.parse(words)) return kOk;
  if (!recipe)
    throw UsageError(
        "expected the name of a recipe, or of ops, first; `gpunn recipes` and "
        "`gpunn bench --list` list them");
  arguments.apply_settings();
  return autotune(*recipe, *settings, parse_number("--seconds", seconds, 0.0001, 60), out, common);
}

/// autotune OP...
int autotune_ops(Words ops, Words options) {
  Common common;
  std::string device_text = "best", threads, row, out = "autotune.json", seconds = "0.02";
  Arguments arguments(
      "autotune OP... [options]",
      "Times every implementation of the benchmark rows of these ops on this machine and stores\n"
      "their order.",
      {"gpunn autotune matmul", "gpunn autotune matmul --row P2 --device cpu --threads 1",
       "gpunn autotune sum cumsum sort --device cuda"});
  arguments.option("--out", out, "FILE", "file to write [autotune.json]");
  arguments.option("--seconds", seconds, "S", "time for each row and implementation [0.02]");
  arguments.option("--row", row, "NAME", "only the row of this name, or rows that begin so (G6)");
  arguments.option("--device", device_text, "D", "cpu, cuda, cuda:N or best [best]");
  arguments.option("--threads", threads, "N", "CPU threads [GPUNN_NUM_THREADS, or all]");
  arguments.common(common);
  arguments.footer(
      "The file is followed as that of a recipe, for calls with exactly the sizes of a row: dtype, strides "
      "and\n"
      "flags included. `gpunn bench OP --list` shows the rows.");
  if (!arguments.parse(options)) return kOk;
  for (const std::string& op : ops) check_op(op, ops.size() == 1);
  const double each = parse_number("--seconds", seconds, 0.0001, 60);
  if (!threads.empty())
    Runtime::current().set_threads(static_cast<int>(parse_number("--threads", threads, 1, 1024)));
  const Device device = open_device(device_text);
  check_writable(out);
  TuningRecorder recorder(device.context(), each);
  ask_for_rows(ops, row, device.context());
  if (!common.json) say_what_has_no_choice(ops, recorder.table(), device);
  store(recorder, device, out, common.json);
  return kOk;
}

}  // namespace

int run_autotune(Words words) {
  const Words names = leading_names(words);
  const Recipe* recipe = names.empty() ? nullptr : recipe_named(names[0]);
  if (names.empty() || recipe) return autotune_recipe(recipe, words);
  return autotune_ops(names, words.subspan(names.size()));
}

}  // namespace gpunn::tool
