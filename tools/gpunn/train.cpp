// gpunn train NAME: runs a recipe.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "arguments.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tuning.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/interrupt.h"
#include "gpunn/training/progress.h"
#include "gpunn/training/tuning_file.h"
#include "profile.h"

namespace gpunn::tool {

namespace {

// The recipe decides which options there are, so it is looked for before they are parsed.
const Recipe* named_recipe(Words words) {
  for (const std::string& word : words)
    for (const Recipe* recipe : recipes())
      if (word == recipe->name) return recipe;
  return nullptr;
}

std::string recipe_list() {
  std::string out = "Recipes:";
  for (const Recipe* recipe : recipes()) out += std::string(" ") + recipe->name;
  return out + "\n`gpunn train NAME --help` lists the settings of one.";
}

void print_result(const RecipeResult& r) {
  char text[200];
  for (const auto& [name, value] : r.metrics) {
    const bool fraction = name.size() > 8 && name.compare(name.size() - 8, 8, "accuracy") == 0;
    std::string label = name;
    std::replace(label.begin(), label.end(), '_', ' ');
    std::snprintf(text, sizeof text, fraction ? "%s: %.2f %%" : "%s: %g", label.c_str(),
                  fraction ? 100 * value : value);
    print_line(text);
  }
  if (r.test_loss) {
    std::snprintf(text, sizeof text, "test loss: %.4f", *r.test_loss);
    print_line(text);
  }
  if (r.steps > 0) {
    std::string line;
    if (std::isfinite(r.train_loss)) {
      std::snprintf(text, sizeof text, "train loss: %.4f, ", r.train_loss);
      line = text;
    }
    std::snprintf(text, sizeof text, "%lld steps in %.1f s (%.0f steps/s) on %s",
                  static_cast<long long>(r.steps), r.seconds, r.steps_per_second, r.device.c_str());
    print_line(line + text);
  }
  print_line("figure: " + r.figure + (r.reached ? " (reached by this run)" : " (not reached by this run)"));
  print_line("report: " + r.report);
}

// Settings of a file: those of --print-config, or the config.json of a run, whose folder is not taken over.
void read_config(RunSettings& settings, const std::string& path) {
  const JsonValue file = JsonValue::read(path);
  const JsonValue* of_run = file.find("settings");
  read_settings(settings, of_run ? *of_run : file);
  if (of_run) settings.run_dir.clear();
}

// A resumed run gives the bits of one that was never stopped only in the same order of implementations.
void check_same_tuning(const std::string& path) {
  const JsonValue config = JsonValue::read(path);
  const JsonValue* digest = config.find("autotune");
  const std::string before = digest ? digest->as_string() : "", now = tuning_digest();
  if (before == now) return;
  const auto said = [](const std::string& d) { return d.empty() ? std::string("none") : d; };
  throw DataError(path + " names the autotune file " + said(before) + ", this run has " + said(now) +
                  ": give --autotune as it was");
}

// What `gpunn train` is asked for beside the recipe's settings.
struct TrainFlags {
  bool resume = false;
  std::string autotune{};       // file
  std::string profile{};        // steps
  std::int64_t hash_every = 0;  // steps
};

int train(const Recipe& recipe, RunSettings& settings, const TrainFlags& flags, const Common& common) {
  const Device device = open_device(settings.device);
  std::optional<ProfiledRun> profiled;
  if (!flags.profile.empty()) profiled.emplace(profiled_steps(flags.profile), device);
  if (!flags.autotune.empty()) {
    const bool given = settings.threads > 0;
    use_tuning(flags.autotune, device,
               given ? static_cast<int>(settings.threads) : Runtime::current().pool().threads());
  }
  if (flags.resume) check_same_tuning(settings.run_dir + "/config.json");
  ProgressOptions options = ProgressOptions::detect(stderr);
  options.quiet = common.quiet;
  options.color = common.colored();
  Progress progress(options);
  if (common.verbose) {
    JsonWriter json;
    write_settings(json, settings);
    progress.line(std::string(recipe.name) + " on " + to_string(device) + ", settings " + json.take());
  }

  InterruptScope interrupts;
  RecipeHooks hooks;
  hooks.progress = &progress;
  hooks.verbose = common.verbose;
  hooks.resume = flags.resume;
  hooks.hash_every = flags.hash_every;
  hooks.stop = [&] {
    if (profiled) profiled->after_step();
    return interrupt_signal() != 0;
  };
  const RecipeResult result = run_recipe(recipe, settings, device, hooks);
  progress.clear();
  const std::string profile_text = profiled ? profiled->finish(recipe.name, result.run_dir) : "";

  if (common.json) {
    JsonWriter json;
    write_result(json, result);
    print_line(json.take());
  } else {
    print_result(result);
    if (!profile_text.empty()) print_line(profile_text);
  }
  if (result.stopped && interrupt_signal() != 0) {
    if (!common.quiet)
      std::fprintf(stderr, "stopped by signal %d; what there is was written\n", interrupt_signal());
    return kSignal + interrupt_signal();
  }
  return kOk;
}

}  // namespace

int run_train(Words words) {
  const Recipe* recipe = named_recipe(words);
  const std::string name = recipe ? recipe->name : "NAME";
  const std::unique_ptr<RunSettings> settings = recipe ? recipe->settings() : std::make_unique<RunSettings>();
  Common common;
  std::string wanted, config, hash_steps;
  TrainFlags flags;
  bool print_config = false;
  Arguments arguments("train " + name + " [options]",
                      recipe ? std::string("Trains ") + recipe->name + ": " + recipe->summary +
                                   ".\nMust reach: " + recipe->figure
                             : "Runs a recipe: trains, evaluates, writes a run folder with a report.",
                      {"gpunn train " + (recipe ? name : "fashion-mlp"),
                       "gpunn train " + (recipe ? name : "mnist-mlp") + " --device cpu --threads 1 --seed 3",
                       "gpunn train " + (recipe ? name : "xor") + " --json > result.json"});
  arguments.positional("name", wanted, "recipe; `gpunn recipes` lists them");
  arguments.option("--config", config, "FILE",
                   "settings from a JSON file, such as a run's config.json; flags override it");
  arguments.flag("--print-config", print_config, "print the settings as JSON and stop");
  arguments.option("--autotune", flags.autotune, "FILE",
                   "order of implementations from `gpunn autotune` [GPUNN_AUTOTUNE]");
  arguments.flag_with_value("--profile", flags.profile, std::to_string(ProfiledRun::kSteps), "STEPS",
                            "record some steps: trace.json and schedule.html in the run folder [" +
                                std::to_string(ProfiledRun::kSteps) + "]");
  if (recipe && recipe->resumes)
    arguments.flag("--resume", flags.resume, "go on with the run in --run-dir, with its settings");
  if (recipe && recipe->hashes)
    arguments.flag_with_value("--hash-steps", hash_steps, "1", "N",
                              "write hashes of every (N-th) step, for `gpunn verify`");
  arguments.settings(*settings, "Settings");
  arguments.common(common);
  if (!recipe) arguments.footer(recipe_list());

  if (!recipe) {
    // A mistyped recipe is the likelier mistake than an option that only another recipe has.
    const auto first =
        std::find_if(words.begin(), words.end(), [](const std::string& w) { return w[0] != '-'; });
    if (first != words.end()) {
      try {
        find_recipe(*first);
      } catch (const InvalidArgument& e) {
        throw UsageError(e.what());
      }
    }
  }
  if (!arguments.parse(words)) return kOk;
  if (!recipe) throw UsageError("expected the name of a recipe; `gpunn recipes` lists them");
  if (wanted != recipe->name) throw UsageError("expected the recipe first, got '" + wanted + "'");

  arguments.apply_settings();  // for --run-dir, and to refuse bad values before any file is read
  if (flags.resume && settings->run_dir.empty())
    throw UsageError("--resume needs --run-dir, the folder of the run to go on with");
  if (flags.resume) read_config(*settings, settings->run_dir + "/config.json");
  if (!config.empty()) read_config(*settings, config);
  arguments.apply_settings();
  if (print_config) {
    JsonWriter json(2);
    write_settings(json, *settings);
    print_line(json.take());
    return kOk;
  }
  if (!hash_steps.empty()) {
    const double every = parse_number("--hash-steps", hash_steps, 1, 1e9);
    if (every != std::floor(every))
      throw UsageError("--hash-steps: expected a whole number, got '" + hash_steps + "'");
    flags.hash_every = static_cast<std::int64_t>(every);
  }
  if (const char* variable = std::getenv("GPUNN_AUTOTUNE"); flags.autotune.empty() && variable)
    flags.autotune = variable;
  return train(*recipe, *settings, flags, common);
}

}  // namespace gpunn::tool
