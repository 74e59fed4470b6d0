#include <algorithm>
#include <span>

#include "gpunn/core/autograd.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/picture_tools.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/models/recipes/detail/report.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/history.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

constexpr std::size_t kShown = 6;  // test pictures from the front, and as many mistakes
constexpr std::int64_t kTestBatch = 1000;

// What the model says about the test rows.
struct Answers {
  std::vector<std::int64_t> counts;  // [classes, classes], true class by predicted one
  std::vector<Prediction> first, wrong;
};

Prediction prediction_of(const ClassifierData& data, std::span<const float> pixels,
                         std::span<const float> probabilities, std::int64_t truth, std::int64_t row) {
  return {.picture = planes_picture(pixels, data.channels, data.height, data.width, data.black, data.white),
          .probabilities = {probabilities.begin(), probabilities.end()},
          .truth = static_cast<int>(truth),
          .caption = "test row " + std::to_string(row)};
}

Answers answers_of(Module& model, const ClassifierData& data, Device device) {
  NoGrad no_grad;
  const std::size_t classes = data.classes.size();
  Answers out{.counts = std::vector<std::int64_t>(classes * classes), .first = {}, .wrong = {}};
  const DataLoader loader(data.test, {.batch_size = kTestBatch, .device = device});
  const auto area = static_cast<std::size_t>(data.channels) * static_cast<std::size_t>(data.height) *
                    static_cast<std::size_t>(data.width);
  std::int64_t row = 0;
  model.eval();
  DataLoader::Epoch epoch = loader.epoch(0);
  for (const Batch& batch : epoch) {
    const std::vector<float> p = softmax(model(batch.inputs), 1).to_vector<float>();
    const std::vector<float> pixels = batch.inputs.to_vector<float>();
    const std::vector<std::int64_t> truth = batch.targets.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < truth.size(); ++i, ++row) {
      const std::span<const float> own = std::span(p).subspan(i * classes, classes);
      const auto best = static_cast<std::size_t>(std::max_element(own.begin(), own.end()) - own.begin());
      const auto wanted = static_cast<std::size_t>(truth[i]);
      ++out.counts[wanted * classes + best];
      std::vector<Prediction>& list = out.first.size() < kShown ? out.first : out.wrong;
      if (list.size() < kShown && (&list == &out.first || best != wanted))
        list.push_back(prediction_of(data, std::span(pixels).subspan(i * area, area), own, truth[i], row));
    }
  }
  model.train();
  return out;
}

}  // namespace

void write_classifier_report(RecipeContext& context, const ClassifierRun& run, const TrainResult& trained,
                             const RecipeResult& result) {
  HtmlReport report(context.recipe(), find_recipe(context.recipe()).summary);
  if (trained.test) {
    const Tone tone = result.reached ? Tone::good : Tone::neutral;
    report.figure("test accuracy", fixed(100 * trained.test->accuracy.value_or(0), 2) + " %", "", tone);
    report.figure("test loss", fixed(trained.test->loss, 4), "", tone);
  }
  report.figure("train loss", fixed(trained.train_loss, 4), "mean over the last epoch");
  std::string work = std::to_string(trained.steps) + " steps";
  if (trained.steps_per_second > 0) work += ", " + fixed(trained.steps_per_second, 0) + " a second";
  report.figure("training", fixed(trained.seconds, 1) + " s", work);
  report.text(std::string("To reach: ") + find_recipe(context.recipe()).figure +
              (trained.stopped  ? ". This run was stopped early."
               : result.reached ? ". This run reaches it."
                                : ". This run does not reach it."));

  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  if (run.sections) run.sections(report);
  report.section("Test pictures");
  const Answers answers = answers_of(run.model, run.data, context.device());
  report.predictions(run.data.classes, answers.first);
  if (!answers.wrong.empty()) {
    report.section("Mistakes");
    report.predictions(run.data.classes, answers.wrong);
  }
  report.section("Confusion");
  report.heat_map(confusion_matrix(run.data.classes, answers.counts));
  report.section("Model");
  report.preformatted(summary(run.model));
  report.section("Memory");
  report_memory(report, trained.memory);
  report.section("Settings");
  report_settings(report, run.settings);
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
