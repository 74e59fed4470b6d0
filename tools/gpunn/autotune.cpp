// gpunn autotune RECIPE: runs a few steps of a recipe, times every implementation of the problems it meets
// and stores their order.
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <system_error>

#include "arguments.h"
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

const Recipe* first_word(Words words) {
  if (words.empty() || words[0].rfind('-', 0) == 0) return nullptr;
  try {
    return &find_recipe(words[0]);
  } catch (const InvalidArgument& e) {
    throw UsageError(e.what());
  }
}

int autotune(const Recipe& recipe, RunSettings& settings, double seconds, const std::string& out,
             const Common& common) {
  const Device device = open_device(settings.device);
  {
    const AtomicFile probe(out);  // a file that cannot be written is told before the work
  }
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
  const TuningTable table = recorder.table();
  std::string json = to_json(table, device, Runtime::current().pool().threads());
  write_file_atomic(out, json);
  if (common.json) {
    json.pop_back();
    print_line(json);
  } else {
    print_table(table, recorder.problems(), out);
  }
  return kOk;
}

}  // namespace

int run_autotune(Words words) {
  const Recipe* recipe = first_word(words);
  const std::string name = recipe ? recipe->name : "RECIPE";
  const std::unique_ptr<RunSettings> settings = recipe ? recipe->settings() : std::make_unique<RunSettings>();
  settings->steps = 2;
  Common common;
  std::string wanted, out = "autotune.json", seconds = "0.02";
  const std::string example = recipe ? name : "mnist-mlp";
  Arguments arguments("autotune " + name + " [options]",
                      "Runs a few steps of a recipe on this machine, times every implementation of the\n"
                      "problems it meets and stores their order.",
                      {"gpunn autotune " + example, "gpunn train " + example + " --autotune autotune.json",
                       "gpunn autotune " + example + " --device cpu --threads 1 --out one-thread.json"});
  arguments.positional("recipe", wanted, "recipe; `gpunn recipes` lists them");
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
  if (!recipe) throw UsageError("expected the name of a recipe first; `gpunn recipes` lists them");
  arguments.apply_settings();
  return autotune(*recipe, *settings, parse_number("--seconds", seconds, 0.0001, 60), out, common);
}

}  // namespace gpunn::tool
