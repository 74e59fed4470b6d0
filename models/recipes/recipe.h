#pragma once
// Recipes: named systems with their data, settings and the figure they must reach. `gpunn train NAME` runs
// one.
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/tensor.h"
#include "gpunn/training/progress.h"
#include "gpunn/training/run_folder.h"
#include "gpunn/training/settings.h"

namespace gpunn {

class JsonWriter;
class Optimizer;
struct TrainerOptions;

/// Settings of every recipe.
struct GPUNN_API RunSettings : Settings {
  std::uint64_t seed = 0;
  std::int64_t epochs = 1;
  std::int64_t steps = 0;
  std::string device = "best";
  std::int64_t threads = 0;
  std::string data;
  std::string run_dir;
  std::vector<Field> fields() override;
};

/// How the learning rate moves during a run. Recipes turn it into a schedule with detail::make_schedule().
struct GPUNN_API ScheduleSettings {
  std::string schedule = "none";
  std::int64_t warmup_steps = 0;
  std::int64_t epochs = 10;
  std::string milestones{};
  double factor = 0.1;
  double min_lr = 0;
  double power = 1;
  std::vector<Field> fields();
};

/// Settings of recipes trained on batches.
struct GPUNN_API BatchSettings : RunSettings {
  double lr = 0.01;
  double weight_decay = 0;
  std::int64_t batch_size = 64;
  std::int64_t workers = 0;
  std::string weights;
  ScheduleSettings schedule;
  std::vector<Field> fields() override;
  /// What these settings ask for.
  virtual std::unique_ptr<Optimizer> make_optimizer(std::vector<Tensor> parameters) const = 0;

 protected:
  /// Of the update rule, beside rate and decay.
  virtual std::vector<Field> rule_fields() = 0;
};

struct GPUNN_API SgdSettings : BatchSettings {
  double momentum = 0;
  std::unique_ptr<Optimizer> make_optimizer(std::vector<Tensor> parameters) const override;

 protected:
  std::vector<Field> rule_fields() override;
};

struct GPUNN_API AdamSettings : BatchSettings {
  double beta1 = 0.9, beta2 = 0.999;
  AdamSettings() { lr = 1e-3; }
  std::unique_ptr<Optimizer> make_optimizer(std::vector<Tensor> parameters) const override;

 protected:
  std::vector<Field> rule_fields() override;
};

/// How a recipe is run: what the caller decides.
struct RecipeHooks {
  Progress* progress = nullptr;
  std::function<bool()> stop{};  // asked after every step
  bool verbose = false;          // say more
  bool resume = false;           // go on from the run folder's checkpoint
  std::int64_t hash_every = 0;   // steps between the lines of hashes.jsonl; 0: no such file
};

/// What a recipe's function works with.
class GPUNN_API RecipeContext {
 public:
  RecipeContext(std::string_view recipe, RunSettings& settings, Device device, RecipeHooks hooks)
      : recipe_(recipe), settings_(settings), device_(device), hooks_(std::move(hooks)) {}

  Device device() const noexcept { return device_; }
  const std::string& recipe() const noexcept { return recipe_; }
  RunSettings& settings() const noexcept { return settings_; }
  const RecipeHooks& hooks() const noexcept { return hooks_; }
  bool stopped() const { return hooks_.stop && hooks_.stop(); }
  /// A line for people.
  void say(const std::string& text) const {
    if (hooks_.progress) hooks_.progress->line(text);
  }
  /// The run folder, made and configured on the first call: after the data was read, before training.
  RunFolder& folder();
  bool has_folder() const noexcept { return static_cast<bool>(folder_); }
  /// Has the run's steps write hashes of all they read and make, if that was asked for. `model` and
  /// `optimizer` must outlive the training.
  void hash_steps(TrainerOptions& options, Module& model, const Optimizer& optimizer);

 private:
  std::string recipe_;
  RunSettings& settings_;
  Device device_;
  RecipeHooks hooks_;
  std::unique_ptr<RunFolder> folder_;
};

/// What a run measured.
struct RecipeResult {
  std::string recipe, device, figure, run_dir, report, weights_sha256;
  std::uint64_t seed = 0;
  std::int64_t threads = 0, epochs = 0, steps = 0;
  double seconds = 0, steps_per_second = 0;
  double train_loss = std::numeric_limits<double>::quiet_NaN();  // stays so where nothing is trained
  std::optional<double> test_loss{};
  std::vector<std::pair<std::string, double>> metrics{};
  std::size_t peak_memory_bytes = 0;
  bool reached = false;
  bool stopped = false;

  void metric(std::string name, double value) { metrics.emplace_back(std::move(name), value); }
};

struct Recipe {
  const char* name;
  const char* section;
  const char* summary;
  const char* data;
  const char* figure;
  std::unique_ptr<RunSettings> (*settings)();   // with the recipe's defaults
  RecipeResult (*run)(RecipeContext& context);  // fills what it measures; run_recipe() adds the rest
  bool resumes = false;                         // writes checkpoints and takes RecipeHooks::resume
  bool hashes = false;                          // takes RecipeHooks::hash_every
};

GPUNN_API std::span<const Recipe* const> recipes() noexcept;
/// Throws InvalidArgument for an unknown name, with the nearest known one.
GPUNN_API const Recipe& find_recipe(std::string_view name);

/// Runs a recipe on `device`: seeds, sets the number of threads, trains, writes the run folder. `settings`
/// are of the recipe's own type. With `hooks.resume` the result equals, bit for bit, that of a run that was
/// never stopped. Throws DataError for missing or damaged data, weights or checkpoint, Error when the run
/// folder cannot be written (before training), InvalidArgument for resuming a recipe that does not or hashes
/// of one that writes none, and what training throws.
GPUNN_API RecipeResult run_recipe(const Recipe& recipe, RunSettings& settings, Device device,
                                  RecipeHooks hooks = {});

/// One JSON object:
/// {"recipe","device","seed","threads","epochs","steps","seconds","steps_per_second","train_loss",
/// "test_loss","metrics","peak_memory_bytes","weights_sha256","figure","reached","run_dir","report"}.
GPUNN_API void write_result(JsonWriter& json, const RecipeResult& result);

}  // namespace gpunn
